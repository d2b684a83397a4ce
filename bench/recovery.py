# SPDX-License-Identifier: Apache-2.0
"""Kill the process with the loops of a forwarding job again and again, under load: how long until
packets move again, and does anything grow?

Times are from the kill to the first packet sent after it, by the job's own counters.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lab import BenchError, place, veth
from tool import Uspnet

from tests.support.processes import children_of
from uspnet.telemetry import look

RATE = "100kpps"
BACK_S = 10.0  # until packets move again, at most
SETTLE = 5  # kills before the first look at descriptors and memory
Ends = tuple[list[str], list[str], list[str], str | None]


@contextlib.contextmanager
def null() -> Iterator[Ends]:
    """Have the job itself make and take packets."""
    yield [], ["fwd", "null:", "null:"], [], None


@contextlib.contextmanager
def memif() -> Iterator[Ends]:
    """Connect the job as a zero-copy client on both sides."""
    with place("a") as one, place("b") as other:
        servers = [f"memif:{path},role=server" for path in (one, other)]
        yield (
            ["pktgen", servers[0], "--rate", RATE, "--sequence"],
            ["fwd", f"memif:{one}", f"memif:{other}"],
            ["capture", servers[1]],
            None,
        )


@contextlib.contextmanager
def interface(kind: str) -> Iterator[Ends]:
    """Receive from a kernel interface, by a port of this kind."""
    with veth() as netns:
        yield ["pktgen", "packet:b0", "--rate", RATE], ["fwd", f"{kind}:b1", "null:"], [], netns


@contextlib.contextmanager
def qemu() -> Iterator[Ends]:
    """Send by an emulated NIC, which is started again each time."""
    yield [], ["fwd", "null:", "qemu:e1000e,loop=on"], [], None


KINDS = {
    "null": null,
    "memif": memif,
    **{kind: partial(interface, kind) for kind in ("packet", "xdp")},
    "qemu": qemu,
}


def worker_of(job: int) -> int:
    """Return the process id of a job's worker process; 0: it is being replaced."""
    for child in children_of(job):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "uspnet-worker\n":
                return child
    return 0


def sent(job: int) -> int:
    """Return the packets that it has sent so far."""
    return sum(port.tx_packets for each in look(job).jobs for port in each.ports)


def wait_for(true: Any, what: str) -> None:
    """Wait until `true` returns something."""
    end = time.monotonic() + BACK_S
    while not true():
        if time.monotonic() > end:
            raise BenchError(f"{what} within {BACK_S:g} s")
        time.sleep(0.0002)


def moves(job: int) -> bool:
    """Return whether it sends packets just now."""
    before = sent(job)
    time.sleep(0.005)
    return sent(job) > before


def sizes(job: int) -> tuple[int, int, int]:
    """Return descriptors, mappings and KiB of private memory of the command's process."""
    folder = Path(f"/proc/{job}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    lines = len((folder / "maps").read_text().splitlines())
    return len(list((folder / "fd").iterdir())), lines, int(status["RssAnon"].split()[0])


def kill_once(job: int) -> float:
    """Kill the worker process at some moment; return the seconds until packets move again."""
    time.sleep(random.uniform(0.01, 0.05))
    wait_for(lambda: worker_of(job), "no worker process")
    victim = worker_of(job)
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    wait_for(lambda: worker_of(job) not in {0, victim}, "no new worker process")
    before = sent(job)
    wait_for(lambda: sent(job) > before, "no packet")
    return time.monotonic() - began


def measure(kind: str, kills: int) -> dict[str, Any]:
    """Kill so often; return times and what grew."""
    with KINDS[kind]() as (source, job, sink, netns), contextlib.ExitStack() as others:
        for core, words in enumerate((source, sink)):
            if words:
                others.enter_context(Uspnet(*words, core=core, netns=netns))
        forward = others.enter_context(Uspnet(*job, "--restart", kills, core=1, netns=netns))
        pid = forward.child.pid
        wait_for(lambda: moves(pid), "the job sent no packet")
        times = [kill_once(pid) for _ in range(min(SETTLE, kills))]
        before = sizes(pid)
        times += [kill_once(pid) for _ in range(kills - SETTLE)]
        after = sizes(pid)
        result = forward.stop()
    return {
        "kills": kills,
        "restarts": result["restarts"],
        "back_ms": percentiles(times),
        "grew": dict(
            zip(("fds", "maps", "private_kib"), map(int.__sub__, after, before), strict=True)
        ),
        "worker_lost": result["drops"].get("worker_lost", 0),
        "received": result["received"],
        "forwarded": result["forwarded"],
        "dropped": result["dropped"],
    }


def percentiles(times: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum in ms."""
    ordered = sorted(1000 * each for each in times)
    high = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {"p50": statistics.median(ordered), "p99": high, "max": ordered[-1]}


def main() -> None:
    """Print one JSON object a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    for kind in options.only:
        print(json.dumps({"kind": kind, **measure(kind, options.kills)}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"recovery: {error}")
