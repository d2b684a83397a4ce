# SPDX-License-Identifier: Apache-2.0
"""The loop that sends what pktgen makes: fastpath/loops/generate.c."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.loops import Loop, under_way
from uspnet.jobs.pace import Pace
from uspnet.packets.frames import vlan_tags
from uspnet.port import Port

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Field, FrameTemplate, Pointer, SentLog, Stream
    from uspnet.jobs.answers import Answers
    from uspnet.jobs.worker import Lane


@dataclass
class Generate(Loop, name="generate"):
    """Sends templates in turn, when they are due by `pace`, for `seconds` (0: no limit)."""

    templates: FrameTemplate
    n_templates: int
    n_order: int
    order: Pointer[int]
    turn: Pointer[int]
    stamp_at: int
    secret: int
    pace: c.Pace  # NULL: none
    seconds: float
    streams: Stream  # a lane each
    first_stream: int
    logs: SentLog = ffi.NULL  # of what it sends, a lane each
    head: int = 0  # bytes of the only frame that fields change
    fields: Field = ffi.NULL  # what differs from packet to packet: struct field *
    dry: bool = False
    copies: bool = False  # others write into its buffers, too

    def __post_init__(self) -> None:
        """Fill the struct."""
        super().__post_init__()
        self.paced: Pace | None = None  # which has `pace`
        self.answers: Answers | None = None  # which leave by its transmit queues, too
        self.c.copies = self.copies or self.n_templates > 1 or self.fields != ffi.NULL
        if self.copies:
            self.c.head = self.templates[0].length

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets begun."""
        return int(self.c.offered)

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what was begun and neither sent nor dropped."""
        answered = self.answers.sent()[0] if self.answers else 0
        lost = under_way(lanes, int(self.c.offered) + answered)
        lanes[0].exits[0].drop(lost, lib.DROP_WORKER_LOST)
        self.resume()
        return excess

    def set_clock(self, hz: int) -> None:
        """Learn the ticks per second: what is kept of the pace holds this, too."""
        if self.paced:
            self.paced.c.ticks_hz = hz

    def pass_over(self, ticks: int) -> None:
        """Have the pause be no stall."""
        if self.paced:
            self.paced.pass_over(ticks)

    def resume(self) -> None:
        """Leave unsent what became due while no loop ran, which would be sent late and all at once;
        but for a run that is to send a number of packets.
        """
        c = self.c
        if self.paced and c.w.start:
            elapsed = max(int(lib.ticks_now()) - int(c.w.start), 0)
            c.offered = self.paced.resume(c.offered, elapsed, skip=not c.w.budget and not c.dry)


def check_length(port: Port, frame: bytes) -> None:
    """Raise Usage for a frame that the port can't send."""
    most, remedy = port.send_limit(vlan_tags(frame))
    if len(frame) > most:
        raise Usage(
            f"{port.name} takes frames of at most {most:,} bytes, and this one has "
            f"{len(frame):,}; neither counts the 4 bytes of FCS",
            "lower --size" + (f", or raise the limit: {remedy}" if remedy else ""),
        )
