# SPDX-License-Identifier: Apache-2.0
"""What a job is to do, and the packet memory, queues and workers that this takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from uspnet.errors import Usage
from uspnet.fastpath import c, lib
from uspnet.jobs.choices import COUNT_MAX, DURATION_MAX, Poll, Sandbox
from uspnet.jobs.loops import Loop
from uspnet.jobs.route import End, Route
from uspnet.jobs.worker import Lane, Worker
from uspnet.pool import LONGEST, Pool
from uspnet.port import Direction, Port, Queue
from uspnet.telemetry import Board


@dataclass
class Limits:
    """When a run ends, and how its workers behave. The options that all commands share."""

    duration: float | None = None  # seconds
    count: int | None = None  # packets
    cores: list[int] | None = None
    burst: int = 32
    poll: str = "adaptive"
    linger: float = 0.0  # seconds to stay connected after the last packet
    reconnect: bool = True  # wait for peers that left to come back
    confine: bool = False  # give up what the process may do and the ports no longer need
    process: bool = False  # run the loops in a process of their own
    control: bool = False  # take orders from other processes, such as `uspnet upgrade`
    control_path: str | None = None  # at this path, too
    words: list[str] | None = None  # the command line, with which another version can go on
    restart: int = 10  # times that such a process is replaced when it ends too early
    sandbox: str = "off"  # for that process

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range."""
        if self.duration is not None and not 0 < self.duration <= DURATION_MAX:
            hint = f"seconds, above 0, up to {DURATION_MAX:.0f}; None: without end"
            raise Usage(f"duration={self.duration}", hint)
        if self.count is not None and not 0 < self.count <= COUNT_MAX:
            raise Usage(f"count={self.count}", f"packets, 1 to {COUNT_MAX}; None: without end")
        if not 1 <= self.burst <= lib.BURST_MAX:
            raise Usage(f"burst={self.burst}", f"packets, 1 to {lib.BURST_MAX}")
        if self.sandbox not in set(Sandbox):
            raise Usage(f"sandbox={self.sandbox!r}", f"one of: {', '.join(Sandbox)}")
        if self.poll not in set(Poll):
            raise Usage(f"poll={self.poll!r}", f"one of: {', '.join(Poll)}")
        if not 0 <= self.restart <= COUNT_MAX:
            raise Usage(f"restart={self.restart}", "0: never, or a number of times")
        if not 0 <= self.linger < float("inf"):
            raise Usage(f"linger={self.linger}", "seconds, 0 or more")


@dataclass
class Plan:
    """What one worker will do: its loop, and the queues that it receives from and sends by."""

    loop: Loop
    lanes: Sequence[Route]
    core: int | None = None
    extra_buffers: int = 0
    worker: Worker = field(init=False)

    def buffers(self) -> int:
        """Return the most pool buffers that this worker and its rings hold at once."""
        sources = {rx for rx, _ in self.lanes if rx}
        sinks = {tx for _, exits in self.lanes for tx in exits}
        rings = sum(port.holds("rx") for port, _ in sources)
        rings += sum(port.holds("tx") for port, _ in sinks)
        held = sum(1 + max(1, len(exits)) for _, exits in self.lanes)
        bursts: int = (held + 2) * lib.BURST_MAX
        return rings + bursts + self.extra_buffers

    def ends(self) -> int:
        """Return the number of queues that it takes, at most."""
        return sum(1 + len(exits) for _, exits in self.lanes)


def make_pool(plans: Sequence[Plan], ports: Sequence[Port], frame: int) -> Pool:
    """Make the pool for the buffers of all workers and the ports' rings. `frame`: length in bytes
    of the longest frame that the job makes itself.
    """
    rings = sum(port.dma_bytes() for port in ports)
    takes = min((port.takes for port in ports if port.can_send), default=LONGEST)
    frames = [port.longest_frame(takes) for port in ports]
    step = max(port.buffer_step for port in ports)
    return Pool(sum(plan.buffers() for plan in plans), max([frame, *frames]), rings, step)


@dataclass
class Wiring:
    """Makes workers with their queues; each queue's counters stand on the board."""

    ports: Sequence[Port]
    pool: Pool
    board: Board

    def worker(self, plan: Plan) -> Worker:
        """Make a plan's worker, and store it in the plan."""
        stack = self.pool.stack(plan.buffers())
        lanes = [
            Lane(
                self._queue("rx", rx, stack) if rx else None,
                [self._queue("tx", tx, stack) for tx in exits],
            )
            for rx, exits in plan.lanes
        ]
        plan.worker = Worker(plan.loop, lanes, stack, plan.core)
        return plan.worker

    def _queue(self, direction: Direction, end: End, stack: c.Stack) -> Queue:
        port, index = end
        for queue in port.made:  # several lanes may leave by one
            if (queue.direction, queue.index) == (direction, index):
                return queue
        counters = self.board.counters(
            number=self.ports.index(port),
            port=port.name,
            driver=port.kind,
            direction=direction,
            queue=index,
            unknown=sorted(port.unknown),
        )
        return port.queue(direction, index, stack, counters)
