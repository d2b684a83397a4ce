# SPDX-License-Identifier: Apache-2.0
"""The loop that sends what pktgen makes: fastpath/loops/generate.c."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import DeviceFault, Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.loops import Loop, under_way
from uspnet.jobs.pace import Pace
from uspnet.memory import new
from uspnet.packets.frames import vlan_tags
from uspnet.port import Port
from uspnet.telemetry import reasons_text

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Field, FrameTemplate, Pointer, SentLog, Stream
    from uspnet.jobs.answers import Answers
    from uspnet.jobs.traffic import CTemplates
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
    head: int = 0  # bytes that are written each time, see generate.h
    fields: Field = ffi.NULL  # what differs from packet to packet: struct field *
    dry: bool = False
    filler: FrameTemplate = ffi.NULL  # what buffers have, where a head alone is written
    copies: bool = False  # others write into its buffers, too
    holds: Pointer[int] = ffi.NULL  # set by `reuse`

    def __post_init__(self) -> None:
        """Fill the struct."""
        super().__post_init__()
        self.paced: Pace | None = None  # which has `pace`
        self.answers: Answers | None = None  # which leave by its transmit queues, too
        self.c.copies = self.copies or self.n_templates > 1 or self.fields != ffi.NULL
        if self.copies:
            self.c.head = self.templates[0].length if self.n_templates == 1 else 0

    def reuse(self, buffers: int) -> None:
        """Send buffers of a pool of so many once more as they were sent before, where several
        templates are all that is ever written into them.
        """
        alone = not self.copies and self.fields == ffi.NULL
        if alone and 1 < self.n_templates <= lib.REUSED_TEMPLATES:
            self.c.holds = self.holds = new("uint8_t[]", buffers)

    @classmethod
    def of(  # noqa: PLR0913 - one argument a member
        cls,
        templates: CTemplates,
        fields: Sequence[c.Struct],
        pace: Pace | None,
        *,
        streams: Stream,
        first_stream: int,
        seconds: float = 0.0,
        logs: SentLog = ffi.NULL,
        dry: bool = False,
        copies: bool = False,
    ) -> Generate:
        """Return the loop that sends these templates; `fields`: the last of the chain is applied
        first.
        """
        loop = cls(
            templates=templates.c,
            n_templates=templates.count,
            n_order=templates.cycle,
            order=templates.order,
            turn=templates.turn,
            stamp_at=templates.stamp_at,
            secret=templates.secret,
            pace=pace.c if pace else ffi.NULL,
            seconds=seconds,
            streams=streams,
            first_stream=first_stream,
            logs=logs,
            head=templates.head,
            filler=templates.filler,
            fields=ffi.cast("struct field *", fields[-1]) if fields else ffi.NULL,
            dry=dry,
            copies=copies,
        )
        loop.paced = pace
        return loop

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets begun."""
        return int(self.c.offered)

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what was begun and neither sent nor dropped."""
        answered = self.answers.left() if self.answers else 0
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


def nothing_sent(ports: Sequence[Port], drops: Mapping[str, int]) -> DeviceFault:
    """Return the error of a run that should have sent packets into these ports, and sent none."""
    reasons = f" (dropped: {reasons_text(drops)})" if drops else ""
    text = f"{', '.join(port.name for port in ports)}: nothing was sent{reasons}"
    return DeviceFault(text, f"see: uspnet doctor {ports[0].name}")


def check_length(port: Port, frame: bytes) -> None:
    """Raise Usage for a frame that the port can't send."""
    most, remedy = port.send_limit(vlan_tags(frame))
    if len(frame) > most:
        raise Usage(
            f"{port.name} takes frames of at most {most:,} bytes, and this one has "
            f"{len(frame):,}; neither counts the 4 bytes of FCS",
            "lower --size" + (f", or raise the limit: {remedy}" if remedy else ""),
        )
