# SPDX-License-Identifier: Apache-2.0
"""pktgen: sends one frame again and again, or several in turn, at a rate or as fast as the port
takes them; with a receive port, says what became of them on the way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.answers import Answers, without_answers
from uspnet.jobs.losses import Losses
from uspnet.jobs.measure import STREAMS_MAX, Measure, make_streams
from uspnet.jobs.measuring import NO_FILES, Measuring
from uspnet.jobs.pace import Pace, pacing
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import Asked, GenerateResult
from uspnet.jobs.returned import MeasureResult
from uspnet.jobs.route import Route
from uspnet.jobs.saving import Files
from uspnet.jobs.sender import Generate, check_length, nothing_sent
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.packets.answering import AnswerNet
from uspnet.packets.shape import LINK_BPS
from uspnet.port import Port
from uspnet.system import kept
from uspnet.telemetry import drops_by_reason


class GenerateJob(Measuring[GenerateResult]):
    """Sends `traffic` into `port`; counts what comes back on `rx_port`, which may be the same. With
    `traffic.dry`, `port` is a file, to which packets are written at once, stamped with the time at
    which each would be due, from 0 on.
    """

    def __init__(
        self,
        port: Port,
        limits: Limits,
        traffic: Traffic,
        rx_port: Port | None = None,
        files: Files = NO_FILES,
    ) -> None:
        if not port.can_send:
            hint = "give the port to send to; a file is replayed by: uspnet pktgen PORT --replay "
            hint += port.spec.target or "FILE"
            raise Usage(f"{port.name}: nothing can be sent there", hint)
        if rx_port and traffic.fields and not traffic.sequence:
            text = "packets that vary can't be told from others without their sequence numbers"
            raise Usage(text, "drop --no-sequence")
        self.templates = CTemplates(traffic)
        super().__init__([port], limits, rx_port, files, numbered=traffic.sequence)
        self.port, self.traffic = port, traffic
        self.shape = traffic.rates()
        self._check_end()
        self._check_bursts()
        self._sends: list[Generate] = []
        self.answers: Answers | None = None

    def answer(self, nets: Sequence[AnswerNet]) -> None:
        """Answer who asks for addresses on `rx_port`, or without one on `port`; with the MAC
        address that the first packet is from, where no other is given. Call this before the start.
        Raise Usage.
        """
        self.answers = Answers(
            nets, self.traffic.templates[0].frame[6:12], self.rx_port or self.port
        )

    def is_timed(self) -> bool:
        """Return whether packets have due times, or their latency is measured."""
        return bool(self.shape or self.rx_port or self.answers) and not self.traffic.dry

    def longest(self) -> int:
        """Return the length of the longest frame in bytes."""
        return self.traffic.longest()

    def _check_end(self) -> None:
        """Raise Usage for a dry run that would never end."""
        ends = self.limits.count or (self.shape and self.limits.duration)
        if self.traffic.dry and not ends:
            text = "--dry-run: without a rate, no number of packets follows from --duration"
            if not self.limits.duration:
                text = "--dry-run: neither --count nor --duration ends it"
            raise Usage(text, "add --count 1000")

    def _check_bursts(self) -> None:
        """Raise Usage for bursts of which not even the first is due within the run, if the rate is
        known already. What the version before has left of a run may be too short for one.
        """
        shape, seconds = self.shape, None if kept.former() else self.limits.duration
        if not shape or shape.percent or shape.poisson or shape.burst == 1 or not seconds:
            return
        if not shape.whole(seconds):
            raise Usage(
                f"no burst of {shape.burst:,} packets is due within {seconds:g} s at this rate",
                "make --burst-size smaller, or --rate or --duration larger",
            )

    def check(self, result: GenerateResult) -> None:
        """Raise DeviceFault if a run that should have sent packets sent none."""
        asked = result.offered or not self.shape
        if result.sent or result.before or self.stopped() or not asked:
            return
        raise self.fail(nothing_sent([self.port], result.drops), result)

    def plans(self) -> list[Plan]:
        """Plan the senders, one per core, and one receiver of everything that comes back."""
        for template in self.traffic.templates:
            check_length(self.port, template.frame)
        queues = self._queues_used()
        used = self.cores[:queues]
        lanes: list[Route] = [(None, [(self.port, index)]) for index in range(queues)]
        shares = [
            lanes[queues * i // len(used) : queues * (i + 1) // len(used)] for i in range(len(used))
        ]
        if self.rx_port and self.traffic.sequence:
            self.losses = Losses(queues, self.lost, self.templates.secret)
            self._lost_traffic = self.losses.take(self.templates, self.traffic)
        first = 0
        for number, share in enumerate(shares):
            self._sends.append(self._sender(number, len(used), first, len(share)))
            first += len(share)
        loops = zip(self._sends, shares, used, strict=True)
        plans = [Plan(loop, share, core, lib.BURST_MAX) for loop, share, core in loops]
        if source := self.rx_port or (self.answers and self.port):
            answers = self.answers is not None and source is not self.port
            plans.append(self._receive(self._receiver(), source, len(used), answers=answers))
        return plans

    def set_up(self) -> None:
        """Run the receiver in the first sender's thread if it has no core of its own: two threads
        that poll on one core would alternate in slices of milliseconds; or if it answers by a
        transmit queue that the sender owns.
        """
        self.receivers = self.workers[len(self._sends) :]
        for each in self._sends:
            each.reuse(self.pool.count)
        if self.answers:
            sender = self.workers[0] if self._shares() else self.receivers[0]
            self._measures[0].answer(self.answers, sender)
            self._sends[0].answers = self.answers if self._shares() else None
        if self.receivers and (self._shares() or len(self.cores) <= len(self._sends)):
            self.inline = list(self.receivers)
            self._sends[0].c.inline_receiver = self._measures[0].c

    def linked(self) -> None:
        """Set the rates: those in percent are of the port's own link, if it is known."""
        if self.shape and self.shape.percent:
            self.shape = self.shape.scaled((self.links[self.port] or LINK_BPS) / LINK_BPS)
            self._check_bursts()
        for pace in self._paces():
            pace.play(self.shape or pace.shape, self.limits.duration or 0.0)
        super().linked()
        for note in self.traffic.notes:
            self.on_notice(note)

    def _queues_used(self) -> int:
        """Return how many of the port's queues send: each is a stream of its own."""
        queues = self.port.tx_queues
        return min(queues, STREAMS_MAX) if self.traffic.sequence else queues

    def _shares(self) -> bool:
        """Return whether answers leave by a queue of the first sender's."""
        return self.answers is not None and self.answers.port is self.port

    def _end_receivers(self) -> None:
        super()._end_receivers()
        for worker in () if self.rx_port or self.inline else self.receivers:
            worker.stop()  # it waits for nothing that was sent

    def _sinks(self) -> list[c.Counters]:
        """Return the counters of the queues that packets are sent by."""
        return [queue.counters for queue in self._queues("tx") if queue.port is self.port]

    def _sent(self) -> tuple[int, int]:
        """Return the packets sent and their bytes, without answers."""
        packets, octets = self.answers.sent() if self.answers and self._shares() else (0, 0)
        sinks = self._sinks()
        packets = sum(int(each.packets) for each in sinks) - packets
        octets = sum(int(each.bytes) for each in sinks) - octets
        return max(packets, 0), max(octets, 0)

    def _paces(self) -> list[Pace]:
        return [each.paced for each in self._sends if each.paced]

    def _sender(self, number: int, senders: int, first_stream: int, lanes: int) -> Generate:
        """Return one sender's loop, with its part of what is to be sent."""
        pace = Pace(self.shape, number, senders) if self.shape else None
        fields, again = (self.traffic.make_fields(number, senders) for _ in range(2))
        self.undo.callback(fields.clear)  # alive as long as the job
        self.undo.callback(again.clear)
        streams, logs = make_streams(lanes), ffi.NULL
        if self.losses:
            sent = self._lost_traffic
            logs = self.losses.follow(first_stream, streams, sent, fields, again)
        return Generate.of(
            self.templates,
            fields,
            pace,
            streams=streams,
            first_stream=first_stream,
            seconds=self.limits.duration or 0.0,
            logs=logs,
            dry=self.traffic.dry,
            copies=self._shares(),
        )

    def _receiver(self) -> Measure:
        templates, numbered = self.templates, self.traffic.sequence or not self.rx_port
        return Measure(
            stamp_at=templates.stamp_at,
            secret=templates.secret,
            began=time.monotonic_ns(),
            n_streams=self._queues_used() if self.rx_port else 0,
            streams=make_streams(self._queues_used()),
            lookup=ffi.NULL if numbered else templates.lookup(self.traffic),
            losses=self.losses.c if self.losses else ffi.NULL,
            writes=bool(self.lost),
        )

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        return replace(super().asked(), **self.traffic.asked(self.shape))

    def count(self) -> GenerateResult:
        """Return what was sent so far, and received where there is a receive port."""
        sent, octets = self._sent()
        octets -= sent * self.traffic.fcs()
        offered = sum(int(loop.c.offered) for loop in self._sends)
        besides = [self.answers] if self.answers and self._shares() else []
        drops = without_answers(drops_by_reason(self._sinks()), besides)
        elapsed = self.elapsed()
        # A dry run is never late; nor is one that ended before it had workers.
        paces = self._paces() if self.workers and not self.traffic.dry else []
        counts = {
            **self.common(),
            **self.sending(offered, sent, octets, drops),
            "pacing": pacing(paces, self.workers[0].hz, sent, elapsed) if paces else None,
            "answered": self.answers.result() if self.answers else None,
        }
        if not (self.rx_port and self._measures):
            return GenerateResult(**counts)
        return MeasureResult(**counts, **self.returned())
