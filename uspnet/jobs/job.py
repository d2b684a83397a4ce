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
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar

from uspnet.errors import UspnetError
from uspnet.fastpath import lib
from uspnet.jobs.accounts import Accounts
from uspnet.jobs.checks import check_open, check_started, claim
from uspnet.jobs.crew import Crew
from uspnet.jobs.ending import Grace, drain
from uspnet.jobs.notices import details, notices
from uspnet.jobs.plan import Limits, Plan, Wiring, make_pool
from uspnet.jobs.recovery import recover
from uspnet.jobs.result import Ended, Result
from uspnet.jobs.service import Service
from uspnet.jobs.upgrades import Upgradable
from uspnet.jobs.waiting import wait_for_peers
from uspnet.jobs.worker import Clock, Worker, usable_cores
from uspnet.memory import new
from uspnet.port import Port
from uspnet.system import privileges
from uspnet.telemetry import Board

TICK_S = 0.05  # how often the thread that waits looks at ports and faults
CLOCK = Clock()
R = TypeVar("R", bound=Result)
ENDINGS: dict[int, Ended] = {
    lib.END_COUNT: "count",
    lib.END_DEADLINE: "duration",
    lib.END_SOURCE: "source",
    lib.END_STOPPED: "stopped",
}


class Job(Accounts, Upgradable, ABC, Generic[R]):
    """Runs plans over ports. A context manager: it opens the ports, and closes what is open.

    `run` does the work, or `start` and `wait` do, which let others work meanwhile. `on_tick` is
    called about 20 times a second by the thread that waits, `on_wait`, with the seconds so far,
    also often while a peer or link is not there or, at the end, peers and disks take the rest,
    `on_notice` with news for people, `on_detail` with how the run is set up.
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
        self.hurry = self.finished = False
        self._final: R | None = None
        self.started = 0.0
        self.links: dict[Port, int | None] = {}
        self.on_tick: Callable[[], None] = lambda: None
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        self.on_notice: Callable[[str], None] = lambda _text: None
        self.on_detail: Callable[[str], None] = lambda _text: None
        self.budget = new("uint64_t *", limits.count or 0)
        self._open_in = 0  # the process in which the job is open; a forked child has no access
        self.crew = Crew(limits, ports)
        self.crew.upgrades.leave = self.leave
        self.service = Service(ports, self.crew)

    # -- what a job implements -------------------------------------------------------------------

    @abstractmethod
    def plans(self) -> list[Plan]:
        """Plan the workers, receivers last. The ports are open. Raises Usage."""

    @abstractmethod
    def count(self) -> R:
        """Compute the result so far from the counters."""

    def longest(self) -> int:
        """Return the length in bytes of the longest frame that the job makes itself."""
        return 0

    def is_timed(self) -> bool:
        """Return whether packets have due times, or their latency is measured."""
        return False

    def set_up(self) -> None:
        """Finish the set-up after the workers have been made."""

    def linked(self) -> None:
        """Finish what depends on `links`, which are known now. No loop runs yet."""

    def check(self, result: R) -> None:
        """Raise an error if a run that ended by itself counts as failed."""

    # -- open ------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        claim(self.ports)
        try:
            self.service.open()
            self.undo.callback(self.service.close)
            self._open_in = os.getpid()
            self.undo.callback(self.crew.close)
            self.crew.notice = self._pass_on
            self.crew.open()
            for port in self.ports:
                port.quiesce, port.end_job = self.paused, self._end_of_source
                port.notice = self._pass_on
                port.is_interrupted = lambda: self.stop_reason == "signal"
                port.reconnect = port.reconnect and self.limits.reconnect
                self.undo.callback(port.close)
                port.open()
        except BaseException:
            self._open_in = 0
            self.undo.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and undo everything; the result stays. May be called twice."""
        if not self.is_open():
            return
        try:
            self._join()
            self._final = self.result()
        finally:
            self._open_in = 0
            self.undo.close()

    def is_open(self) -> bool:
        """Return whether this process has entered its context, and not left it."""
        return self._open_in == os.getpid()

    def result(self) -> R:
        """Return the final result, or the result so far."""
        return self._final or self.count()

    def _pass_on(self, text: str) -> None:
        self.on_notice(text)  # the callback may be set later

    def _end_of_source(self) -> None:
        self.stop("source")

    # -- run -------------------------------------------------------------------------------------

    def run(self) -> R:
        """Start, wait, check, and return the result. Raises what went wrong, with the result so far
        in it.
        """
        self.start()
        self.wait()
        result = self.result()
        self.check(result)
        return result

    def start(self) -> None:
        """Make pool, queues and workers, wait for the ports' peers, and start. Raises Usage if the
        job is not open, or was started before.
        """
        check_open(self.workers, is_open=self.is_open())
        self._lay_out()
        self._let_traffic_in()
        self._launch()

    def wait(self, timeout: float | None = None) -> bool:
        """Serve the ports until the run is over or `timeout` seconds have passed. Return whether it
        is over: by its limits, the end of its sources, or `stop`. Raises what went wrong.
        """
        check_started(self.workers)
        end = float("inf") if timeout is None else time.monotonic() + timeout
        with self._told_so_far():
            while self._running():
                self.service.serve(max(0.0, min(TICK_S, end - time.monotonic())))
                self.tick()
                self._end_receivers()
                if time.monotonic() >= end and self._running():
                    return False
            if not self.finished:
                self._finish()
        return True

    def _running(self) -> bool:
        self.crew.check()
        return bool(self.inline) or any(worker.unfinished() for worker in self.workers)

    def stop(self, reason: Ended = "stopped", *, hurry: bool = False) -> None:
        """End the run gracefully: receivers wait for late packets, unless this is called twice; in
        a hurry, peers need not take what is in the rings. Any thread or signal handler may call it.
        """
        again = self.stop_reason is not None
        self.stop_reason = self.stop_reason if self.stop_reason not in {None, "upgrade"} else reason
        self.hurry = self.hurry or hurry
        if not self.is_open():
            return
        for worker in self.workers:
            if again or worker not in self.receivers:
                worker.stop()
        self.service.wake()

    def ended(self) -> Ended | None:
        """Return why the run is over; None while it goes on."""
        if not self.finished:
            return None
        senders = [worker for worker in self.workers if worker not in self.receivers]
        return self.stop_reason or next(
            (ENDINGS.get(w.c.ending) for w in senders if w.c.ending), None
        )

    def _lay_out(self) -> None:
        plans = self.plans()
        pool = make_pool(plans, self.ports, self.longest())
        self.undo.callback(pool.close)
        self.pool = pool
        for port in self.ports:
            port.attach(pool)
        self.board = Board(self.command, sum(plan.ends() for plan in plans))
        self.undo.callback(self.board.close)
        self.crew.tell = self.board.tell
        wiring = Wiring(self.ports, pool, self.board)
        for plan in plans:
            worker = wiring.worker(plan)
            self.undo.callback(worker.close)
            self.workers.append(worker)
        self.set_up()

    def _let_traffic_in(self) -> None:
        """Start the ports, in order. Before that, give up all privileges but those that the ports
        keep; workers, which start later, inherit that.
        """
        if self.limits.confine:
            privileges.drop(self.crew.keeps(), *(port.keeps for port in self.ports))
        self.undo.callback(self._stop_ports.close)
        for port in self.ports:
            self._stop_ports.callback(port.stop)
            port.on_wait = self.on_wait
            port.start()
        peers = [port for port in self.ports if port.connects or self.waits_for_all]
        self.crew.waited_s = wait_for_peers(self, peers)

    def _launch(self) -> None:
        self.undo.callback(self.crew.end)
        self.undo.callback(self._join)
        self.crew.launch(self.workers, self._recover)
        hz = CLOCK.hz()
        self.links = {port: port.link_bps() for port in self.ports}
        self.linked()
        started_ns = time.time_ns()
        self.started = time.monotonic()
        for worker in self.workers:
            worker.limit(self.limits, hz, None if worker in self.receivers else self.budget)
        self.crew.keep()
        self.board.publish(started_ns, self.crew.enforced)
        for text in (*notices(self.ports, self.limits), *self.crew.notices()):
            self.on_notice(text)
        more = details(self.ports, self.limits, self.pool, self.workers)
        for text in (*more, *self.crew.details()):
            self.on_detail(text)
        if self.stop_reason:
            self.inline.clear()
            return
        for worker in self.workers:
            if worker not in self.inline:
                worker.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Pause all workers, so that rings may be taken away or replaced."""
        with contextlib.ExitStack() as resume:
            self.crew.pause(resume)
            try:
                yield
            finally:
                stuck = [name for worker in self.workers for name in worker.reroute()]
                for name in dict.fromkeys(stuck):
                    self.on_notice(f"{name}: the peer has fewer queues than workers: lower queues=")
                self.crew.follow()

    def _recover(self) -> int:
        return recover(self.pool, self.ports, self.workers, self.budget, self.limits.count)

    # -- end -------------------------------------------------------------------------------------

    def _end_receivers(self) -> None:
        """Stop the receivers when the other workers have ended and the grace period is over."""
        if any(worker.unfinished() for worker in self.workers if worker not in self.receivers):
            return
        while self.inline:
            self.inline.pop().start()
        packets = (self.total(direction, "packets") for direction in ("rx", "tx"))
        if self._grace.over(time.monotonic(), *packets, in_transit=self.in_transit()):
            for worker in self.receivers:
                worker.stop()

    def _finish(self) -> None:
        """Complete the run after its workers have ended: stay connected for `linger` seconds, let
        peers empty the rings, and have the ports finish. Then all counters are final.
        """
        end = time.monotonic() + self.limits.linger
        while time.monotonic() < end and not self.stop_reason:
            self.service.serve(TICK_S)
            self.tick()
        self._join()
        drain(self.ports, self.service.serve, self.on_wait, lambda: self.hurry)
        for port in self.ports:
            port.finish()
        self.finished = True

    @contextlib.contextmanager
    def _told_so_far(self) -> Iterator[None]:
        """Add the result so far to an error that is raised inside."""
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
        self.crew.join()

    def fail(self, error: UspnetError, result: Result) -> UspnetError:
        """Add a result to an error, and return it."""
        error.partial = result.as_json()
        return error


AnyJob = Job[Any]  # whatever its result is
