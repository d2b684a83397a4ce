# SPDX-License-Identifier: Apache-2.0
"""A job: ports, their packet memory and the workers on them, from open to close.

open → attach → plan → start → run → drain → stop → close; whatever was done is undone in reverse
on every exit, by one ExitStack.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

from uspnet.errors import UspnetError
from uspnet.fastpath import ffi, lib
from uspnet.jobs.loops import Loop
from uspnet.jobs.result import Accounts
from uspnet.jobs.route import End, Route
from uspnet.jobs.worker import KICK, POLL_MODES, SPIN_S, Clock, Lane, Worker, usable_cores
from uspnet.pool import LONGEST, Pool
from uspnet.port import Direction, Port, Queue
from uspnet.system import privileges
from uspnet.system.signals import end_signals
from uspnet.telemetry import Board

NOTICE_S = 0.3  # a peer that takes longer to come is worth a line
TICK_S = 0.05  # how often the main thread looks at ports and faults
SETTLE_MAX_S = 2.0  # a port that others send to as well never falls silent
SETTLE_S = 0.2  # nothing more for so long, and all that was sent came back: the end
STRAGGLE_S = 1.0  # … and some are missing still: a busy machine's device may take its time
DRAIN_S = 2.0  # how long packets may wait in a ring for the other side, after the end
DRAIN_MAX_S = 10.0  # however slowly it takes them
CLOCK = Clock()


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


@dataclass
class Plan:
    """What one worker will do: its loop, and the queues that it receives from and sends by."""

    loop: Loop
    lanes: Sequence[Route]
    core: int | None = None
    extra_buffers: int = 0
    worker: Worker = field(init=False)


class Job(Accounts, ABC):
    """Runs plans over ports. Use as a context manager; `run` does the work.

    `on_tick` is called about 20 times a second while it runs, `on_notice` with news for people,
    `on_detail` with how the run is set up.
    """

    def __init__(self, command: str, ports: list[Port], limits: Limits) -> None:
        self.command, self.ports, self.limits = command, ports, limits
        self.cores = usable_cores(limits.cores)
        self.undo = contextlib.ExitStack()
        self._stop_ports = contextlib.ExitStack()
        self.workers: list[Worker] = []
        self.followers: list[Worker] = []
        self.guests: list[Worker] = []  # followers that run in a leader's thread until it ends
        self._settled = (-1, 0.0)
        self._settle_end = 0.0
        self.stdout_taken = any(port.takes_stdout for port in ports)
        self.stopped_by = 0  # a signal's number
        self.started = self.ended = 0.0
        self.on_tick: Callable[[], None] = lambda: None
        self.on_notice: Callable[[str], None] = lambda _text: None
        self.on_detail: Callable[[str], None] = lambda _text: None
        self.budget = ffi.new("uint64_t *", limits.count or 0)
        self._wake, self._awake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.undo.callback(os.close, self._wake)
        self.undo.callback(os.close, self._awake)

    @abstractmethod
    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """The same, so far: may be asked for while the job runs."""

    # -- open ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._catch_signals()
            for port in self.ports:
                port.quiesce, port.end_job = self.paused, self.stop
                port.notice = self._pass_on
                port.reconnect = port.reconnect and self.limits.reconnect
                self.undo.callback(port.close)
                port.open()
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.undo.close()

    def _pass_on(self, text: str) -> None:
        self.on_notice(text)  # whoever hears it by then

    def _catch_signals(self) -> None:
        def stop(number: int, _frame: FrameType | None) -> None:
            self.stopped_by = number
            self.stop()

        for number in end_signals():
            self.undo.callback(signal.signal, number, signal.signal(number, stop))
        self.undo.callback(signal.signal, KICK, signal.signal(KICK, lambda *_: None))

    def plan(self, plans: list[Plan], frame: int = 0) -> None:
        """Makes the pool, the queues and the workers. `frame`: bytes of the longest frame sent."""
        buffers = [self._buffers(plan) for plan in plans]
        rings = sum(port.dma_bytes() for port in self.ports)
        takes = min((port.takes for port in self.ports if port.can_send), default=LONGEST)
        frames = [port.longest_frame(takes) for port in self.ports]
        pool = Pool(sum(buffers), max([frame, *frames]), rings)
        self.undo.callback(pool.close)
        self.pool = pool
        for port in self.ports:
            port.attach(pool)
        self.board = Board(
            self.command, sum(1 + len(exits) for plan in plans for _, exits in plan.lanes)
        )
        self.undo.callback(self.board.close)
        for plan, count in zip(plans, buffers, strict=True):
            stack = pool.stack(count)
            lanes = [
                Lane(
                    self._queue("rx", rx, stack) if rx else None,
                    [self._queue("tx", tx, stack) for tx in exits],
                )
                for rx, exits in plan.lanes
            ]
            plan.worker = Worker(plan.loop, lanes, stack, plan.core)
            self.undo.callback(plan.worker.close)
            self.workers.append(plan.worker)

    def _buffers(self, plan: Plan) -> int:
        rings = sum(rx[0].holds("rx") for rx in {rx for rx, _ in plan.lanes} if rx)
        rings += sum(tx[0].holds("tx") for tx in {tx for _, exits in plan.lanes for tx in exits})
        held = sum(1 + max(1, len(exits)) for _, exits in plan.lanes)
        bursts: int = (held + 2) * lib.BURST_MAX
        return rings + bursts + plan.extra_buffers

    def _queue(self, direction: Direction, end: End, stack: Any) -> Queue:
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

    # -- run -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends the run in good order; may be called from a signal handler."""
        for worker in self.workers:
            worker.stop()
        with contextlib.suppress(BlockingIOError):
            os.write(self._awake, b"x")

    def start(self) -> None:
        """Lets traffic into the ports, in order. Everything is open: no privilege is needed to go
        on, but what a port asks for. No worker runs yet, so all of them will be without it, too.
        """
        if self.limits.confine:
            privileges.drop(*(port.keeps for port in self.ports))
        self.undo.callback(self._stop_ports.close)
        for port in self.ports:
            self._stop_ports.callback(port.stop)
            port.start()
        self.wait_until_up([port for port in self.ports if port.connects])

    def wait_until_up(self, ports: list[Port]) -> None:
        """Waits for the other side of `ports`, however long the ports' own options allow."""
        told = time.monotonic() + NOTICE_S
        while not self.stopped_by and (down := [port for port in ports if not port.up()]):
            if time.monotonic() > told:
                told = float("inf")
                reasons = [f"{port.name}: {port.why_down()}" for port in down]
                self.on_notice("waiting: " + "; ".join(reasons))
            self._control(TICK_S)

    def run(self) -> None:
        """Runs the workers until the first of: limits, end of sources, a signal, a fault. An error
        takes the result so far with it.
        """
        try:
            self._run()
        except UspnetError as error:
            with contextlib.suppress(UspnetError):  # what went wrong first is what counts
                self._stop_ports.close()  # now the counters are final
            error.partial = self.result()
            raise

    def _run(self) -> None:
        hz = CLOCK.hz()
        started_ns = time.time_ns()
        self.started = time.monotonic()
        for worker in self.workers:
            self._set_up(worker, hz)
        self.board.publish(started_ns)
        self._tell_setup()
        self.undo.callback(self._join)
        if not self.stopped_by:
            for worker in self.workers:
                if worker not in self.guests:
                    worker.thread.start()
        try:
            while any(worker.running() for worker in self.workers):
                self._control(TICK_S)
                self.on_tick()
                self._end_followers()
            self._linger()
        finally:
            self._join()
            self.ended = time.monotonic()
        self._drain()
        for port in self.ports:
            port.finish()

    def _set_up(self, worker: Worker, hz: int) -> None:
        """A follower has no limits of its own: it ends after the others."""
        c, limits = worker.c, self.limits
        c.poll, c.burst = POLL_MODES[limits.poll], limits.burst
        c.ticks_hz, c.spin = hz, int(SPIN_S * hz)
        if worker in self.followers:
            return
        if limits.duration is not None:
            c.deadline = lib.ticks_now() + int(limits.duration * hz)
        if limits.count is not None:
            c.budget = self.budget

    def _tell_setup(self) -> None:
        pool, limits = self.pool, self.limits
        for port in self.ports:
            if port.how:
                self.on_detail(f"{port.name}: {port.how}")
            if port.danger:
                self.on_notice(f"{port.name}: DANGER: {port.danger}")
        self.on_detail(f"pool: {pool.count} buffers of {pool.size} bytes on {pool.pages} pages")
        for number, worker in enumerate(self.workers):
            core = "any core" if worker.core is None else f"core {worker.core}"
            ends = ", ".join(f"{q.port.name} {q.direction} {q.index}" for q in worker.queues)
            self.on_detail(f"worker {number}, {core}, poll {limits.poll}: {ends}")
        self.on_detail(f"bursts of up to {limits.burst} packets")

    def _end_followers(self) -> None:
        """When the leaders have ended, followers get SETTLE_S or STRAGGLE_S since their last
        packet, and SETTLE_MAX_S in all.
        """
        if any(worker.running() for worker in self.workers if worker not in self.followers):
            return
        while self.guests:
            self.guests.pop().thread.start()
        seen, now = self.total("rx", "packets"), time.monotonic()
        self._settle_end = self._settle_end or now + SETTLE_MAX_S
        if seen != self._settled[0] and now < self._settle_end:
            self._settled = (seen, now)
            return
        patience = SETTLE_S if seen >= self.total("tx", "packets") else STRAGGLE_S
        if now >= self._settle_end or now - self._settled[1] > patience:
            for worker in self.followers:
                worker.stop()

    def _linger(self) -> None:
        """Stays connected for a while, so that the other side can read its counters."""
        end = time.monotonic() + self.limits.linger
        while time.monotonic() < end and not self.stopped_by:
            self._control(TICK_S)

    def _control(self, timeout: float) -> None:
        """Waits for a port's control descriptor, or the time; handles what came, and faults."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for port in self.ports:
            for fd in port.control_fds():
                poll.register(fd, select.POLLIN)
        if any(fd == self._wake for fd, _ in poll.poll(timeout * 1000)):
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 64)
        for port in self.ports:
            port.control()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, no worker touches anything: rings may be taken away or replaced."""
        with contextlib.ExitStack() as resume:
            for worker in self.workers:
                worker.pause()
                resume.callback(worker.resume)
            yield
            stuck = [name for worker in self.workers for name in worker.reroute()]
            for name in dict.fromkeys(stuck):
                self.on_notice(f"{name}: the peer has fewer queues than workers: lower queues=")

    def _drain(self) -> None:
        """Gives the other side time to take what is in the rings."""
        end, last = time.monotonic() + DRAIN_S, 1 << 32
        latest = end + DRAIN_MAX_S
        while time.monotonic() < min(end, latest):
            pending = sum(port.pending() for port in self.ports)
            if pending == 0 or self.stopped_by == signal.SIGTERM:
                return
            if pending < last:  # a few slots may be free without our being told
                patience = DRAIN_S if pending > lib.BURST_MAX else TICK_S
                end, last = time.monotonic() + patience, pending
            self._control(0.002)

    def _join(self) -> None:
        for worker in self.workers:
            if worker.thread.ident:
                worker.join()
