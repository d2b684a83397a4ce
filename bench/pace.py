# SPDX-License-Identifier: Apache-2.0
"""How well pktgen keeps a rate: from 1 kpps to 90 % of what the port takes, the error of the rate,
how late packets are given to the port, and the time for which the thread did not run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from lab import BenchError, place, veth
from tool import Uspnet, run

RATES = (1e3, 1e4, 1e5, 1e6, 1e7)
SHARES = (0.8, 0.9)  # of what the port takes
TOP_S = 2.0  # for measuring that
Sender = tuple[list[str], str | None]  # the words of its command, and its network namespace


@contextlib.contextmanager
def null() -> Iterator[Sender]:
    """Take everything at once."""
    yield ["pktgen", "null:"], None


@contextlib.contextmanager
def memif() -> Iterator[Sender]:
    """Have another process on another core take packets from shared memory."""
    with place("m") as path, Uspnet("capture", f"memif:{path},role=server", core=1) as sink:
        yield ["pktgen", f"memif:{path}"], None
        sink.stop()


@contextlib.contextmanager
def packet() -> Iterator[Sender]:
    """Have the kernel drop what leaves by a veth pair."""
    with veth() as netns:
        yield ["pktgen", "packet:b0"], netns


@contextlib.contextmanager
def xdp() -> Iterator[Sender]:
    """Do the same by AF_XDP."""
    with veth() as netns:
        yield ["pktgen", "xdp:b0"], netns


KINDS = {each.__name__: each for each in (null, memif, packet, xdp)}


def measure(kind: str, seconds: float, shape: list[str]) -> Iterator[dict[str, Any]]:
    """Yield an object for each rate."""
    with KINDS[kind]() as (words, netns):
        top = run(*words, seconds=TOP_S, core=0, netns=netns)["pps"]
        low = (rate for rate in RATES if rate < SHARES[0] * top)
        for rate in (*low, *(share * top for share in SHARES)):
            asked = ["--rate", f"{rate:.0f}pps", *shape]
            found = run(*words, *asked, seconds=seconds, core=0, netns=netns)
            names = ("offered", "sent", "unsent", "found_ring_full")
            counts = {name: found[name] for name in names}
            yield {"port": kind, "top_pps": round(top), **counts, **found["pacing"]}


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--burst-size", type=int, help="packets that are due at once")
    parser.add_argument("--poisson", action="store_true", help="exponential gaps")
    options = parser.parse_args()
    shape = ["--burst-size", str(options.burst_size)] if options.burst_size else []
    shape += ["--poisson"] if options.poisson else []
    for kind in options.only:
        for row in measure(kind, options.seconds, shape):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"pace: {error}")
