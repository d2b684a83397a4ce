# SPDX-License-Identifier: Apache-2.0
"""A job's counters, in shared memory that other processes can read while it runs.

The board is a memfd: a JSON header, then one `struct counters` a queue. Readers find it by its
name among the open files of `/proc`, so nothing is left behind however a job ends, and the
kernel's own rule decides who may look (the same user, or root).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uspnet.fastpath import ffi
from uspnet.pool import SharedMemory

BOARD = "uspnet-board"
HEADER_BYTES = 65536
COUNTER_BYTES = ffi.sizeof("struct counters")
# The kernel's names (rtnl_link_stats64) for what a queue counts.
NAMES = {
    "rx": {
        "packets": "rx_packets",
        "bytes": "rx_bytes",
        "errors": "rx_errors",
        "dropped": "rx_dropped",
        "missed": "rx_missed_errors",
    },
    "tx": {
        "packets": "tx_packets",
        "bytes": "tx_bytes",
        "errors": "tx_errors",
        "dropped": "tx_dropped",
    },
}
COUNTERS = [name for names in NAMES.values() for name in names.values()]
# Why packets are dropped, by the fast path's own list: "no_room" and so on.
_REASONS: dict[str, int] = ffi.typeof("enum drop_reason").relements
REASONS = {
    name.removeprefix("DROP_").lower(): place
    for name, place in sorted(_REASONS.items(), key=lambda item: item[1])
    if name not in {"DROP_ERRORS", "DROP_REASONS"}
}


def drops_by_reason(blocks: Iterable[Any]) -> dict[str, int]:
    """Dropped packets by reason, summed over `struct counters *`. Reasons that never happened
    are left out.
    """
    listed = list(blocks)
    totals = {name: sum(int(c.drops[place]) for c in listed) for name, place in REASONS.items()}
    return {name: total for name, total in totals.items() if total}


class Board:
    """Where a job keeps its queues' counters, and says what they are."""

    def __init__(self, command: str, queues: int) -> None:
        self.command = command
        self.memory = SharedMemory(BOARD, HEADER_BYTES + max(queues, 1) * COUNTER_BYTES)
        self.rows: list[dict[str, Any]] = []

    def counters(self, **row: Any) -> Any:
        """A fresh `struct counters *` for one queue. `row` says which: number and name of its
        port, driver, direction, queue, and the counters that this port can't know.
        """
        at = HEADER_BYTES + len(self.rows) * COUNTER_BYTES
        self.rows.append(row)
        return ffi.cast("struct counters *", self.memory.base + at)

    def publish(self, started_ns: int) -> None:
        """Writes the header: from now on, readers see the job."""
        header = {
            "command": self.command,
            "pid": os.getpid(),
            "started_ns": started_ns,
            "queues": self.rows,
        }
        text = json.dumps(header).encode()[: HEADER_BYTES - 1]
        self.memory.map[: len(text)] = text

    def close(self) -> None:
        """Takes the board down."""
        self.memory.close()


def port_counters(queues: Iterable[tuple[str, Any]], unknown: frozenset[str]) -> dict[str, Any]:
    """A port's counters under the kernel's names, summed over its queues.

    `queues`: pairs of a direction and a `struct counters *`. What can't be known is None.
    """
    total: dict[str, Any] = dict.fromkeys(COUNTERS, 0)
    for direction, counters in queues:
        for ours, name in NAMES[direction].items():
            total[name] += getattr(counters, ours)
    return {name: None if name in unknown else value for name, value in total.items()}


@dataclass
class RunningJob:
    """A job of another process, as its board shows it at one moment. Beside the kernel's counters
    a port has `drops`, by reason, and `sleeps`: how often its workers waited to be woken.
    """

    pid: int
    command: str
    started_ns: int
    ports: list[dict[str, Any]]


def _boards() -> Iterator[Path]:
    target = f"/memfd:{BOARD} (deleted)"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:
            continue  # gone, or somebody else's
        for descriptor in descriptors:
            try:
                if str(descriptor.readlink()) == target:
                    yield descriptor
            except OSError:
                continue


def _read(path: Path) -> RunningJob | None:
    try:
        data = path.read_bytes()
        header = json.loads(data[:HEADER_BYTES].rstrip(b"\0"))
        pid, queues = int(path.parts[2]), header["queues"]
        ports: dict[int, dict[str, Any]] = {}
        for place, row in enumerate(queues):
            start = HEADER_BYTES + place * COUNTER_BYTES
            block = ffi.from_buffer("struct counters *", data[start : start + COUNTER_BYTES])
            port = ports.setdefault(
                row["number"],
                {
                    **{name: row[name] for name in ("port", "driver", "unknown")},
                    **dict.fromkeys((*COUNTERS, "sleeps"), 0),
                    "drops": {},
                },
            )
            for reason, count in drops_by_reason([block]).items():
                port["drops"][reason] = port["drops"].get(reason, 0) + count
            for ours, name in NAMES[row["direction"]].items():
                port[name] += getattr(block, ours)
            port["sleeps"] += block.sleeps
        for port in ports.values():
            port.update(dict.fromkeys(port.pop("unknown")))
        if header["pid"] != pid:
            return None  # a child that inherited the descriptor
        return RunningJob(pid, header["command"], header["started_ns"], list(ports.values()))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it ended while we looked, or is not yet published


def running_jobs() -> list[RunningJob]:
    """Every job that this user may look at, oldest first."""
    jobs = {job.pid: job for path in _boards() if (job := _read(path))}
    return sorted(jobs.values(), key=lambda job: job.started_ns)


