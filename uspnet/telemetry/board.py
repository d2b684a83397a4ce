# SPDX-License-Identifier: Apache-2.0
"""A job's own end: it counts in shared memory, and says there what is counted.

The board is a sealed memfd: a header, then one `struct counters` a queue. Readers find it by its
name among the open files of `/proc`, so nothing is left behind however a job ends, and the
kernel's own rule decides who may look (the same user, or root).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from uspnet.errors import NotSupported
from uspnet.fastpath import c, ffi
from uspnet.memory import SharedMemory
from uspnet.sandbox.enforced import Enforced
from uspnet.telemetry.schema import (
    MAGIC,
    PORTS_MAX,
    PREFIX,
    QUEUES_MAX,
    REPLACED,
    REPLACED_AT,
    TEXT_MAX,
    WRITTEN,
    WRITTEN_AT,
)

BOARD = "uspnet-board"
COUNTERS_AT = PREFIX.size + TEXT_MAX  # pages that nobody writes to take no memory
REPLACED_MAX = (1 << 32) - 1
COUNTER_BYTES = ffi.sizeof("struct counters")


class Board:
    """Where a job keeps its queues' counters, and says what they are."""

    def __init__(self, command: str, queues: int) -> None:
        self.command = command
        self.queues = max(queues, 1)
        if queues > QUEUES_MAX:
            text = f"{queues} queues are more than the {QUEUES_MAX} that a job can have"
            raise NotSupported(text, "use fewer queues")
        self.memory = SharedMemory(BOARD, COUNTERS_AT + self.queues * COUNTER_BYTES)
        self.rows: list[dict[str, int | str]] = []
        self.ports: dict[int, dict[str, str | list[str]]] = {}
        self._started_ns = -1  # not yet published
        self._sandbox: Enforced | None = None
        self._written = 0

    def counters(  # noqa: PLR0913 - what a queue is
        self, *, number: int, port: str, driver: str, direction: str, queue: int, unknown: list[str]
    ) -> c.Counters:
        """Return a fresh `struct counters *` for one queue: its port, driver,
        and the counters that this port can't know.
        """
        at = COUNTERS_AT + len(self.rows) * COUNTER_BYTES
        self.ports.setdefault(number, {"port": port, "driver": driver, "unknown": unknown})
        self.rows.append({"port": number, "direction": direction, "queue": queue})
        return ffi.cast("struct counters *", self.memory.base + at)

    def publish(self, started_ns: int, sandbox: Enforced | None = None) -> None:
        """Write the header, which makes the job visible to readers. `sandbox`: what is enforced on
        its worker process, if it has one. Raise NotSupported.
        """
        self._started_ns, self._sandbox = started_ns, sandbox
        self._write(self._header())

    def _header(self) -> bytes:
        order = sorted(self.ports)
        header = {
            "command": self.command,
            "pid": os.getpid(),
            "started_ns": self._started_ns,
            "ports": [self.ports[number] for number in order],
            "queues": [{**row, "port": order.index(int(row["port"]))} for row in self.rows],
            "sandbox": asdict(self._sandbox) if self._sandbox else None,
        }
        text = json.dumps(header).encode()
        if len(text) > TEXT_MAX or len(self.ports) > PORTS_MAX:
            raise NotSupported(f"{len(self.ports)} ports are too many for a job", "use fewer ports")
        return text

    def _write(self, text: bytes) -> None:
        self.memory.map[PREFIX.size : PREFIX.size + len(text)] = text
        prefix = PREFIX.pack(MAGIC, COUNTER_BYTES, self.queues, len(text))
        self.memory.map[:REPLACED_AT] = prefix[:REPLACED_AT]

    def tell(self, upgrades: int, restarts: int, sandbox: Enforced | None) -> None:
        """Write how often the loops were replaced so far, and what is enforced on those that run
        now.
        """
        counts = (min(count, REPLACED_MAX) for count in (upgrades, restarts))
        self.memory.map[REPLACED_AT:WRITTEN_AT] = REPLACED.pack(*counts)
        if self._started_ns >= 0 and sandbox != self._sandbox:
            self._sandbox = sandbox
            self._rewrite(self._header())

    def _rewrite(self, text: bytes) -> None:
        """Write another header: who reads it meanwhile reads it once more."""
        self._count()
        self._write(text)
        self._count()

    def _count(self) -> None:
        """Tell readers that the header is about to change, or has changed."""
        self._written += 1
        self.memory.map[WRITTEN_AT : WRITTEN_AT + WRITTEN.size] = WRITTEN.pack(self._written)

    def close(self) -> None:
        """Unmap and close the board."""
        self.memory.close()
