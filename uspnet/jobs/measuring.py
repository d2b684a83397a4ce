# SPDX-License-Identifier: Apache-2.0
"""What jobs share that send packets, and measure what comes back of them where they are asked to:
the receiver, what is saved in each second, and the result.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, TypeVar

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.histogram import bins
from uspnet.jobs.job import Job
from uspnet.jobs.losses import Losses
from uspnet.jobs.measure import Measure
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import GenerateResult
from uspnet.jobs.saving import Files
from uspnet.jobs.seconds import Seconds, Totals
from uspnet.port import Direction, Port, Queue

if TYPE_CHECKING:
    from uspnet.jobs.route import Route

NO_FILES = Files()
R = TypeVar("R", bound=GenerateResult)


class Measuring(Job[R]):
    """Sends into `ports`, and measures what comes back on `rx_port`, which may be one of them; None
    to measure nothing. `numbered`: packets have sequence numbers.
    """

    waits_for_all = True

    def __init__(
        self,
        ports: Sequence[Port],
        limits: Limits,
        rx_port: Port | None,
        files: Files,
        *,
        numbered: bool,
    ) -> None:
        save, lost = files.latencies, files.lost
        if rx_port and not rx_port.can_receive:
            raise Usage(f"{rx_port.name} can't receive", "give a port that packets come out of")
        if (save or lost) and not (rx_port and numbered):
            what = "latencies are measured" if save else "lost packets are known"
            text = f"{what} where packets with sequence numbers return"
            raise Usage(text, "drop --no-sequence" if rx_port else "add --rx-port PORT")
        every = [*([lost] if lost else []), *ports, *([rx_port] if rx_port else [])]
        super().__init__("pktgen", list(dict.fromkeys(every)), limits)
        self.rx_port, self.lost, self.numbered = rx_port, lost, numbered
        self.losses: Losses | None = None
        self.seconds = Seconds()
        self._save, self._per_flow = save, False
        self._measures: list[Measure] = []

    def order_flows(self) -> None:
        """Measure the order within each flow, too. Call this before the start. Raise Usage."""
        if not self.rx_port:
            text = "--per-flow needs --rx-port: what comes back there has an order"
            raise Usage(text, "add --rx-port PORT")
        if not self.numbered:
            text = "--per-flow: order is known where packets have sequence numbers"
            raise Usage(text, "drop --no-sequence")
        self._per_flow = True

    @abstractmethod
    def _sent(self) -> tuple[int, int]:
        """Return the packets sent that may come back, and their bytes."""

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for file in self._save:  # before the ports, which may take devices from the kernel
                undo.callback(file.close)
                file.open()
            super().__enter__()
            self.undo.push(undo.pop_all())
        return self

    def _receive(self, measure: Measure, source: Port, senders: int, *, answers: bool) -> Plan:
        """Plan the receiver of a port, on the core after those of so many senders. `answers`: it
        sends some there, by queue 0.
        """
        self._measures.append(measure)
        if self._per_flow:
            measure.order_flows()
        core = self.cores[senders % len(self.cores)]
        back: list[Route] = [((source, i), []) for i in range(source.queues)]
        exits = [(source, 0)] if answers else []
        if self.lost:  # the last exit of the first lane
            exits.append((self.lost, 0))
        back[0] = ((source, 0), exits)
        return Plan(measure, back, core, lib.BURST_MAX)

    def linked(self) -> None:
        """Begin the files."""
        for file in self._save:
            file.begin()
        if self.losses:
            self.losses.begin()

    def _end_receivers(self) -> None:
        """Have what is still missing be lost until now, not until receivers have waited for it."""
        super()._end_receivers()
        if self.losses and self._grace.looked:
            self.losses.end()

    def tick(self) -> None:
        """Add up each second."""
        if self.rx_port and self.seconds.due(self.elapsed()):
            self._add_second(self._totals())
        super().tick()

    def _add_second(self, totals: Totals) -> None:
        interval = self.seconds.add(totals)
        for file in self._save:
            file.add(interval)

    def _totals(self, *, final: bool = False) -> Totals:
        measured, (sent, _) = self._measures[0], self._sent()
        received, _ = measured.counts()
        numbered = self.numbered and not final
        lost = measured.missing() if numbered else max(sent - received, 0)
        counts = (sent, received, lost, measured.latencies(), measured.jitter())
        return Totals(self.elapsed(), *counts)

    def _finish(self) -> None:
        super()._finish()
        if self.rx_port:
            self._add_second(self._totals(final=True))
        for file in self._save:
            file.end(self._measures[0].latencies(), self.elapsed())

    def _queues(self, direction: Direction | None = None) -> Iterator[Queue]:
        """Leave out what is written to the file of lost packets."""
        return (queue for queue in super()._queues(direction) if queue.port != self.lost)

    def common(self) -> Json:
        """Leave out the same of the ports."""
        fields = super().common()
        return {**fields, "ports": fields["ports"][1:]} if self.lost else fields

    def returned(self) -> Json:
        """Return the fields of a result that say what came back."""
        measured, (sent, _) = self._measures[0], self._sent()
        received, others = measured.counts()
        return {
            "received": received,
            "lost": max(sent - received, 0),
            **others,
            "in_flows": measured.flow_order.result() if measured.flow_order else None,
            "foreign": measured.foreign,
            "latency_ns": measured.latency_ns(),
            "jitter_ns": measured.jitter().as_json(),
            "latency_histogram": bins(measured.latencies()),
            "seconds": tuple(self.seconds.rows if self.finished else list(self.seconds.rows)[-1:]),
            **(self.losses.as_json(final=self.finished) if self.losses else {}),
        }
