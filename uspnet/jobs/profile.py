# SPDX-License-Identifier: Apache-2.0
"""pktgen --profile: several streams at once, each with packets, a rate, a begin and an end of its
own, into one port or several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count as counter
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import ffi, lib
from uspnet.jobs.choices import COUNT_MAX, DURATION_MAX
from uspnet.jobs.job import Job
from uspnet.jobs.loops import Loop, groups, under_way
from uspnet.jobs.measure import make_streams
from uspnet.jobs.pace import Pace, pacing
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import Asked
from uspnet.jobs.sender import Generate, check_length, nothing_sent
from uspnet.jobs.streamed import ProfileResult, StreamResult
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.memory import new
from uspnet.packets.shape import LINK_BPS
from uspnet.port import Port

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import ProfileStream
    from uspnet.jobs.route import Route
    from uspnet.jobs.worker import Lane

STREAMS_MAX = 256


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
    """A stream as C plays it: the `number`th. `copies` of its packets are made in buffers that it
    shares with other streams.
    """

    def __init__(self, stream: Stream, number: int, limits: Limits, *, dry: bool) -> None:
        self.stream, self.templates = stream, CTemplates(stream.traffic)
        shape = stream.traffic.rates()
        self.shape = replace(shape, start=stream.start) if shape else None
        self.pace = Pace(self.shape, 0, 1) if self.shape else None
        self.fields = stream.traffic.make_fields(0, 1)
        self.c: ProfileStream = ffi.NULL  # set by its loop
        self.budget = new("uint64_t *", stream.count) if stream.count else ffi.NULL
        self.ends = stream.ends(limits.duration)
        self.loop = Generate.of(
            self.templates,
            self.fields,
            self.pace,
            streams=make_streams(1),
            first_stream=number % 256,
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


class ProfileJob(Job[ProfileResult]):
    """Sends streams into their ports. `name`: of the profile. `dry`: into a file instead, which is
    then the port of all of them: in the order of their due times, stamped with those.
    """

    waits_for_all = True

    def __init__(
        self, streams: Sequence[Stream], limits: Limits, name: str = "", *, dry: bool = False
    ) -> None:
        if not 0 < len(streams) <= STREAMS_MAX:
            raise Usage(f"{len(streams)} streams", f"give 1 to {STREAMS_MAX}")
        ports = list(dict.fromkeys(each.port for each in streams))
        for port in ports:
            if not port.can_send:
                raise Usage(f"{port.name}: nothing can be sent there", "give a port to send to")
        if limits.count is not None:
            raise Usage("a profile has no count of its own", "give count to its streams")
        super().__init__("pktgen", ports, limits)
        self.streams, self.name, self.dry = streams, name, dry
        self._check_ends()
        self._loops: list[Profile] = []
        self._senders: list[Sender] = []

    def is_timed(self) -> bool:
        """Return whether packets have due times."""
        return not self.dry and any(each.traffic.rates() for each in self.streams)

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
        as long as there are enough.
        """
        for each in self.streams:
            for template in each.traffic.templates:
                check_length(each.port, template.frame)
        turns = {port: counter() for port in self.ports}
        shares: list[list[tuple[Sender, Route]]] = [[] for _ in self.cores]
        for number, stream in enumerate(self.streams):
            sender = Sender(stream, number, self.limits, dry=self.dry)
            self.undo.callback(sender.fields.clear)  # alive as long as the job
            queue = next(turns[stream.port]) % stream.port.queues
            core = queue % min(len(self.cores), stream.port.queues)
            shares[core].append((sender, (None, [(stream.port, queue)])))
            self._senders.append(sender)
        plans = []
        for number, share in enumerate(shares):
            if share:
                senders = [sender for sender, _ in share]
                self._loops.append(Profile.of(senders, self.limits.duration, dry=self.dry))
                routes = [route for _, route in share]
                plans.append(Plan(self._loops[-1], routes, self.cores[number]))
        return plans

    def linked(self) -> None:
        """Set the rates, and say what is to be said."""
        for each in self._senders:
            each.play(self.links.get(each.stream.port))
            for note in each.stream.traffic.notes:
                self.on_notice(note)

    def check(self, result: ProfileResult) -> None:
        """Raise DeviceFault if a run that should have sent packets sent none."""
        if result.sent or result.before or self.stopped() or not result.offered:
            return
        raise self.fail(nothing_sent(self.ports, result.drops), result)

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        return replace(super().asked(), profile=self.name, dry_run=self.dry)

    def count(self) -> ProfileResult:
        """Return what was sent so far."""
        sent, octets = self.total("tx", "packets"), self.total("tx", "bytes")
        offered = sum(loop.offered() for loop in self._loops)
        return ProfileResult(
            **self.common(),
            **self.sending(offered, sent, octets, self.drops("tx")),
            streams=tuple(self._row(each, self.elapsed()) for each in self._senders),
        )

    def _row(self, each: Sender, elapsed: float) -> StreamResult:
        """Return what became of a stream."""
        stream, sent, kept = each.stream, int(each.c.sent), None
        offered = max(int(each.loop.c.offered), sent)
        if each.pace and not self.dry:
            most = COUNT_MAX if stream.count is None else stream.count
            kept = pacing([each.pace], self.workers[0].hz, sent, elapsed, most)
        return StreamResult(
            name=stream.name,
            port=stream.port.name,
            offered=offered,
            sent=sent,
            unsent=offered - sent,
            pacing=kept,
        )
