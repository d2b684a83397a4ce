# SPDX-License-Identifier: Apache-2.0
"""Upgrade a running job again and again, under load, to its own version: is any of the numbered
packets lost, does one come twice, and how long is the gap?

`gap_ms` is what the job reports: from the request to pause to the first round of the new loops.
`silence_ms` is what the receiver's capture shows: the longest time without a packet in or around
that gap. `arrivals_ms` is the longest one while the whole command ran, which starts programs on the
same cores; `quiet_ms` is the same for as many spans of the same length without one, so what the
machine itself does.

`--cold`: the job's whole process is replaced, and packets that come meanwhile are lost; the gap is
from the request to stop to the first round of the new loops.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from arrivals import Arrivals
from lab import BenchError, Process, ip, place, veth
from recovery import moves, percentiles, wait_for
from tool import Uspnet

from tests.support.upgrading import command
from uspnet.telemetry import look

Ends = tuple[list[str], list[str], str, str | None]
# A sender that sleeps between its packets leaves its core to the receiver.
PACED = ("--rate", "5kpps", "--poll", "adaptive")


@contextlib.contextmanager
def memif() -> Iterator[Ends]:
    """Forward between two shared-memory peers."""
    with place("a") as one, place("b") as other:
        servers = [f"memif:{path},role=server" for path in (one, other)]
        job = ["fwd", *servers, "--on-full", "wait"]  # a receiver that has no CPU loses nothing
        yield job, ["pktgen", f"memif:{one}", *PACED], f"memif:{other}", None


@contextlib.contextmanager
def interfaces(kind: str) -> Iterator[Ends]:
    """Forward between two kernel interfaces, by ports of this kind."""
    with veth() as netns:
        ip(netns, "link", "add", "c0", "type", "veth", "peer", "name", "c1")
        for name in ("c0", "c1"):
            ip(netns, "link", "set", name, "addrgenmode", "none", "up")
        source = ["pktgen", "packet:b0", *PACED]
        yield ["fwd", f"{kind}:b1", f"{kind}:c0"], source, "packet:c1", netns


@contextlib.contextmanager
def qemu() -> Iterator[Ends]:
    """Send by an emulated NIC, whose cable leads to another one."""
    nic = f"qemu:e1000e,wire=upgrade-{os.getpid()}"
    yield ["pktgen", nic, "--rate", "2kpps", "--poll", "adaptive"], [], nic, None


KINDS = {
    "memif": memif,
    **{kind: partial(interfaces, kind) for kind in ("packet", "xdp")},
    "qemu": qemu,
}
NEVER_COLD = ("qemu",)


Span = tuple[int, int]  # ns since 1970


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


def upgrades(
    pid: int, netns: str | None, times: int, *how: str
) -> tuple[list[Span], list[Span], list[Span]]:
    """Upgrade so often. Return the gaps that the job reports, from when to when; the same of each
    whole command; and as many spans without one.
    """
    gaps, during, between = [], [], []
    for _ in range(times):
        began = time.time_ns()
        done = upgrade(pid, netns, *how)
        gaps.append((ns := int(done["began"] * 1e9), ns + int(done["gap_us"] * 1e3)))
        during.append((began, time.time_ns()))
        time.sleep((during[-1][1] - began) / 1e9)
        between.append((during[-1][1], time.time_ns()))
    return gaps, during, between


def measure(kind: str, times: int, *how: str) -> dict[str, Any]:
    """Upgrade so often; return gaps, and what the receiver says."""
    with KINDS[kind]() as (words, source, sink, netns), contextlib.ExitStack() as others:
        file = others.enter_context(place("arrivals"))
        numbered = ["--sequence"] if words[0] == "pktgen" else []
        job = others.enter_context(Job(*words, *numbered, core=1, netns=netns))
        receiver = others.enter_context(
            Uspnet("capture", sink, "-w", str(file), "-F", "nsecpcap", core=0, netns=netns)
        )
        for started in (job, receiver):
            pid = started.child.pid
            wait_for(lambda pid=pid: look(pid).jobs, f"{started.name} did not start")
        sender = job
        if source:
            sender = others.enter_context(Uspnet(*source, "--sequence", core=0, netns=netns))
        wait_for(lambda: moves(receiver.child.pid), "the receiver got no packet")
        gaps, during, between = upgrades(job.child.pid, netns, times, *how)
        sent = sender.stop()
        time.sleep(0.2)  # for the rest to arrive
        result = job.stop() if source else sent
        received = receiver.stop()
        came = Arrivals(file)
    return {
        "upgrades": result["upgrades"],
        "gap_ms": percentiles([(end - begin) / 1e9 for begin, end in gaps]),
        "silence_ms": percentiles(came.silence(gaps)),
        "arrivals_ms": percentiles(came.longest(during)),
        "quiet_ms": percentiles(came.longest(between)),
        "sent": sent["sent"],
        "received": received["received"],
        **came.faults(sent["sent"]),
        "dropped": [each["dropped"] for each in (sent, result, received)],
        "missed": [result["missed"], received["missed"]],
    }


def main() -> None:
    """Print one JSON object a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=KINDS)
    parser.add_argument("--cold", action="store_true", help="not for qemu, which can't be held")
    options = parser.parse_args()
    kinds = options.only or [kind for kind in KINDS if not (options.cold and kind in NEVER_COLD)]
    how = ["--cold"] if options.cold else []
    for kind in kinds:
        print(json.dumps({"kind": kind, **measure(kind, options.times, *how)}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"upgrade: {error}")
