# SPDX-License-Identifier: Apache-2.0
"""pktgen: sends one frame again and again, or several in turn, at a rate or as fast as the port
takes them; with a receive port, says what became of them on the way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from uspnet.errors import DeviceFault, Usage
from uspnet.fastpath import ffi
from uspnet.jobs.job import Job, Limits, Plan
from uspnet.jobs.loops import Loop
from uspnet.jobs.measure import Measure, make_streams
from uspnet.jobs.route import Route
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.packets.frames import l1_bits, vlan_tags
from uspnet.port import Port
from uspnet.telemetry import reasons_text

COUNT_MAX = 2**63 - 1  # packets; no run ever gets there


@dataclass
class Generate(Loop, name="generate"):
    """Sends templates in turn, at `rate` packets a second for `seconds` (0: no limit)."""

    templates: Any
    n_templates: int
    turn: Any
    stamp_at: int
    secret: int
    rate: float
    seconds: float
    total: int  # packets due in that time
    streams: Any  # a lane each
    first_stream: int
    fields: Any = ffi.NULL  # what differs from packet to packet: struct field *


class GenerateJob(Job):
    """Sends `traffic` into `port`; counts what comes back on `rx_port`, which may be the same."""

    def __init__(
        self, port: Port, limits: Limits, traffic: Traffic, rx_port: Port | None = None
    ) -> None:
        if not port.can_send:
            hint = f"give the port to send to; a file is replayed by: uspnet fwd {port.name} PORT"
            raise Usage(f"{port.name}: nothing can be sent there", hint)
        if rx_port and not rx_port.can_receive:
            raise Usage(f"{rx_port.name} can't receive", "give a port that packets come out of")
        ports = [port] if rx_port in (None, port) else [port, rx_port]
        self.templates = CTemplates(traffic)
        super().__init__("pktgen", ports, limits)
        self.port, self.rx_port, self.traffic = port, rx_port, traffic
        self.senders: list[Any] = []
        self.receivers: list[Any] = []

    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints. Raises DeviceFault when nothing at all
        could be sent.
        """
        for template in self.traffic.templates:
            self._check_length(template.frame)
        senders, receivers = self._plans()
        self.plan(senders + receivers, self.traffic.longest())
        self.senders = [plan.worker for plan in senders]
        self.receivers = [plan.worker for plan in receivers]
        self.followers = self.receivers
        self._share_core()
        self.start()
        self.wait_until_up(self.ports)
        self.run()
        return self._checked(self.result())

    def _check_length(self, frame: bytes) -> None:
        """Refuses what the port can't send before anything is sent."""
        most, remedy = self.port.send_limit(vlan_tags(frame))
        if len(frame) > most:
            raise Usage(
                f"{self.port.name} takes frames of at most {most:,} bytes, and this one has "
                f"{len(frame):,}; neither counts the 4 bytes of FCS",
                f"lower --size, or raise the limit: {remedy}",
            )

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        """A run that sent nothing of what it should has failed."""
        asked = result["offered"] or not self.traffic.rate
        if result["sent"] or self.stopped_by or not asked:
            return result
        reasons = f" (dropped: {reasons_text(result['drops'])})" if result["drops"] else ""
        error = DeviceFault(
            f"{self.port.name}: nothing was sent{reasons}",
            f"see: uspnet doctor {self.port.name}",
        )
        error.partial = result
        raise error

    def _plans(self) -> tuple[list[Plan], list[Plan]]:
        used = self.cores[: self.port.queues]
        lanes: list[Route] = [(None, [(self.port, index)]) for index in range(self.port.queues)]
        shares = [lanes[i :: len(used)] for i in range(len(used))]
        senders, first = [], 0
        for number, (share, core) in enumerate(zip(shares, used, strict=True)):
            senders.append(Plan(self._sender(number, len(used), first, len(share)), share, core))
            first += len(share)
        if not self.rx_port:
            return senders, []
        core = self.cores[len(used) % len(self.cores)]
        back: list[Route] = [((self.rx_port, index), []) for index in range(self.rx_port.queues)]
        return senders, [Plan(self._receiver(), back, core)]

    def _sender(self, number: int, senders: int, first_stream: int, lanes: int) -> Generate:
        """The loop of one sender among several, with its share of the rate."""
        templates, seconds = self.templates, self.limits.duration or 0.0
        in_all = min(round(self.traffic.rate * seconds), COUNT_MAX)
        fields = self.traffic.make_fields()
        self.undo.callback(fields.clear)  # alive as long as the job
        return Generate(
            templates=templates.c,
            n_templates=templates.count,
            turn=templates.turn,
            stamp_at=templates.stamp_at,
            secret=templates.secret,
            rate=self.traffic.rate / senders,
            seconds=seconds,
            total=in_all // senders + (number < in_all % senders),
            streams=make_streams(lanes),
            first_stream=first_stream,
            fields=ffi.cast("struct field *", fields[-1]) if fields else ffi.NULL,
        )

    def _receiver(self) -> Measure:
        templates, numbered = self.templates, self.traffic.sequence
        return Measure(
            stamp_at=templates.stamp_at,
            secret=templates.secret,
            began=time.monotonic_ns(),
            n_streams=self.port.queues,
            streams=make_streams(self.port.queues),
            lookup=ffi.NULL if numbered else templates.lookup(self.traffic),
        )

    def _share_core(self) -> None:
        """Without a core for it, the receiver runs in the first sender's thread: two threads that
        spin on one core would take turns of milliseconds.
        """
        if self.receivers and len(self.cores) <= len(self.senders):
            self.guests = list(self.receivers)
            self.senders[0].loop.c.inline_receiver = self.receivers[0].loop.c

    def result(self) -> dict[str, Any]:
        """What was sent so far. offered = sent + unsent, in which is what was dropped; sent =
        received + lost.
        """
        sent, octets = self.total("tx", "packets"), self.total("tx", "bytes")
        offered = sum(int(worker.loop.c.offered) for worker in self.senders)
        drops, elapsed = self.drops("tx"), self.elapsed()
        return {
            **self.common(),
            "offered": max(offered, sent),
            "sent": sent,
            "unsent": max(offered - sent, 0),
            "dropped": sum(drops.values()),
            "drops": drops,
            "found_ring_full": self.total("tx", "stalled"),
            **self.rates(sent, octets),
            "l1_bps": l1_bits(sent, octets) / elapsed if elapsed else 0.0,
            **(self._returned(sent) if self.rx_port else {}),
        }

    def _returned(self, sent: int) -> dict[str, Any]:
        """What came back."""
        measured = self.receivers[0].loop
        received, counts = measured.counts()
        return {
            "received": received,
            "lost": max(sent - received, 0),
            **counts,
            "foreign": measured.foreign,
            "latency_ns": measured.latency_ns(),
        }
