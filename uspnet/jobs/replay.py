# SPDX-License-Identifier: Apache-2.0
"""pktgen --replay: sends the packets of capture files, by the files' own timing, at a rate, or as
fast as the port takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from uspnet.errors import DeviceFault, Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.answers import Answers, answered, without_answers
from uspnet.jobs.job import Job
from uspnet.jobs.loops import Forward
from uspnet.jobs.measure import Measure
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import Asked, Replayed, ReplayResult
from uspnet.jobs.route import Route
from uspnet.memory import new
from uspnet.packets.answering import AnswerNet
from uspnet.packets.breaking import Wrong
from uspnet.packets.fields.field import Field, make_chain
from uspnet.packets.frames import FRAME_MIN, l1_bits
from uspnet.packets.shape import LINK_BPS
from uspnet.packets.spoiling import spoiled
from uspnet.port import Port
from uspnet.telemetry import drops_by_reason, reasons_text

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Field as CField
    from uspnet.fastpath._fastpath import Filter as CFilter
    from uspnet.fastpath._fastpath import MergeSide
    from uspnet.jobs.worker import Lane, Worker
    from uspnet.packets.filter import Filter
    from uspnet.ports.pcap.source import Source

FOREVER = (1 << 64) - 1
NS = 1_000_000_000


@dataclass
class Replay(Forward, name="replay"):
    """Sends the lanes' files one after another, `all` files in all; or with `sides`, one for each
    lane, merged by time, and `speed` times as fast as by that (0: by no time). `rate`: what may be
    spent a second, of which a packet costs `a_packet`, and each of its bytes, of `least` at least,
    `a_byte`; 0: no limit.
    """

    all: int = 1
    begun: int = 1
    rate: float = 0.0
    a_packet: int = 1
    a_byte: int = 0
    least: int = 0
    fields: CField = ffi.NULL
    breaks: CField = ffi.NULL
    only: CFilter = ffi.NULL
    first: CFilter = ffi.NULL
    sides: MergeSide = ffi.NULL

    def __post_init__(self) -> None:
        """Fill the struct."""
        super().__post_init__()
        self.speed = 0.0
        self.answers: list[Answers] = []  # which leave by its exits, too

    def receive(self, worker: Worker, receivers: Sequence[Measure], answers: list[Answers]) -> None:
        """Run these receivers, one for each exit, in its thread, which `worker` is; they answer."""
        before = self.worker
        for number, (each, answer) in enumerate(zip(receivers, answers, strict=True)):
            each.answer(answer, worker, number)
            self.c.receivers[number] = each.c
            before.also = each.worker
            before = each.worker
        self.answers, self.c.n_receivers = answers, len(receivers)

    def set_clock(self, hz: int) -> None:
        """Set how many ticks merged files wait for each ns."""
        self.c.clock.gap_max = FOREVER >> 1  # a later time still fits 64 bits
        self.c.clock.pace = hz / NS / self.speed if self.speed else 0.0

    def pass_over(self, ticks: int) -> None:
        """Have the pause be no gap between merged packets."""
        self.c.clock.last_due += ticks

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets offered: those that are skipped don't count."""
        return sum(int(lane.rx.counters.packets) for lane in lanes if lane.rx)

    def besides(self) -> int:
        """Return the answers that left, sent or dropped."""
        return sum(each.left() for each in self.answers)

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what was under way as lost. What became due while no loop ran is not made up for,
        which would be sent all at once.
        """
        c = self.c
        if c.rate and c.f.w.start:
            earned = int((lib.ticks_now() - c.f.w.start) * c.rate / c.f.w.ticks_hz)
            c.spent = max(c.spent, earned)
        for side in self.sides[0 : len(lanes)] if self.sides else ():
            setattr(side, "from", 0)
            side.held = 0
        return super().settle(lanes, excess)


def _first(chain: Sequence[c.Struct]) -> CField:
    """Return the first field to be applied of a chain; NULL if there is none."""
    return ffi.cast("struct field *", chain[-1]) if chain else ffi.NULL


@dataclass(frozen=True)
class Pace:
    """How fast packets are sent: by `rate` packets or bits a second, of frames without FCS (L2) or
    of what they take on the wire (L1); else by the files' own timing, `speed` times as fast; else,
    as both are None, as fast as the port takes them. `percent`: the rate is for a link of
    LINK_BPS, to be scaled to that of the port.
    """

    rate: float | None = None
    unit: str = "pps"  # or "bps", "l1"
    speed: float | None = None
    percent: bool = False

    def costs(self) -> tuple[int, int]:
        """Return what a packet costs of the rate, and each of its bytes."""
        if self.unit == "pps":
            return 1, 0
        return (int(l1_bits(1, 0)), 8) if self.unit == "l1" else (0, 8)


@dataclass(frozen=True)
class Replaying:
    """How files are replayed: their `passes`, None for any number, how fast, what is rewritten in
    their packets, in this order, and then broken, which packets alone are sent, and which by the
    first of two ports. `merge`: all files are one stream, by the times of their packets, not one
    after another.
    """

    passes: int | None = 1
    pace: Pace = field(default_factory=Pace)
    rewrite: Sequence[Field] = ()
    only: Filter | None = None
    split: Filter | None = None
    merge: bool = False
    wrong: Wrong = field(default_factory=Wrong)

    def __post_init__(self) -> None:
        """Raise Usage for a number that is out of range, and what can't be broken."""
        if self.passes is not None and not 0 < self.passes < 1 << 32:
            raise Usage(f"passes={self.passes}", "a number of times; None: without end")
        spoiled(self.wrong)


class ReplayJob(Job[ReplayResult]):
    """Sends the packets of `files` into `port`, file by file; and into `second` those that `split`
    does not accept. Their own timing is the option of their ports; that of merged files, of `how`.
    """

    waits_for_all = True

    def __init__(
        self,
        port: Port,
        limits: Limits,
        files: Sequence[Source],
        how: Replaying | None = None,
        second: Port | None = None,
    ) -> None:
        self.outs = [port, second] if second else [port]
        for each in self.outs:
            if not each.can_send:
                text, hint = f"{each.name}: nothing can be sent there", "give the port to send to"
                raise Usage(text, hint)
        if not files:
            raise Usage("nothing to replay", "give a capture file")
        self.how = how or Replaying()
        if bool(second) != bool(self.how.split):
            raise Usage("a second port and what it gets need each other", "give split and second")
        if self.how.merge and (timed := [each for each in files if each.options.timing]):
            raise Usage(f"{timed[0].name}: timing=on of one of several merged files", "drop it")
        if self.how.passes != 1:
            for each in files:
                each.pass_by_pass(forever=self.how.passes is None)
        super().__init__("pktgen", [*self.outs, *files], limits)
        self.port, self.files = port, files
        self.loop: Replay | None = None
        self.answers: list[Answers] = []
        self._receivers: list[Measure] = []
        self._fields: list[c.Struct] = []
        self._breaks: list[c.RewriteField] = []  # or none
        self._wrong = spoiled(self.how.wrong)

    def answer(self, nets: Sequence[AnswerNet], mac: bytes) -> None:
        """Answer who asks for addresses, on each port that packets are sent to; with `mac` where
        none is given. Call this before the start. Raise Usage.
        """
        self.answers = [Answers(nets, mac, each) for each in self.outs]

    def is_timed(self) -> bool:
        """Return whether packets have due times, but for --topspeed, or who asks is answered."""
        return bool(self.answers) or self.how.pace != Pace()

    def plans(self) -> list[Plan]:
        """Plan one worker, which keeps the packets in order, and receivers of what is answered."""
        passes, pace = self.how.passes, self.how.pace
        a_packet, a_byte = pace.costs()
        merge, self._fields = self.how.merge, make_chain(self.how.rewrite)
        self._breaks = [cast("c.RewriteField", self._wrong.make())] if self.how.wrong else []
        for kept in (self._fields, self._breaks):
            self.undo.callback(kept.clear)  # alive as long as the job
        self.loop = Replay(
            all=FOREVER if passes is None else passes * len(self.files),
            begun=len(self.files) if merge else 1,
            rate=pace.rate or 0.0,
            a_packet=a_packet,
            a_byte=a_byte,
            least=FRAME_MIN if pace.unit == "l1" and not self.how.wrong.has("runt") else 0,
            fields=_first(self._fields),
            breaks=_first(self._breaks),
            only=self.how.only.make() if self.how.only else ffi.NULL,
            first=self.how.split.make() if self.how.split else ffi.NULL,
            sides=new("struct merge_side[]", len(self.files)) if merge else ffi.NULL,
        )
        self.loop.speed = (merge and pace.speed) or 0.0
        routes: list[Route] = [((each, 0), [(out, 0) for out in self.outs]) for each in self.files]
        plans = [Plan(self.loop, routes, self.cores[0])]
        for each in self.answers:
            self._receivers.append(Measure.nothing())
            back: list[Route] = [((each.port, i), []) for i in range(each.port.queues)]
            plans.append(Plan(self._receivers[-1], back, self.cores[0], lib.BURST_MAX))
        return plans

    def set_up(self) -> None:
        """Have a file that is written get the time stamps of those that are read, which files are
        merged by, and filters the lengths on the wire. Receivers run in the sender's thread.
        """
        how, (sender, *self.receivers) = self.how, self.workers
        if how.only or how.split or how.merge or not all(out.can_receive for out in self.outs):
            sender.stamp(ahead=how.merge)
        self.inline = list(self.receivers)
        if self.loop and self.answers:
            self.loop.receive(sender, self._receivers, self.answers)

    def _end_receivers(self) -> None:
        super()._end_receivers()
        for worker in () if self.inline else self.receivers:
            worker.stop()  # it waits for nothing that was sent

    def linked(self) -> None:
        """Set the rate: one in percent is of the port's own link, if that is known."""
        pace, bps = self.how.pace, self.links[self.port]
        if self.loop and pace.percent and pace.rate and bps:
            pace = replace(pace, rate=pace.rate * bps / LINK_BPS)
            self.how, self.loop.c.rate = replace(self.how, pace=pace), pace.rate

    def check(self, result: ReplayResult) -> None:
        """Raise DeviceFault if a run that should have sent packets sent none."""
        if result.sent or result.before or self.stopped() or not result.offered:
            return
        text = f"{self.port.name}: nothing was sent (dropped: {reasons_text(result.drops)})"
        raise self.fail(DeviceFault(text, f"see: uspnet doctor {self.port.name}"), result)

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        pace = self.how.pace
        return replace(
            super().asked(),
            rate_pps=pace.rate if pace.unit == "pps" else None,
            rate_bps=pace.rate if pace.unit == "bps" else None,
            rate_l1_bps=pace.rate if pace.unit == "l1" else None,
            replay=tuple(each.label for each in self.files),
            speed=pace.speed,
            loop=self.how.passes or 0,
            merge=self.how.merge,
            split_by=self.how.split.text if self.how.split else None,
            filter=self.how.only.text if self.how.only else None,
            broken=tuple(map(str, self.how.wrong.breaks)),
            break_every=self.how.wrong.every if self.how.wrong else None,
        )

    def replayed(self) -> tuple[Replayed, ...]:
        """Return what was read of each file so far."""
        begun, found = int(self.loop.c.begun) if self.loop else 0, []
        for number, each in enumerate(self.files):
            counters = [queue.counters for queue in each.made]
            passes = max(begun - number + len(self.files) - 1, 0) // len(self.files)
            row = Replayed(
                file=each.label,
                passes=passes,
                packets=sum(int(c.packets) for c in counters),
                bytes=sum(int(c.bytes) for c in counters),
                skipped=drops_by_reason(counters),
                truncated=int(each.c.truncated),
                when_truncated=each.options.truncated,
                share=each.progress() if passes else 0.0,
            )
            found.append(row)
        return tuple(found)

    def _broken(self) -> dict[str, int]:
        found = dict[str, int]()
        for made in self._breaks:
            wrongs = enumerate(self._wrong.wrongs)
            found |= {each.text: int(made.wrongs[i].packets) for i, each in wrongs}
            found |= {"runt": int(made.runts)} if self._wrong.runt else {}
        return found

    def count(self) -> ReplayResult:
        """Return what was sent so far."""
        besides = [each.sent() for each in self.answers]
        sent = max(self.total("tx", "packets") - sum(n for n, _ in besides), 0)
        octets = max(self.total("tx", "bytes") - sum(n for _, n in besides), 0)
        read = [queue.counters for each in self.files for queue in each.made]
        offered = max(sum(int(each.packets) for each in read), sent)
        drops, elapsed = without_answers(self.drops("tx"), self.answers), self.elapsed()
        return ReplayResult(
            **self.common(),
            offered=offered,
            sent=sent,
            unsent=offered - sent,
            dropped=sum(drops.values()),
            drops=drops,
            found_ring_full=self.total("tx", "stalled"),
            **self.rates(sent, octets),
            l1_bps=l1_bits(sent, octets) / elapsed if elapsed else 0.0,
            answered=answered(self.answers),
            skipped=drops_by_reason(read),
            broken=self._broken(),
            replayed=self.replayed(),
        )
