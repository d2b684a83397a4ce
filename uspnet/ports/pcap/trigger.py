# SPDX-License-Identifier: Apache-2.0
"""Capture files that begin with a trigger: a packet that a filter accepts, or a signal. What came
before it is taken from memory.

Until then a file has its header alone, and no statistics. When no trigger comes, it stays so.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from uspnet.errors import NoMemory, NotSupported
from uspnet.fastpath import lib
from uspnet.memory import memory_available
from uspnet.ports.pcap.hold import ANY_TIME, NEWEST, Hold
from uspnet.ports.pcap.making import left_out
from uspnet.ports.pcap.ring import Ring
from uspnet.ports.pcap.rotation import Rotation
from uspnet.ports.pcap.sink import Sink
from uspnet.ports.pcap.source import Source
from uspnet.ports.pcap.statistics import Cut
from uspnet.ports.pcap.writer import Writer
from uspnet.spec import Spec

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Filter as CFilter
    from uspnet.packets.filter import Filter

SETTLE_S = 1.0  # without any progress of the writer's


@dataclass(frozen=True)
class Trigger:
    """What is held in memory until a packet comes that `on` accepts, or until somebody asks: the
    last `seconds` (None: any time), of at most `octets` of records. Then what follows is written,
    for `after` seconds (None: until the end).
    """

    octets: int
    seconds: float | None = None
    after: float | None = None
    on: Filter | None = None


class Armed(Sink):
    """Writes nothing before a trigger."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.trigger = Trigger(0)
        self.on: CFilter | None = None
        self.asked = False
        self.seen = 0.0  # when the trigger was noticed, by the monotonic clock
        self.over = False
        self.counted = False  # what no trigger has asked for, as dropped
        self.statistics.held = self.held_of

    def arm(self, trigger: Trigger) -> None:
        """Set what is held, before `open`."""
        self.trigger = trigger

    def open(self) -> None:
        """Open the file and start the writer. Raises NoMemory."""
        how = self.trigger
        if how.octets > (free := memory_available()):
            text = f"{self.path}: {how.octets >> 20:,} MiB to hold packets, and {free >> 20:,} free"
            raise NoMemory(text, "hold less: --pre-trigger 64MiB")
        self.on = how.on.make() if how.on else None
        before, after = (
            ANY_TIME if s is None else round(s * 1e9) for s in (how.seconds, how.after)
        )
        feeders = self.feeders()  # of which one alone is at one time
        files = len(feeders) > 1 and any(isinstance(port, Source) for port in feeders)
        self.part = replace(self.part, hold=Hold(how.octets, before, after, self.on, files))
        super().open()
        self.fills_disk = self.fills_disk and how.after is None

    def carries(self) -> bool:
        """Return False: what describes packets of a file may be gone when they are written."""
        return False

    def held(self) -> dict[str, int]:
        """Raise NotSupported: another version has no access to what is held."""
        text = f"{self.name}: can't go on with the packets that are held in memory"
        raise NotSupported(text, "wait until the job has ended, and start the new version")

    # -- the trigger -----------------------------------------------------------------------------

    def _is_live(self) -> bool:
        """Return whether time goes on without packets: not in files, if they are read once."""
        once = [isinstance(port, Source) and port.runs_out for port in self.feeders()]
        return not once or not all(once)

    def pull(self) -> None:
        """Have what is held written now. Signal handlers may call this."""
        self.asked = True
        if self.writer:
            live = not any(isinstance(port, Source) for port in self.feeders())
            self.writer.shared.asked_ns = time.time_ns() if live else NEWEST
            self.writer.wake()

    @property
    def triggered_ns(self) -> int | None:
        """When the trigger was, in ns since 1970; None: not yet."""
        return int(self.writer.shared.triggered_ns) or None if self.writer else None

    def held_of(self, index: int) -> int:
        """Return how many packets of a queue are counted as sent, and not to be written so far."""
        if not self.writer or self.counted:
            return 0
        packets = sum(int(queue.counters.packets) for queue in self.made if queue.index == index)
        if self.triggered_ns is None:
            return packets
        return min(packets, int(self.writer.shared.positions[index].untriggered))

    def waiting(self) -> int:
        """Return the same of all queues."""
        return sum(self.held_of(queue.index) for queue in self.made)

    def start(self) -> None:
        """Begin, with a trigger that came before this."""
        super().start()
        if self.trigger.on and (narrowed := self._narrowed()):
            self.notice(f"{self.path}: --on sees only what is captured, not {narrowed}")
        if self.asked:
            self.pull()

    def _narrowed(self) -> str:
        """Return what the trigger does not see; nothing: it sees all."""
        filters = self.making.only or any(only for only, _ in self.making.each)
        words = ["what the filter rejects"] if filters else []
        return ", nor ".join([*words, *left_out(self.making, self.options)])

    def control(self) -> None:
        """Notice the trigger, and end the job when enough has followed it."""
        self._look_up()
        after = self.trigger.after
        if self.seen and after is not None and self.writer and not self.complete:
            late = self._is_live() and time.monotonic() >= self.seen + after
            if (late or self.writer.shared.passed) and not self.over:
                self.over = True
                self.end_job()
        super().control()

    def _look_up(self) -> None:
        """Tell of the trigger, once."""
        ns = None if self.seen else self.triggered_ns
        if ns is None:
            return
        self.seen = time.monotonic()
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ns // 10**9))
        at += f".{ns % 10**9:09}"
        self.notice(f"{self.path}: triggered at {at}")
        why = f" by {self.trigger.on.text}" if self.trigger.on and not self.asked else ""
        self.statistics.tell(f"triggered at {at}{why}")
        begun = int(self.writer.shared.held_ns) if self.writer else 0
        if begun and self.trigger.seconds:
            held = max(ns - begun, 0) / 1e9
            self.notice(
                f"{self.path}: the last {held:.6f} s before the trigger were held, not"
                f" {self.trigger.seconds:g} s: {self.trigger.octets >> 20:,} MiB were full."
                f" To hold more: --pre-trigger {self.trigger.seconds:g}s,1GiB"
            )

    def _tells(self) -> bool:
        """Return whether statistics may stand between packets: not before the first of them."""
        return self.triggered_ns is not None and super()._tells()

    # -- the end ---------------------------------------------------------------------------------

    def _let_go(self, writer: Writer) -> None:
        """Have the writer complete the file, with statistics of what it has written."""
        if not writer.line:  # otherwise it asks for them when it has
            self._settle(writer)
        super()._let_go(writer)

    def _settle(self, writer: Writer) -> None:
        """Wait until the writer has decided about all packets, while it makes progress."""
        writer.wake()
        last, since = -1, time.monotonic()
        while not self._settled(writer) and not writer.gone(0.001):
            if (now := writer.progress()) != last:
                last, since = now, time.monotonic()
            elif time.monotonic() > since + SETTLE_S:
                break
            elif not self.regular:
                writer.nudge()

    def _tail(self, cut: Cut | None = None) -> bytes:
        self._look_up()
        return super()._tail(cut)

    def _settled(self, writer: Writer) -> bool:
        """Return whether the writer has decided about all packets."""
        if writer.shared.triggered_ns:
            return writer.is_empty()
        places = [ring.positions for ring in writer.rings[0 : self.queues]]
        return all(at.scanned == at.published for at in places)

    def _forget(self, writer: Writer) -> None:
        """Count as dropped what no trigger has asked for."""
        self._look_up()
        for queue in self.made:
            at = writer.shared.positions[queue.index]
            queue.take_back(at.untriggered, at.untriggered_bytes, lib.DROP_UNTRIGGERED)
            at.untriggered = at.untriggered_bytes = 0
        self.counted = True
        super()._forget(writer)

    def _tell(self) -> None:
        super()._tell()
        if not self.seen:
            self.notice(f"{self.path}: no trigger came: no packets are written")

    def close(self) -> None:
        """Close the file."""
        super().close()
        self.on = None


class ArmedRing(Armed, Ring):
    """Writes several files from a trigger on."""

    def _look(self, line: socket.socket) -> None:
        """Have a file end for which the time has come: it begins with the trigger."""
        if self.seen:
            super()._look(line)
        else:
            self.turned = time.monotonic()


def make_armed(path: str, trigger: Trigger, rotation: Rotation | None, **options: object) -> Armed:
    """Return the port that writes to a capture file from a trigger on. `rotation`: when a file
    ends; `options` are those of the port. Raises Usage.
    """
    sink = (ArmedRing if rotation else Armed).make("", out=path, **options)
    if rotation and isinstance(sink, ArmedRing):
        sink.rotate(rotation)
    sink.arm(trigger)
    return sink
