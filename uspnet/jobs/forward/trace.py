# SPDX-License-Identifier: Apache-2.0
"""`fwd --trace`: what happens to single packets, and why.

A loop that is traced is compiled of the same file as the mode's own, see `fastpath/loops/trace.h`:
what is told is what it has done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.forward.result import AtExit, Rewritten, TracedPacket
from uspnet.memory import new
from uspnet.packets.filter import Filter
from uspnet.telemetry import REASONS

if TYPE_CHECKING:
    from uspnet.jobs.forward.mode import Mode
    from uspnet.jobs.worker import Worker
    from uspnet.port import Port

PACKETS, PACKETS_MAX = 10, 1000  # by default, and at most
NEAR = 4  # bytes that are the same between two changes that are told as one
NAMES = {place: name for name, place in REASONS.items()}
SUFFIX = "_traced"


@dataclass(frozen=True)
class Tracing:
    """What is to be traced: so many packets that a filter accepts; None: any."""

    count: int = PACKETS
    only: Filter | None = None

    def __post_init__(self) -> None:
        """Raise Usage for too many."""
        if not 1 <= self.count <= PACKETS_MAX:
            raise Usage(f"{self.count:,} packets to trace", f"trace up to {PACKETS_MAX:,}: -c N")


class Trace:
    """What one loop has traced. Raises NotSupported for a loop that can't be traced."""

    def __init__(self, loop: Mode, wanted: Tracing) -> None:
        take_apart(loop, "--trace")
        watched = loop.watched()
        self.loop, self.packets = loop, new("struct traced[]", wanted.count)
        self.watched = new("uint64_t *[]", watched or [ffi.NULL])
        self.only = wanted.only.make() if wanted.only else None
        self.c: c.Trace = new("struct trace *")
        self.c.packets, self.c.n_packets = self.packets, wanted.count
        self.c.watched, self.c.n_watched = self.watched, len(watched)
        self.c.only = self.only or ffi.NULL
        loop.forward.trace = self.c

    def done(self) -> Iterator[c.Traced]:
        """Return the packets that are told completely."""
        for each in self.packets:
            if not each.done:
                return
            yield each


def take_apart(loop: Mode, option: str) -> None:
    """Have a loop be the one that is traced, or rewrites packets, for an option. Raises
    NotSupported if there is none.
    """
    if loop.name.endswith(SUFFIX):
        return
    name = f"{loop.name}{SUFFIX}"
    if not hasattr(lib, f"loop_{name}"):
        able = [n for n in dir(lib) if n.startswith("loop_") and n.endswith(SUFFIX)]
        named = ", ".join(each[5 : -len(SUFFIX)] for each in able)
        raise NotSupported(f"the loop {loop.name} has no {option}", f"those that have: {named}")
    vars(loop)["name"] = name  # of this one alone


def told_of(
    traces: Sequence[Trace], workers: Sequence[Worker], most: int, mirror: Port | None
) -> list[TracedPacket]:
    """Return what was traced, in the order of time. `mirror`: the port that gets copies of all."""
    found = [
        (int(each.stamp), trace, each, worker)
        for trace, worker in zip(traces, workers, strict=False)  # an error may come before workers
        for each in trace.done()
    ]
    found.sort(key=lambda one: one[0])
    return [tell(trace.loop, each, worker, mirror) for _, trace, each, worker in found[:most]]


def tell(loop: Mode, each: c.Traced, worker: Worker, mirror: Port | None) -> TracedPacket:
    """Tell of one packet."""
    lane = worker.lanes[min(int(each.lane), len(worker.lanes) - 1)]
    fates = zip(lane.exits, each.fates, strict=False)
    held = [(queue.port, int(fate)) for queue, fate in fates if fate != lib.FATE_NONE]
    exits = [AtExit(port=port.name, became=fate_name(fate)) for port, fate in held]
    came = octets_of(each.came, int(each.before))
    dropped = None if each.reason == lib.DROP_REASONS else NAMES.get(int(each.reason), "?")
    leaves = came if dropped else octets_of(each.leaves, int(each.after))
    counted = sum(int(word) << 64 * at for at, word in enumerate(each.counted))
    exited = [port.name for port, _ in held if port is not mirror]
    return TracedPacket(
        time_ns=int(each.stamp),
        port=lane.rx.port.name if lane.rx else "",
        bytes=int(each.before),
        data=came.hex(),
        steps=tuple(loop.explain(came, counted, dropped, exited)),
        rewritten=tuple(rewritten(came, leaves)),
        dropped=dropped,
        exits=tuple(exits),
    )


def octets_of(memory: c.CData, length: int) -> bytes:
    """Return the bytes of a packet, as far as they are there."""
    return bytes(ffi.buffer(memory, min(length, lib.TRACE_BYTES)))


def fate_name(fate: int) -> str:
    """Return what became of a packet at an exit."""
    known = {lib.FATE_SENT: "sent", lib.FATE_WAITS: "waits"}
    return known.get(fate) or NAMES.get(fate - lib.FATE_DROPPED, "?")


def rewritten(before: bytes, after: bytes) -> Iterator[Rewritten]:
    """Return what differs, in pieces."""
    longest = max(len(before), len(after))
    differ = [at for at in range(longest) if before[at : at + 1] != after[at : at + 1]]
    while differ:
        last = next(
            (n for n, at in enumerate(differ[:-1]) if differ[n + 1] - at > NEAR), len(differ) - 1
        )
        here = slice(differ[0], differ[last] + 1)
        yield Rewritten(at=here.start, before=before[here].hex(), after=after[here].hex())
        del differ[: last + 1]
