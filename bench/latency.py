# SPDX-License-Identifier: Apache-2.0
"""How exactly pktgen measures latency: through the kernel's bridge, with and without a delay of
netem behind it, by turns; or through `uspnet fwd --mode impair`, which delays where the kernel has
no netem. What the delay adds to the median should be the delay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from lab import BenchError, Missing, ip, veth
from tool import Uspnet, run

NS_A_US = 1000
SETTLE_S = 0.5  # until packets are forwarded


@contextlib.contextmanager
def bridge() -> Iterator[str]:
    """Have what enters b0 leave by c0. Yield the network namespace."""
    with veth() as netns:
        ip(netns, "link", "add", "c0", "type", "veth", "peer", "name", "c1")
        ip(netns, "link", "add", "br0", "type", "bridge")
        for port in ("b1", "c1"):
            ip(netns, "link", "set", port, "master", "br0")
        for link in ("br0", "c0", "c1"):
            ip(netns, "link", "set", link, "addrgenmode", "none", "up")
        yield netns


@contextlib.contextmanager
def delayed(netns: str, delay_us: int) -> Iterator[None]:
    """Have the bridge's packets leave later. Raise Missing where the kernel can't."""
    place = ("-n", netns, "qdisc")
    how = ("dev", "c1", "root", "netem", "delay", f"{delay_us}us", "limit", "100000")
    done = subprocess.run(["tc", *place, "add", *how], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"tc: {done.stderr.strip()}: the kernel needs sch_netem")
    try:
        yield
    finally:
        subprocess.run(["tc", *place, "del", "dev", "c1", "root"], check=True)


@contextlib.contextmanager
def two() -> Iterator[str]:
    """Have two veth pairs, and nothing between them. Yield the network namespace."""
    with veth() as netns:
        ip(netns, "link", "add", "c0", "type", "veth", "peer", "name", "c1")
        for link in ("c0", "c1"):
            ip(netns, "link", "set", link, "addrgenmode", "none", "up")
        yield netns


@contextlib.contextmanager
def forwarded(netns: str, delay_us: int) -> Iterator[None]:
    """Forward between the pairs, and have packets wait this long, which may be 0."""
    words = ("fwd", "packet:b1", "packet:c1", "--mode", "impair", "--delay", f"{delay_us}us")
    with Uspnet(*words, "--poll", "busy", core=1, netns=netns) as between:
        time.sleep(SETTLE_S)
        yield
        between.stop()


@contextlib.contextmanager
def bridged(netns: str, delay_us: int) -> Iterator[None]:
    """Have the bridge's packets leave later, or at once."""
    with delayed(netns, delay_us) if delay_us else contextlib.nullcontext():
        yield


WAYS = {"netem": (bridge, bridged), "impair": (two, forwarded)}


def median_us(netns: str, rate: str, seconds: float) -> float:
    """Median latency of one run."""
    words = ("pktgen", "packet:b0", "--rx-port", "packet:c0", "--rate", rate)
    found = run(*words, seconds=seconds, core=0, netns=netns)
    if not found["received"]:
        raise BenchError("nothing came back")
    return float(found["latency_ns"]["p50"]) / NS_A_US


def main() -> None:
    """Print a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", default="10kpps")
    parser.add_argument("--delay-us", type=int, default=200, help="resolved to 0.8 %%")
    parser.add_argument("--by", choices=WAYS, default="netem", help="what delays")
    given = parser.parse_args()
    found: dict[int, list[float]] = {0: [], given.delay_us: []}
    place, way = WAYS[given.by]
    with place() as netns:
        for _ in range(given.rounds):
            for delay_us, medians in found.items():
                with way(netns, delay_us):
                    medians.append(median_us(netns, given.rate, given.seconds))
    bare, late = (statistics.median(found[each]) for each in (0, given.delay_us))
    row = {"by": given.by, "rate": given.rate, "bare_p50_us": bare, "added_us": late - bare}
    print(json.dumps({**row, "error_us": late - bare - given.delay_us}))


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"latency: {error}")
