# SPDX-License-Identifier: Apache-2.0
"""TCP by iperf3 between two network namespaces: through two `uspnet attach` at the ends of a memif,
or over a veth pair. All of it shares two cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import tool
from lab import BenchError, Process, ip, need, pinned, place

SEGMENT = 1448  # bytes of TCP in an Ethernet frame of the usual size
ADDRESSES = ("10.9.0.1", "10.9.0.2")
NAME = "t0"  # of the interface at either end
CORES = "0,1"
OMIT_S = "1"  # from the start: connections are slow at first, and a job may still be starting


@contextlib.contextmanager
def ends() -> Iterator[list[str]]:
    """Make two network namespaces. Yield their names."""
    if os.geteuid() != 0:
        raise BenchError("network namespaces need root")
    with ExitStack() as stack:
        names = [f"uspnet-bench-{os.getpid()}-{side}" for side in "ab"]
        for name in names:
            ip(None, "netns", "add", name)
            stack.callback(ip, None, "netns", "delete", name)
        yield names


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Wait for something. Raises BenchError when it takes too long."""
    deadline = time.monotonic() + tool.END_S
    while not ready():
        if time.monotonic() > deadline:
            raise BenchError(f"no {what}")
        time.sleep(0.02)


def iperf3(names: list[str], seconds: float, *words: str) -> float:
    """Have TCP run from the first end to the second. Return segments a second."""
    with Process(["iperf3", "-s", "-1", "--forceflush"], CORES, names[1]) as server:
        while "listening" not in server.line(time.monotonic() + tool.END_S):
            pass
        lasts = ["-O", OMIT_S, "-t", f"{max(seconds, 1):g}"]
        command = ["iperf3", "-c", ADDRESSES[1], *lasts, "-J", *words]
        line = pinned(command, CORES, names[0])
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        report = json.loads(done.stdout or "{}")
        if done.returncode or "end" not in report:
            raise BenchError(f"iperf3: {report.get('error', done.stderr.strip())}")
        return float(report["end"]["sum_received"]["bits_per_second"]) / 8 / SEGMENT


def through_attach(seconds: float, *words: str) -> float:
    """Two kernels, and uspnet between them."""
    need("iperf3")
    with ends() as names, place("memif.sock") as socket, ExitStack() as stack:
        jobs = []
        for netns, role, address in zip(names, ("server", "client"), ADDRESSES, strict=True):
            port = f"memif:{socket},role={role}"
            where = ("--name", NAME, "--address", f"{address}/24", *words)
            job = tool.Uspnet("attach", port, *where, core=CORES, netns=netns)
            jobs.append(stack.enter_context(job))
            wait_until(socket.exists, f"listener on {socket}")
        for netns in names:
            wait_until(lambda netns=netns: _carrier(netns), "carrier")  # type: ignore[misc]
        rate = iperf3(names, seconds)
        for job in jobs:
            job.stop()
        return rate


def _carrier(netns: str) -> bool:
    with contextlib.suppress(BenchError):  # it is not there yet
        return "LOWER_UP" in ip(netns, "link", "show", "dev", NAME)
    return False


def through_veth(seconds: float) -> float:
    """Two kernels, and nothing between them."""
    need("iperf3")
    with ends() as names:
        peer = ("peer", "name", NAME, "netns", names[1])
        ip(names[0], "link", "add", NAME, "type", "veth", *peer)
        for netns, address in zip(names, ADDRESSES, strict=True):
            ip(netns, "address", "add", f"{address}/24", "dev", NAME)
            ip(netns, "link", "set", "dev", NAME, "up")
        return iperf3(names, seconds)
