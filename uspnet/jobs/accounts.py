# SPDX-License-Identifier: Apache-2.0
"""What a job counted: times, rates, and where every packet went."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from uspnet.answer import Json
from uspnet.jobs.checks import check_counters
from uspnet.jobs.crew import Crew
from uspnet.jobs.ending import Grace
from uspnet.jobs.filtering import filter_code
from uspnet.jobs.plan import Limits
from uspnet.jobs.result import Asked, Ended, PortResult
from uspnet.jobs.worker import Worker
from uspnet.packets.frames import l1_bits
from uspnet.port import Direction, Port, Queue
from uspnet.telemetry import drops_by_reason, port_counters, statistics_of


class Accounts(ABC):
    """The counting side of a job: sums over the counters of its ports' queues."""

    command: str
    ports: list[Port]
    workers: list[Worker]
    receivers: list[Worker]
    limits: Limits
    started: float
    crew: Crew
    stop_reason: Ended | None
    _grace: Grace  # of receivers
    links: dict[Port, int | None]  # bits a second, as they were at the start
    on_tick: Callable[[], None]

    @abstractmethod
    def is_open(self) -> bool:
        """Return whether the counters may be read."""

    def common(self) -> Json:
        """Return the fields that every command's result has. `missed`: packets lost before they
        reached us, summed over the receiving ports that know; None if none knows.
        """
        rows = self.port_rows()
        receiving = [
            row.rx_missed_errors
            for row, port in zip(rows, self.ports, strict=True)
            if any(queue.direction == "rx" for queue in port.made)
        ]
        known = [missed for missed in receiving if missed is not None]
        return {
            "command": self.command,
            "elapsed_s": self.elapsed(),
            "active_s": self.active(),
            "ended": self.ended(),
            "asked": self.asked(),
            "ports": rows,
            "missed": sum(known) if known else None,
            "restarts": self.crew.restarts,
            "sandbox": self.crew.enforced,
            "filter_code": filter_code(worker.loop for worker in self.workers),
            "upgrades": self.crew.upgrades.count,
            "before": list(self.crew.former.before) if self.crew.former else [],
        }

    def tick(self) -> None:
        """Look at a run that goes on; called about 20 times a second by the thread that waits."""
        self.on_tick()

    @abstractmethod
    def ended(self) -> Ended | None:
        """Return why the run is over; None while it goes on."""

    def runs_out(self) -> bool:
        """Return whether the run ends by itself, without a limit."""
        return any(port.runs_out for port in self.ports)

    def stopped(self) -> bool:
        """Return whether the run was ended by a signal, by `stop` or for an upgrade."""
        return self.stop_reason in {"signal", "stopped", "upgrade"}

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        return Asked(count=self.limits.count, duration_s=self.limits.duration)

    def rates(self, packets: int, octets: int) -> Json:
        """Return packets and bits per second over the whole run."""
        elapsed = self.elapsed()
        per_s = 1 / elapsed if elapsed else 0.0
        return {"pps": packets * per_s, "bps": octets * 8 * per_s}

    def sending(self, offered: int, sent: int, octets: int, drops: dict[str, int]) -> Json:
        """Return the fields of a result that say what was sent of what was offered."""
        elapsed = self.elapsed()
        return {
            "offered": max(offered, sent),
            "sent": sent,
            "unsent": max(offered - sent, 0),
            "dropped": sum(drops.values()),
            "drops": drops,
            "found_ring_full": self.total("tx", "stalled"),
            **self.rates(sent, octets),
            "l1_bps": l1_bits(sent, octets) / elapsed if elapsed else 0.0,
        }

    def elapsed(self) -> float:
        """Return the seconds that the workers ran, by their own clocks; while they run, the seconds
        since the start.
        """
        if not self.started:
            return 0.0
        leaders = [worker for worker in self.workers if worker not in self.receivers]
        ends = [(w.c.end - w.c.start) / w.hz for w in leaders if w.c.end]
        if len(ends) == len(leaders) and ends:
            return float(max(ends))
        return time.monotonic() - self.started

    def pass_over(self, seconds: float) -> None:
        """Have a time not count in which all workers paused, to its end, which is now."""
        self.started += seconds
        self._grace = Grace()
        for worker in self.workers:
            worker.pass_over(seconds)

    def active(self) -> float:
        """Return the seconds from the first packet to the last, by the workers' clocks; 0 while
        they run.
        """
        moved = [w for w in self.workers if w.c.first and w.c.end]
        if not moved:
            return 0.0
        last = max(w.c.idle_since or w.c.end for w in moved)
        return max(float((last - min(w.c.first for w in moved)) / moved[0].hz), 0.0)

    def port_rows(self) -> tuple[PortResult, ...]:
        """Return each port's counters, including those that only its device or the kernel keeps."""
        rows = []
        for port in self.ports:
            queues = [(queue.direction, queue.counters) for queue in port.made]
            extra = port.extra_counters()  # first: it may bring the queues' own up to date
            row = port_counters(queues, port.unknown)
            for name, value in extra.items():
                ours = 0 if name == "rx_missed_errors" else row.get(name) or 0
                row[name] = value if value is None else value + ours
            drops = drops_by_reason(counters for _, counters in queues)
            row["statistics"] = statistics_of(port.kind, (counters for _, counters in queues))
            row["link_bps"], row["how"] = self.links.get(port), port.how or None
            rows.append(PortResult(port=port.name, driver=port.kind, drops=drops, **row))
        return tuple(rows)

    def _queues(self, direction: Direction | None = None) -> Iterator[Queue]:
        check_counters(self.workers, is_open=self.is_open())
        for port in self.ports:
            for queue in port.made:
                if direction in (None, queue.direction):
                    yield queue

    def total(self, direction: Direction, name: str) -> int:
        """Sum one counter over the queues of one direction."""
        return sum(int(getattr(queue.counters, name)) for queue in self._queues(direction))

    def drops(self, direction: Direction | None = None) -> dict[str, int]:
        """Return the packets dropped by reason, in one direction or in both."""
        return drops_by_reason(queue.counters for queue in self._queues(direction))

    def in_transit(self) -> bool:
        """Return whether a port knows of sent packets that are still on their way."""
        return any(port.in_transit() for port in self.ports)

    def received(self) -> int:
        """Return the packets that entered the job: those received, and those dropped on receive."""
        return self.total("rx", "packets") + sum(self.drops("rx").values())
