# SPDX-License-Identifier: Apache-2.0
"""What a capture file says was received, and lost: once a second, and at its end.

Interface Statistics Blocks of pcapng hold totals since the capture's start, so that two of them
say what was lost in between. Of the standard options, `isb_ifdrop` is all that was lost, as in
dumpcap's files; `isb_osdrop` is what uspnet itself lost of it, behind the filter, so that
`isb_filteraccept - isb_osdrop = isb_usrdeliv` at the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from uspnet.errors import UspnetError
from uspnet.fastpath import c
from uspnet.port import Port, Queue
from uspnet.ports.pcap import format as pcapfile
from uspnet.ports.pcap.notes import gated
from uspnet.telemetry import UNKNOWN, drops_by_reason, reasons_text

EVERY_S, LOOK_S = 1.0, 0.1
LOOKS_MAX = 4096
LOOKS = 5  # at both clocks: a thread may be interrupted in between
LEFT_OUT = ("duplicate", "beyond_first")  # reasons to drop that are no loss, as a filter's
JUMP_NS = 10_000  # of the clock, that is told


def _both() -> tuple[int, int]:
    """Read both of the kernel's clocks at once, in ns: CLOCK_REALTIME less CLOCK_BOOTTIME, which
    goes on while the machine is suspended, too, and how far that may be wrong. Of several pairs,
    the one that was read in the shortest time.
    """
    pairs = []
    for _ in range(LOOKS):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        real = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        pairs.append((after - before, real - (before + after) // 2))
    width, offset = min(pairs)
    return offset, width


class Watch:
    """Notices when somebody sets CLOCK_REALTIME, which packets' times are of: it leaves
    CLOCK_BOOTTIME by a jump. Slewing, as by NTP, moves both.
    """

    def __init__(self, both: Callable[[], tuple[int, int]] = _both) -> None:
        self.both = both
        self.last = both()

    def look(self) -> list[str]:
        """Return what happened to the clock since the last look."""
        offset, width = self.both()
        jump, known = offset - self.last[0], max(width, self.last[1], JUMP_NS)
        self.last = offset, width
        if abs(jump) <= known:
            return []
        return [f"the clock was set {'on' if jump > 0 else 'back'} by {abs(jump) / 1e9:.6f} s"]


@dataclass(frozen=True)
class Counts:
    """Packets since the start of a capture. `missed` before they were received; None: not known.
    `filtered`: those that nobody wanted. `drops`: by uspnet, by reason; `left_out`: what was asked
    for to be, by reason.
    """

    filtered: int
    written: int
    missed: int | None
    drops: dict[str, int]
    left_out: dict[str, int]

    def options(self) -> dict[int, int]:
        """Return the options of an Interface Statistics Block."""
        missed, dropped = self.missed or 0, sum(self.drops.values())
        accepted = self.written + dropped  # what is on its way to the file comes later
        received = accepted + self.filtered + sum(self.left_out.values())
        return {
            pcapfile.ISB_IFRECV: received + missed,
            pcapfile.ISB_IFDROP: dropped + missed,
            pcapfile.ISB_FILTERACCEPT: accepted,
            pcapfile.ISB_OSDROP: dropped,
            pcapfile.ISB_USRDELIV: self.written,
        }


@dataclass(frozen=True)
class Look:
    """What had been counted of each interface at a time, in ns since 1970, with remarks. `places`:
    up to where each queue of the file had records then, and the queue's interface.
    """

    at_ns: int
    found: list[tuple[Counts, list[str]]]
    places: list[tuple[int, int]]

    def is_behind(self, ends: Sequence[int]) -> bool:
        """Return whether it has counted more than what is before these positions."""
        return any(at > end for (at, _), end in zip(self.places, ends, strict=False))


@dataclass(frozen=True)
class Cut:
    """Where a file ends: a look at that time, and the packets of each interface that are in it, or
    in those before.
    """

    look: Look
    written: Sequence[int]


@dataclass
class Statistics:
    """Counts the packets of ports, which the queues of a file take: those of one port after those
    of the one before. Without any port, the file has one interface, which other jobs feed.
    `beyond`: packets of a queue that came when no file followed; `held`: those that it counts, and
    that no trigger has asked for. `news`: what the next block says, too. `places`: see Look, of a
    file that others follow.
    """

    sources: Sequence[Port]
    made: Sequence[Queue]
    started_ns: int = 0
    due: float = 0.0
    beyond: Callable[[int], int] = lambda _index: 0
    held: Callable[[int], int] = lambda _index: 0
    watch: Watch = field(default_factory=Watch)
    news: list[str] = field(default_factory=list)
    places: Callable[[], list[tuple[int, int]]] = list
    looks: list[Look] = field(default_factory=list)  # of which no file has all that they count
    looked: float = 0.0

    def tell(self, text: str) -> None:
        """Have the next block say something, and soon."""
        self.news.append(text)
        self.due = 0.0

    def start(self) -> None:
        """Begin to count: the capture begins."""
        self.started_ns, self.due = time.time_ns(), time.monotonic() + EVERY_S

    def is_due(self) -> bool:
        """Return whether a second is over, once a second."""
        now = time.monotonic()
        if now < self.due:
            return False
        self.due += EVERY_S * (1 + (now - self.due) // EVERY_S)
        return True

    def look(self) -> Look:
        """Return what is counted now."""
        ports = self._interfaces()
        found = [(self._count(source, sinks), _gaps(source)) for source, sinks in ports]
        return Look(time.time_ns(), found, self.places())  # which hold all that was counted

    def keep(self, written: Sequence[int]) -> None:
        """Keep what is counted now, ten times a second, for a file's end among what waits to be
        written. `written`: up to where the queues are in files.
        """
        if (now := time.monotonic()) < self.looked + LOOK_S:
            return
        self.looked, look = now, self.look()
        self._forget(written)
        if look.is_behind(written) and (not self.looks or self.looks[-1].places != look.places):
            self.looks.append(look)
        if len(self.looks) > LOOKS_MAX:
            del self.looks[1::2]

    def at(self, ends: Sequence[int]) -> Look:
        """Return what was counted when the queues' records up to these positions had come, as far
        as it is known: the first look since then, or one now.
        """
        self._forget(ends)
        return self.looks[0] if self.looks else self.look()

    def _forget(self, ends: Sequence[int]) -> None:
        """Drop looks of which files have all up to these positions: the first ones, for positions
        only grow.
        """
        while self.looks and not self.looks[0].is_behind(ends):
            del self.looks[0]

    def note(self) -> bytes:
        """Return the totals until now for a place between packets."""
        look = self.look()
        blocks = self.blocks(Cut(look, [counts.written for counts, _ in look.found]))
        if not look.places:
            return blocks
        self.looks.append(look)
        return gated(look.places, blocks)

    def blocks(self, cut: Cut | None = None) -> bytes:
        """Return the totals until now, or where a file ends: a block for each interface."""
        look, news, found = cut.look if cut else self.look(), [*self.news, *self.watch.look()], b""
        self.news.clear()
        for number, (counts, remarks) in enumerate(look.found):
            said = [*news, *remarks]
            if counts.left_out:
                said.append(f"left out: {reasons_text(counts.left_out)}")
            if counts.drops:
                said.append(f"dropped: {reasons_text(counts.drops)}")
            options = (replace(counts, written=cut.written[number]) if cut else counts).options()
            found += pcapfile.statistics(
                number, self.started_ns, look.at_ns, options, "; ".join(said)
            )
        return found

    def _interfaces(self) -> Iterator[tuple[Port | None, list[Queue]]]:
        """Return the ports, and the queues of the file that take their packets."""
        if not self.sources:
            yield None, list(self.made)
        first = 0
        for source in self.sources:
            own = range(first, first + source.queues)
            yield source, [queue for queue in self.made if queue.index in own]
            first += source.queues

    def _count(self, source: Port | None, made: Sequence[Queue]) -> Counts:
        sources, sinks = _receivers(source), [queue.counters for queue in made]
        beyond = sum(self.beyond(queue.index) for queue in made)
        written = sum(int(c.packets) for c in sinks)
        drops = drops_by_reason(sources)
        filtered = drops.pop("filtered", 0)
        held = sum(self.held(queue.index) for queue in made)
        left_out = {reason: drops.pop(reason) for reason in LEFT_OUT if reason in drops}
        for reason, number in drops_by_reason(sinks).items():
            drops[reason] = drops.get(reason, 0) + number
        return Counts(
            filtered + held,
            written - beyond - held,
            _missed(source),
            drops,
            left_out,
        )


def _receivers(source: Port | None) -> list[c.Counters]:
    made = source.made if source else []
    return [queue.counters for queue in made if queue.direction == "rx"]


def _missed(source: Port | None) -> int | None:
    """Return the packets that were lost before they were received, as results have it."""
    counts = [int(counters.missed) for counters in _receivers(source)]
    if not source or UNKNOWN in counts:
        return None
    with contextlib.suppress(UspnetError):  # the device is gone
        extra = source.extra_counters()
        if "rx_missed_errors" in extra:
            return extra["rx_missed_errors"]
    return None if "rx_missed_errors" in source.unknown else sum(counts)


def _gaps(source: Port | None) -> list[str]:
    """Return what the file's reader should know of interruptions of the source's device."""
    counters = _receivers(source)
    if not (times := sum(int(c.interruptions) for c in counters)):
        return []
    seconds = sum(int(c.interrupted_ns) for c in counters) / 1e9
    return [f"capture interrupted by the device: {times} times, {seconds:.3f} s in all"]
