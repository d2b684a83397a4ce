# SPDX-License-Identifier: Apache-2.0
"""pktgen --profile: several streams at once, each with packets, a rate, a begin and an end of its
own, into one port or several.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count as counter
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import ffi, lib
from uspnet.jobs.choices import COUNT_MAX
from uspnet.jobs.loops import Loop, groups, under_way
from uspnet.jobs.losses import Losses
from uspnet.jobs.measure import STREAMS_MAX, Measure, make_streams
from uspnet.jobs.measuring import NO_FILES, Measuring
from uspnet.jobs.pace import pacing
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import Asked
from uspnet.jobs.saving import Files
from uspnet.jobs.sender import check_length, nothing_sent
from uspnet.jobs.stream import Sender, Stream
from uspnet.jobs.streamed import (
    ProfileMeasureResult,
    ProfileResult,
    ReturnedStream,
    StreamResult,
)
from uspnet.jobs.traffic import make_secret
from uspnet.memory import new
from uspnet.port import Port

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import ProfileStream
    from uspnet.jobs.route import Route
    from uspnet.jobs.worker import Lane


@dataclass
class Profile(Loop, name="profile"):
    """Streams that take turns, one on each lane."""

    streams: ProfileStream  # a lane each
    n_streams: int
    seconds: float
    dry: bool

    def __post_init__(self) -> None:
        """Fill the struct."""
        super().__post_init__()
        self.senders: list[Sender] = []

    @classmethod
    def of(cls, senders: list[Sender], seconds: float | None, *, dry: bool) -> Profile:
        """Return the loop of these streams, in a run of so many seconds."""
        streams = new("struct profile_stream[]", len(senders))
        for each, sender in zip(streams, senders, strict=True):
            each.g, each.begins = sender.loop.c, sender.stream.start
            each.ends = float("inf") if sender.ends is None else sender.ends
            sender.c = each
        loop = cls(streams, len(senders), seconds or 0.0, dry)
        loop.senders = senders
        return loop

    def offered(self) -> int:
        """Return the packets begun."""
        return sum(int(each.loop.c.offered) for each in self.senders)

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets begun."""
        return self.offered()

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what was begun and neither sent nor dropped, by each port."""
        begun = dict(zip(map(id, lanes), self.senders, strict=True))
        for group in groups(lanes):
            offered = sum(int(begun[id(lane)].loop.c.offered) for lane in group)
            group[0].exits[0].drop(under_way(group, offered), lib.DROP_WORKER_LOST)
        for each in self.senders:
            each.loop.c.w.start = self.c.w.start
            each.settle()
        return excess

    def set_clock(self, hz: int) -> None:
        """Learn the ticks per second."""
        for each in self.senders:
            each.loop.set_clock(hz)

    def pass_over(self, ticks: int) -> None:
        """Have the pause be no stall."""
        for each in self.senders:
            each.loop.pass_over(ticks)


class ProfileJob(Measuring[ProfileResult | ProfileMeasureResult]):
    """Sends streams into their ports; measures what comes back of each on `rx_port`. `name`: of the
    profile. `dry`: into a file instead, which is then the port of all of them: in the order of
    their due times, stamped with those.
    """

    def __init__(  # noqa: PLR0913 - as for one stream
        self,
        streams: Sequence[Stream],
        limits: Limits,
        name: str = "",
        rx_port: Port | None = None,
        files: Files = NO_FILES,
        *,
        dry: bool = False,
    ) -> None:
        if not 0 < len(streams) <= STREAMS_MAX:
            raise Usage(f"{len(streams)} streams", f"give 1 to {STREAMS_MAX}")
        ports = list(dict.fromkeys(each.port for each in streams))
        for port in ports:
            if not port.can_send:
                raise Usage(f"{port.name}: nothing can be sent there", "give a port to send to")
        if limits.count is not None:
            raise Usage("a profile has no count of its own", "give count to its streams")
        for each in streams if rx_port else ():
            if not each.traffic.sequence:
                text = f"the stream {each.name} has no sequence numbers, by which it is measured"
                raise Usage(text, "give it some, or measure nothing")
        super().__init__(ports, limits, rx_port, files, numbered=rx_port is not None)
        self.streams, self.name, self.dry = streams, name, dry
        self._check_ends()
        self._loops: list[Profile] = []
        self._senders: list[Sender] = []

    def is_timed(self) -> bool:
        """Return whether packets have due times."""
        timed = self.rx_port or any(each.traffic.rates() for each in self.streams)
        return bool(timed) and not self.dry

    def runs_out(self) -> bool:
        """Return whether all streams end by themselves."""
        return all(each.count or each.seconds for each in self.streams)

    def longest(self) -> int:
        """Return the length of the longest frame in bytes."""
        return max(each.traffic.longest() for each in self.streams)

    def _check_ends(self) -> None:
        """Raise Usage for a dry run that would never end."""
        for each in self.streams if self.dry else ():
            timed = each.traffic.rates() and each.ends(self.limits.duration) is not None
            if not each.count and not timed:
                text = f"--dry-run: nothing ends the stream {each.name}"
                raise Usage(text, "give it a count, or a rate and an end: stop, or --duration")

    def plans(self) -> list[Plan]:
        """Plan one worker a core, and give it streams of each port, which have queues of their own
        as long as there are enough; and one receiver of everything that comes back.
        """
        for each in self.streams:
            for template in each.traffic.templates:
                check_length(each.port, template.frame)
        shares = self._share_out()
        plans = []
        for number, share in enumerate(shares):
            if share:
                senders = [sender for sender, _ in share]
                self._loops.append(Profile.of(senders, self.limits.duration, dry=self.dry))
                routes = [route for _, route in share]
                plans.append(Plan(self._loops[-1], routes, self.cores[number]))
        if self.rx_port:
            plans.append(self._receive(self._receiver(), self.rx_port, len(plans), answers=False))
        return plans

    def _share_out(self) -> list[list[tuple[Sender, Route]]]:
        """Make the streams' senders. Return those of each core, with their routes."""
        secret, turns = make_secret(), {port: counter() for port in self.ports}
        shares: list[list[tuple[Sender, Route]]] = [[] for _ in self.cores]
        if self.rx_port:
            self.losses = Losses(len(self.streams), self.lost, secret)
        for number, stream in enumerate(self.streams):
            sender = Sender(stream, number, self.limits, secret, self.losses, dry=self.dry)
            self.undo.callback(sender.fields.clear)  # alive as long as the job
            self.undo.callback(sender.again.clear)
            queue = next(turns[stream.port]) % stream.port.tx_queues
            core = queue % min(len(self.cores), stream.port.tx_queues)
            shares[core].append((sender, (None, [(stream.port, queue)])))
            self._senders.append(sender)
        return shares

    def _receiver(self) -> Measure:
        """Make the loop that measures: signatures of most streams are where that of the first is,
        or at an offset of their own.
        """
        count, first = len(self._senders), self._senders[0].templates
        places = dict.fromkeys(each.templates.stamp_at for each in self._senders)
        others = [at for at in places if at != first.stamp_at]
        made = Measure(
            stamp_at=first.stamp_at,
            secret=first.secret,
            began=time.monotonic_ns(),
            n_streams=count,
            streams=make_streams(count),
            losses=self.losses.c if self.losses else ffi.NULL,
            writes=bool(self.lost),
            offsets=new("uint32_t[]", others),
            n_offsets=len(others),
        )
        made.tell_apart()
        return made

    def set_up(self) -> None:
        """Run the receiver in the first sender's thread if it has no core of its own."""
        self.receivers = self.workers[len(self._loops) :]
        if self.receivers and len(self.cores) <= len(self._loops):
            self.inline = list(self.receivers)
            self._loops[0].c.inline_receiver = self._measures[0].c

    def linked(self) -> None:
        """Set the rates, and say what is to be said."""
        for each in self._senders:
            each.play(self.links.get(each.stream.port))
        if self.lost and self.runs_out():
            self.lost.fills_disk = False  # the streams end
        super().linked()
        for each in self._senders:
            for note in each.stream.traffic.notes:
                self.on_notice(note)

    def check(self, result: ProfileResult | ProfileMeasureResult) -> None:
        """Raise DeviceFault if a run that should have sent packets sent none."""
        if result.sent or result.before or self.stopped() or not result.offered:
            return
        raise self.fail(nothing_sent(self.ports, result.drops), result)

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        return replace(super().asked(), profile=self.name, dry_run=self.dry)

    def _sent(self) -> tuple[int, int]:
        """Return the packets sent and their bytes."""
        return self.total("tx", "packets"), self.total("tx", "bytes")

    def count(self) -> ProfileResult | ProfileMeasureResult:
        """Return what was sent so far, and received where there is a receive port."""
        offered = sum(loop.offered() for loop in self._loops)
        counts = {**self.common(), **self.sending(offered, *self._sent(), self.drops("tx"))}
        rows = [self._row(each, self.elapsed()) for each in self._senders]
        if not (self.rx_port and self._measures):
            return ProfileResult(**counts, streams=tuple(StreamResult(**row) for row in rows))
        back = [self._measures[0].of_stream(number) for number in range(len(rows))]
        streams = tuple(
            ReturnedStream(**row, **came, lost=max(row["sent"] - came["received"], 0))
            for row, came in zip(rows, back, strict=True)
        )
        return ProfileMeasureResult(**counts, **self.returned(), streams=streams)

    def _row(self, each: Sender, elapsed: float) -> Json:
        """Return what became of a stream, by the fields of its result."""
        stream, sent, kept = each.stream, int(each.c.sent), None
        offered = max(int(each.loop.c.offered), sent)
        if each.pace and self.workers and not self.dry:
            most = COUNT_MAX if stream.count is None else stream.count
            kept = pacing([each.pace], self.workers[0].hz, sent, elapsed, most)
        return {
            "name": stream.name,
            "port": stream.port.name,
            "offered": offered,
            "sent": sent,
            "unsent": offered - sent,
            "pacing": kept,
        }
