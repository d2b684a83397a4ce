# SPDX-License-Identifier: Apache-2.0
"""What a capture file says was received, and lost: once a second, and at its end.

Interface Statistics Blocks of pcapng hold totals since the capture's start, so that two of them say
what was lost in between. Of the standard options, `isb_ifdrop` is all that was lost, as in dumpcap's
files; `isb_osdrop` is what uspnet itself lost of it, behind the filter, so that
`isb_filteraccept - isb_osdrop = isb_usrdeliv` at the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from uspnet.errors import UspnetError
from uspnet.port import Port, Queue
from uspnet.ports.pcap import format as pcapfile
from uspnet.telemetry import UNKNOWN, drops_by_reason, reasons_text

EVERY_S = 1.0


@dataclass(frozen=True)
class Counts:
    """Packets since the start of a capture. `missed` before they were received; None: not known.
    `drops`: by uspnet, by reason.
    """

    received: int
    filtered: int
    written: int
    missed: int | None
    drops: dict[str, int]

    def options(self) -> dict[int, int]:
        """Return the options of an Interface Statistics Block."""
        missed, dropped = self.missed or 0, sum(self.drops.values())
        return {
            pcapfile.ISB_IFRECV: self.received + missed,
            pcapfile.ISB_IFDROP: dropped + missed,
            pcapfile.ISB_FILTERACCEPT: self.received - self.filtered,
            pcapfile.ISB_OSDROP: dropped,
            pcapfile.ISB_USRDELIV: self.written,
        }


@dataclass
class Statistics:
    """Counts the packets of `source`, or those of all ports if it is None, which the queues of a
    file take. `beyond` are packets that came when no file followed.
    """

    source: Port | None
    made: Sequence[Queue]
    started_ns: int = 0
    due: float = field(default=0.0)
    beyond: Callable[[], int] = lambda: 0

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

    def count(self) -> Counts:
        """Return what was counted so far."""
        sources = [q.counters for q in self._receivers()]
        sinks = [queue.counters for queue in self.made]
        beyond = self.beyond()
        written = sum(int(c.packets) for c in sinks)
        drops = drops_by_reason(sources)
        received = sum(int(c.packets) for c in sources) + sum(drops.values())
        filtered, late = drops.pop("filtered", 0), drops_by_reason(sinks)
        for reason, number in late.items():
            drops[reason] = drops.get(reason, 0) + number
        if self.source is None:
            received = written + sum(drops.values())
        return Counts(received - beyond, filtered, written - beyond, self._missed(), drops)

    def block(self) -> bytes:
        """Return the totals until now as a block."""
        now, counts, said = time.time_ns(), self.count(), self._gaps()
        if counts.drops:
            said.append(f"dropped: {reasons_text(counts.drops)}")
        comment = "; ".join(said)
        return pcapfile.statistics(0, self.started_ns, now, counts.options(), comment)

    def _receivers(self) -> list[Queue]:
        made = self.source.made if self.source else []
        return [queue for queue in made if queue.direction == "rx"]

    def _missed(self) -> int | None:
        """Return the packets that were lost before they were received, as results have it."""
        counts = [int(queue.counters.missed) for queue in self._receivers()]
        if not self.source or UNKNOWN in counts:
            return None
        with contextlib.suppress(UspnetError):  # the device is gone
            extra = self.source.extra_counters()
            if "rx_missed_errors" in extra:
                return extra["rx_missed_errors"]
        return None if "rx_missed_errors" in self.source.unknown else sum(counts)

    def _gaps(self) -> list[str]:
        """Return what the file's reader should know of interruptions of the source's device."""
        counters = [queue.counters for queue in self._receivers()]
        if not (times := sum(int(c.interruptions) for c in counters)):
            return []
        seconds = sum(int(c.interrupted_ns) for c in counters) / 1e9
        return [f"capture interrupted by the device: {times} times, {seconds:.3f} s in all"]
