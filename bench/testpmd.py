# SPDX-License-Identifier: Apache-2.0
"""DPDK's testpmd as a contestant: started, asked for its counters while it runs, stopped."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import Process, huge_pages_free

READY_S = 20.0  # from start to the first answer
ANSWER_S = 5.0
HUGE, HUGE_NEEDED = ["--in-memory", "-m", "256"], 128
NOT_HUGE = ["--no-huge", "--no-shconf", "-m", "768"]  # its packet pool is made in one piece
COUNTER = re.compile(r"([RT]X-\w+):\s+(\d+)|([RT]x-pps):\s+(\d+)")
PREFIX = itertools.count()


@dataclass
class Rates:
    """All ports together: packets a second each way, between two looks."""

    rx: float
    tx: float


class Testpmd(Process):
    """testpmd in one forwarding mode on one core; its main thread shares that core.

    `vdevs` are its ports, `more` goes to testpmd itself (not to EAL).
    """

    def __init__(
        self,
        mode: str,
        vdevs: Sequence[str],
        core: int,
        *,
        netns: str | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.ports = len(vdevs)
        eal = ["--no-pci", *(HUGE if huge_pages_free() >= HUGE_NEEDED else NOT_HUGE)]
        eal += ["--lcores", f"0@{core},1@{core}", "--file-prefix", f"bench{next(PREFIX)}"]
        for vdev in vdevs:
            eal += ["--vdev", vdev]
        own = ["-i", f"--forward-mode={mode}", "--auto-start", *more]
        command = ["stdbuf", "-oL", "dpdk-testpmd", *eal, "--", *own]
        super().__init__(command, core, netns)
        self.name = "testpmd"

    def ready(self) -> None:
        """Wait for its first answer."""
        self._ports(READY_S)

    def wait_for_traffic(self) -> None:
        """Wait until packets come in on some port."""
        deadline = time.monotonic() + READY_S
        while not any(port["RX-packets"] for port in self._ports()):
            if time.monotonic() > deadline:
                raise self.failed("receives nothing")
            time.sleep(0.02)

    def _ports(self, within_s: float = ANSWER_S) -> list[dict[str, int]]:
        """Return the counters of each port. Rates are those since the call before."""
        self.say("show port stats all")
        return self._tables("NIC statistics for port", "Tx-pps", self.ports, within_s)

    def _tables(
        self, title: str, last: str, count: int, within_s: float = ANSWER_S
    ) -> list[dict[str, int]]:
        """`count` tables of the answer; each starts with `title` and is complete with `last`."""
        tables: list[dict[str, int]] = []
        deadline = time.monotonic() + within_s
        while len(tables) < count or last not in tables[-1]:
            line = self.line(deadline)
            if title in line:
                tables.append({})
            elif tables:
                for name, value, rate, pps in COUNTER.findall(line):
                    tables[-1][name or rate] = int(value or pps)
        return tables

    def rates(self, seconds: float) -> Rates:
        """Measure the rates over the next so many seconds, by testpmd's own clock."""
        self._ports()
        time.sleep(seconds)
        ports = self._ports()
        rx = sum(port["Rx-pps"] for port in ports)
        tx = sum(port["Tx-pps"] for port in ports)
        return Rates(rx, tx)

    def sent_and_dropped(self) -> tuple[int, int]:
        """Return what it sent since its start, and what it dropped as a ring was full."""
        self.say("show fwd stats all")
        total = self._tables("Accumulated forward statistics", "TX-total", 1)[0]
        return total["TX-packets"], total["TX-dropped"]

    def end(self) -> None:
        """Stop forwarding, so that files are written out, and quit."""
        if self.child.poll() is None and self.child.stdin and not self.child.stdin.closed:
            self.say("stop")
            self.say("quit")
        super().end()


def memif(socket: Path, role: str) -> str:
    """Return the vdev of a memif port with DPDK's defaults: a ring of 1,024, copying."""
    return f"net_memif0,role={role},socket={socket},socket-abstract=no"
