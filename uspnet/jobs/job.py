# SPDX-License-Identifier: Apache-2.0
"""A job: ports, their packet memory and the workers on them, from open to close.

open → attach → plan → start → run → drain → stop → close; whatever was done is undone in reverse
on every exit, by one ExitStack.

A job knows no terminal and installs no signal handler. Several may run in one process, each in any
thread: the thread that calls `wait` also looks after the ports.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

from uspnet.errors import UspnetError
from uspnet.fastpath import ffi, lib
from uspnet.jobs.accounts import Accounts
from uspnet.jobs.ending import Grace, drain
from uspnet.jobs.plan import Limits, Plan, Wiring, make_pool
from uspnet.jobs.result import Ended, Result
from uspnet.jobs.worker import POLL_MODES, SPIN_S, Clock, Worker, usable_cores
from uspnet.port import Port
from uspnet.system import privileges
from uspnet.telemetry import Board

NOTICE_S = 0.3  # a peer that takes longer to come is worth a line
TICK_S = 0.05  # how often the thread that waits looks at ports and faults
CLOCK = Clock()
R = TypeVar("R", bound=Result)
ENDINGS: dict[int, Ended] = {
    lib.END_COUNT: "count",
    lib.END_DEADLINE: "duration",
    lib.END_SOURCE: "source",
    lib.END_STOPPED: "stopped",
}


class Job(Accounts, ABC, Generic[R]):
    """Runs plans over ports. A context manager: it opens the ports, and closes what is open.

    `run` does the work, or `start` and `wait` do, which let others work meanwhile. `on_tick` is
    called about 20 times a second by the thread that waits, `on_notice` with news for people,
    `on_detail` with how the run is set up.
    """

    waits_for_all = False  # for every port to be up before it begins, not just for peers

    def __init__(self, command: str, ports: list[Port], limits: Limits) -> None:
        self.command, self.ports, self.limits = command, ports, limits
        self.cores = usable_cores(limits.cores)
        self.undo = contextlib.ExitStack()
        self._stop_ports = contextlib.ExitStack()
        self.workers: list[Worker] = []
        self.receivers: list[Worker] = []  # they end after the others
        self.inline: list[Worker] = []  # receivers that run in a sender's thread until it ends
        self._grace = Grace()
        self.stop_reason: Ended | None = None
        self.hurry = False
        self.finished = False
        self._final: R | None = None
        self.started = 0.0
        self.links: dict[Port, int | None] = {}
        self.on_tick: Callable[[], None] = lambda: None
        self.on_notice: Callable[[str], None] = lambda _text: None
        self.on_detail: Callable[[str], None] = lambda _text: None
        self.budget = ffi.new("uint64_t *", limits.count or 0)
        self._wake, self._awake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.undo.callback(os.close, self._wake)
        self.undo.callback(os.close, self._awake)

    # -- what a job implements -------------------------------------------------------------------

    @abstractmethod
    def plans(self) -> list[Plan]:
        """One a worker, and `receivers` among them last. The ports are open. Raises Usage."""

    @abstractmethod
    def count(self) -> R:
        """The result so far, by the counters."""

    def longest(self) -> int:
        """Bytes of the longest frame that is made here."""
        return 0

    def set_up(self) -> None:
        """What is left to do when the workers are made."""

    def check(self, result: R) -> None:
        """Raises what makes a run that ended by itself a failure."""

    # -- open ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            for port in self.ports:
                port.quiesce, port.end_job = self.paused, self._end_of_source
                port.notice = self._pass_on
                port.reconnect = port.reconnect and self.limits.reconnect
                self.undo.callback(port.close)
                port.open()
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Undoes everything; the result stays. May be called twice."""
        self._final = self.result()
        self.undo.close()

    def result(self) -> R:
        """What was done so far, or in the end."""
        return self._final or self.count()

    def _pass_on(self, text: str) -> None:
        self.on_notice(text)  # whoever hears it by then

    def _end_of_source(self) -> None:
        self.stop("source")

    # -- run -------------------------------------------------------------------------------------

    def run(self) -> R:
        """Does all of it, and returns the result. Raises what went wrong, with the result so far in
        it.
        """
        self.start()
        self.wait()
        result = self.result()
        self.check(result)
        return result

    def start(self) -> None:
        """Makes pool, queues and workers, waits for the other sides of the ports, and starts."""
        self._lay_out()
        self._let_traffic_in()
        self._launch()

    def wait(self, timeout: float | None = None) -> bool:
        """Looks after the ports until the first of: limits, end of sources, `stop`, a fault, or the
        timeout in seconds. True: the run is over, and its result is final. Raises what went wrong.
        """
        end = float("inf") if timeout is None else time.monotonic() + timeout
        with self._told_so_far():
            while any(worker.running() for worker in self.workers):
                if time.monotonic() >= end:
                    return False
                self._serve(TICK_S)
                self.on_tick()
                self._end_receivers()
            if not self.finished:
                self._finish()
        return True

    def stop(self, reason: Ended = "stopped", *, hurry: bool = False) -> None:
        """Ends the run gracefully; in a hurry, packets that peers have not taken yet are dropped.
        May be called by any thread, or a signal handler.
        """
        self.stop_reason, self.hurry = self.stop_reason or reason, self.hurry or hurry
        for worker in self.workers:
            worker.stop()
        with contextlib.suppress(BlockingIOError):
            os.write(self._awake, b"x")

    def ended(self) -> Ended | None:
        """Why the run is over; None while it is not."""
        if not self.finished:
            return None
        senders = [worker for worker in self.workers if worker not in self.receivers]
        return self.stop_reason or next((ENDINGS[w.c.ending] for w in senders if w.c.ending), None)

    def _lay_out(self) -> None:
        plans = self.plans()
        pool = make_pool(plans, self.ports, self.longest())
        self.undo.callback(pool.close)
        self.pool = pool
        for port in self.ports:
            port.attach(pool)
        self.board = Board(self.command, sum(plan.ends() for plan in plans))
        self.undo.callback(self.board.close)
        wiring = Wiring(self.ports, pool, self.board)
        for plan in plans:
            worker = wiring.worker(plan)
            self.undo.callback(worker.close)
            self.workers.append(worker)
        self.set_up()

    def _let_traffic_in(self) -> None:
        """Starts the ports, in order. Everything is open: no privilege is needed to go on, but what
        a port asks for. No worker runs yet, so all of them will be without it, too.
        """
        if self.limits.confine:
            privileges.drop(*(port.keeps for port in self.ports))
        self.undo.callback(self._stop_ports.close)
        for port in self.ports:
            self._stop_ports.callback(port.stop)
            port.start()
        self._wait_until_up([p for p in self.ports if p.connects or self.waits_for_all])

    def _wait_until_up(self, ports: list[Port]) -> None:
        """Waits for the other side of `ports`, however long the ports' own options allow."""
        told = time.monotonic() + NOTICE_S
        while not self.stop_reason and (down := [port for port in ports if not port.up()]):
            if time.monotonic() > told:
                told = float("inf")
                reasons = [f"{port.name}: {port.why_down()}" for port in down]
                self.on_notice("waiting: " + "; ".join(reasons))
            self._serve(TICK_S)

    def _launch(self) -> None:
        hz = CLOCK.hz()
        self.links = {port: port.link_bps() for port in self.ports}
        started_ns = time.time_ns()
        self.started = time.monotonic()
        for worker in self.workers:
            self._set_limits(worker, hz)
        self.board.publish(started_ns)
        self._tell_details()
        self.undo.callback(self._join)
        if not self.stop_reason:
            for worker in self.workers:
                if worker not in self.inline:
                    worker.thread.start()

    def _set_limits(self, worker: Worker, hz: int) -> None:
        c, limits = worker.c, self.limits
        c.poll, c.burst = POLL_MODES[limits.poll], limits.burst
        c.ticks_hz, c.spin = hz, int(SPIN_S * hz)
        if worker in self.receivers:
            return
        if limits.duration is not None:
            c.deadline = lib.ticks_now() + int(limits.duration * hz)
        if limits.count is not None:
            c.budget = self.budget

    def _tell_details(self) -> None:
        pool, limits = self.pool, self.limits
        bounded = limits.count is not None or limits.duration is not None
        full = [port.name for port in self.ports if port.fills_disk]
        if full and not bounded and any(port.endless for port in self.ports):
            text = "grows until the disk is full: give --count or --duration"
            self.on_notice(f"{full[0]} {text}")
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

    def _serve(self, timeout: float) -> None:
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

    # -- end -------------------------------------------------------------------------------------

    def _end_receivers(self) -> None:
        """When all others have ended, receivers get a while for late packets."""
        if any(worker.running() for worker in self.workers if worker not in self.receivers):
            return
        while self.inline:
            self.inline.pop().thread.start()
        if self._grace.over(time.monotonic(), *(self.total(d, "packets") for d in ("rx", "tx"))):
            for worker in self.receivers:
                worker.stop()

    def _finish(self) -> None:
        """After the workers: stays connected as long as asked, so that the other side can read its
        counters; then peers take what is in the rings, and all counters are final.
        """
        end = time.monotonic() + self.limits.linger
        while time.monotonic() < end and not self.stop_reason:
            self._serve(TICK_S)
        self._join()
        drain(self.ports, self._serve, lambda: self.hurry)
        for port in self.ports:
            port.finish()
        self.finished = True

    @contextlib.contextmanager
    def _told_so_far(self) -> Iterator[None]:
        """An error takes the result so far with it."""
        try:
            yield
        except UspnetError as error:
            self._join()
            with contextlib.suppress(UspnetError):  # what went wrong first is what counts
                self._stop_ports.close()  # now the counters are final
            self.stop_reason, self.finished = "error", True
            error.partial = self.result().as_json()
            raise

    def _join(self) -> None:
        for worker in self.workers:
            if worker.thread.ident:
                worker.join()

    def stopped(self) -> bool:
        """Did somebody end the run?"""
        return self.stop_reason in {"signal", "stopped"}

    def fail(self, error: UspnetError, result: Result) -> UspnetError:
        """The error with the result of the run that it is about."""
        error.partial = result.as_json()
        return error
