# SPDX-License-Identifier: Apache-2.0
"""Upgrade a running job again and again, under load, to its own version: is any of the numbered
packets lost, does one come twice, and how long is the gap?

Gaps are what the job reports: from the request to pause to the first round of the new loops. The
receiver's longest latency is an upper bound of its own, with all that a busy machine adds.

`--cold`: the job's whole process is replaced, and packets that come meanwhile are lost; the gap is
from the request to stop to the first round of the new loops.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from lab import BenchError, Process, ip, place, veth
from recovery import moves, percentiles, wait_for
from tool import Uspnet

from tests.support.upgrading import command
from uspnet.telemetry import look

Ends = tuple[list[str], list[str], str | None]
RATE = "50kpps"


@contextlib.contextmanager
def memif() -> Iterator[Ends]:
    """Forward between two shared-memory peers."""
    with place("a") as one, place("b") as other:
        servers = [f"memif:{path},role=server" for path in (one, other)]
        job = ["fwd", *servers, "--on-full", "wait"]  # a receiver that has no CPU loses nothing
        ends = ["pktgen", f"memif:{one}", "--rx-port", f"memif:{other}", "--rate", RATE]
        yield job, ends, None


@contextlib.contextmanager
def packet() -> Iterator[Ends]:
    """Forward between two kernel interfaces."""
    with veth() as netns:
        ip(netns, "link", "add", "c0", "type", "veth", "peer", "name", "c1")
        for name in ("c0", "c1"):
            ip(netns, "link", "set", name, "addrgenmode", "none", "up")
        ends = ["pktgen", "packet:b0", "--rx-port", "packet:c1", "--rate", "5kpps"]
        yield ["fwd", "packet:b1", "packet:c0"], ends, netns


@contextlib.contextmanager
def qemu() -> Iterator[Ends]:
    """Send by an emulated NIC whose cable leads back to it."""
    nic = "qemu:e1000e,loop=on"
    yield ["pktgen", nic, "--rx-port", nic, "--rate", "2kpps"], [], None


KINDS = {each.__name__: each for each in (memif, packet, qemu)}


class Job(Uspnet):
    """A job whose fork server can start this interpreter."""

    def __init__(self, *words: str, core: int, netns: str | None) -> None:
        Process.__init__(self, [*command(*words), "--json"], core, netns)
        self.name = f"uspnet {words[0]}"


def upgrade(pid: int, netns: str | None, *how: str) -> dict[str, Any]:
    """Upgrade a job; return what the command printed."""
    inside = ["ip", "netns", "exec", netns] if netns else []
    words = [*inside, sys.executable, "-m", "uspnet", "upgrade", str(pid), "--json", *how]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    if done.returncode:
        raise BenchError(f"upgrade: {answer['message']}")
    return answer


def measure(kind: str, times: int, *how: str) -> dict[str, Any]:
    """Upgrade so often; return gaps, and what the receiver says."""
    with KINDS[kind]() as (words, ends, netns), contextlib.ExitStack() as others:
        job = others.enter_context(Job(*words, core=1, netns=netns))
        wait_for(lambda: look(job.child.pid).jobs, "the job did not start")
        outer = others.enter_context(Uspnet(*ends, core=0, netns=netns)) if ends else None
        wait_for(lambda: moves(job.child.pid), "the job sent no packet")
        done = [upgrade(job.child.pid, netns, *how) for _ in range(times)]
        seen = outer.stop() if outer else None
        result = job.stop()
    seen = seen or result
    return {
        "upgrades": result["upgrades"],
        "gap_ms": percentiles([each["gap_us"] / 1e6 for each in done]),
        "sent": seen["sent"],
        **{name: seen[name] for name in ("lost", "duplicated", "reordered", "foreign")},
        "dropped": result["dropped"],
        "missed": [result["missed"], seen["missed"]],
        "latency_ms": {name: ns / 1e6 for name, ns in seen["latency_ns"].items()},
    }


def main() -> None:
    """Print one JSON object a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=KINDS)
    parser.add_argument("--cold", action="store_true", help="not for qemu, which can't be held")
    options = parser.parse_args()
    kinds = options.only or [kind for kind in KINDS if not (options.cold and kind == "qemu")]
    how = ["--cold"] if options.cold else []
    for kind in kinds:
        print(json.dumps({"kind": kind, **measure(kind, options.times, *how)}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"upgrade: {error}")
