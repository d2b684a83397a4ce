# SPDX-License-Identifier: Apache-2.0
"""A stream of `pktgen --profile`: what it sends, and its sender, as C plays it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import ffi
from uspnet.jobs.choices import COUNT_MAX, DURATION_MAX
from uspnet.jobs.losses import Losses
from uspnet.jobs.measure import make_streams
from uspnet.jobs.pace import Pace
from uspnet.jobs.plan import Limits
from uspnet.jobs.sender import Generate
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.memory import new
from uspnet.packets.fields.program import seed_for
from uspnet.packets.shape import LINK_BPS
from uspnet.port import Port

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import ProfileStream


@dataclass(frozen=True)
class Stream:
    """What is sent to a port: from `start` seconds after the start of the run on, for `seconds`
    (None: to its end), and `count` packets at most (None: any number). Its traffic has its rate.
    """

    name: str
    port: Port
    traffic: Traffic
    start: float = 0.0
    seconds: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range."""
        if not 0 <= self.start <= DURATION_MAX:
            raise Usage(f"start={self.start}", "seconds after the start of the run, 0 or more")
        if self.seconds is not None and not 0 < self.seconds <= DURATION_MAX:
            raise Usage(f"seconds={self.seconds}", "seconds, above 0; None: to the end of the run")
        if self.count is not None and not 0 < self.count <= COUNT_MAX:
            raise Usage(f"count={self.count}", "packets, 1 or more; None: any number")

    def ends(self, duration: float | None) -> float | None:
        """Return when it ends in a run of so many seconds, by time; None: it does not."""
        ends = [] if self.seconds is None else [self.start + self.seconds]
        return min([*ends, *([] if duration is None else [duration])], default=None)


class Sender:
    """A stream as C plays it: the `number`th. `secret`: of its signatures. `losses`: of all
    streams, which notes what it sends; None: nobody asks. `copies` of its packets are made in
    buffers that it shares with other streams.
    """

    def __init__(  # noqa: PLR0913 - what all streams share
        self,
        stream: Stream,
        number: int,
        limits: Limits,
        secret: int,
        losses: Losses | None,
        *,
        dry: bool,
    ) -> None:
        self.stream, self.templates = stream, CTemplates(stream.traffic, secret)
        shape = stream.traffic.rates()
        self.shape = None
        if shape:  # the gaps of two streams of a seed are independent, too
            seed = seed_for(f"stream {number}", shape.seed)
            self.shape = replace(shape, start=stream.start, seed=seed)
        self.pace = Pace(self.shape, 0, 1) if self.shape else None
        self.fields, self.again = (stream.traffic.make_fields(0, 1) for _ in range(2))
        self.c: ProfileStream = ffi.NULL  # set by its loop
        self.budget = new("uint64_t *", stream.count) if stream.count else ffi.NULL
        self.ends = stream.ends(limits.duration)
        streams, logs = make_streams(1), ffi.NULL
        if losses:
            sent = losses.take(self.templates, stream.traffic, stream.name)
            logs = losses.follow(number, streams, sent, self.fields, self.again)
        self.loop = Generate.of(
            self.templates,
            self.fields,
            self.pace,
            streams=streams,
            first_stream=number,
            logs=logs,
            dry=dry,
            copies=True,
        )
        self.loop.c.w.budget = self.budget

    def play(self, link_bps: int | None) -> None:
        """Set the rates: those in percent are of the port's own link, if it is known."""
        if not self.pace or not self.shape:
            return
        if self.shape.percent:
            self.shape = self.shape.scaled((link_bps or LINK_BPS) / LINK_BPS)
        self.pace.play(self.shape, self.ends or 0.0)

    def settle(self) -> None:
        """Have another process go on, with what is left of its packets."""
        if self.budget:
            self.budget[0] = max((self.stream.count or 0) - int(self.loop.c.offered), 0)
        self.loop.resume()
