# SPDX-License-Identifier: Apache-2.0
"""Upgrades of a job, and changes of its tables, which other threads ask for, and other processes
through `control`.
"""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

from uspnet.errors import Busy, DeviceFault, DeviceTimeout, Usage, UspnetError
from uspnet.jobs.change import Change, Changed, Prepared, TableName, Wanted, nothing_to_set
from uspnet.jobs.cold import Cold, Planned
from uspnet.jobs.upgrade import Upgrade, Upgraded
from uspnet.process.trial import Able

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew
    from uspnet.jobs.job import AnyJob
    from uspnet.jobs.result import Ended
    from uspnet.jobs.service import Service
    from uspnet.jobs.worker import Worker
    from uspnet.process.worker import WorkerProcess
    from uspnet.system.kept import State

Kind = Literal["warm", "cold", "plan"]  # plan: say what a cold one would do
HOLDS_S = 10.0  # for so long, a version that could go on with the job is believed to be able to
PATIENCE_S = 60.0  # of who asks; it takes less than 2 on an idle machine


def summary(upgrade: Upgrade | Cold | Change) -> str:
    """Say how an upgrade has ended, for the job's own user; empty where it was only planned."""
    match upgrade.result:
        case Upgraded() as done:
            return f"upgraded: uspnet {done.before} → {done.after}"
        case Changed() if upgrade.wanted.text is None:
            return ""
        case Changed() as set_now:
            return f"{set_now.table} set: {set_now.entries:,} instead of {set_now.before:,}"
        case Planned():
            return ""
    if isinstance(upgrade, Change):
        return f"{upgrade.wanted.table} stay as they are: {upgrade.error}"
    return f"not upgraded: {upgrade.error}"


@dataclass
class Request:
    """An upgrade that somebody waits for. `python`: as for `Upgrade`. `departed`: the other version
    answers it. `wanted`: it is none, these tables are to be set.
    """

    python: Sequence[str] | None
    kind: Kind = "warm"
    wanted: Wanted | None = None
    done: threading.Event = field(default_factory=threading.Event)
    result: Upgraded | Planned | Changed | None = None
    error: UspnetError | None = None
    departed: bool = False

    def end(self, result: Upgraded | Planned | Changed | None, error: UspnetError | None) -> None:
        """Tell who waits how it has ended."""
        self.result, self.error = result, error
        self.done.set()


class Upgradable:
    """What a job offers to the threads of its own process."""

    crew: Crew
    service: Service
    stop_reason: Ended | None
    workers: list[Worker]

    @abstractmethod
    def stop(self, reason: Ended = "stopped", *, hurry: bool = False) -> None:
        """End the run."""

    def leave(self) -> None:
        """End the run, since another version is to go on with the job."""
        if not self.stop_reason:
            self.stop("upgrade")

    def claimed(self) -> int:
        """Return the packets that all workers have taken from the job's limit."""
        return sum(w.loop.claimed(w.lanes) for w in self.workers if w.c.budget)

    def hand_over(self) -> tuple[State, list[str]] | None:
        """Return with what, and as which program, another version goes on with the job, which has
        run to its end and is still open; None: it is over.
        """
        cold = self.crew.upgrades.leaving()
        if not cold or self.stop_reason != "upgrade":
            return None
        job = cast("AnyJob", self)
        if over := cold.has_ended(job):
            self.stop_reason = over
            return None
        return cold.hand_over(job), cold.program()

    def upgrade(self, python: Sequence[str] | None = None) -> Upgraded:
        """Replace the loops, while they run, by those of another installation: `python` is its
        interpreter, with its arguments; None: this one, as it is on disk now. Every thread may call
        it but the one that waits for the job, which does it. Raises NotSupported and others when
        the job goes on as before, DeviceFault when the new loops failed.
        """
        request = self._done("upgrade", python)
        if isinstance(request.result, Upgraded):
            return request.result
        raise request.error or RuntimeError("an upgrade ended without a result")

    def set_table(self, table: TableName, text: str, name: str = "-") -> Changed:
        """Have the loops go by other rules or routes, while they run: those in the text of a file.
        `name`: of the file, for messages. Every thread may call it but the one that waits for the
        job. Raises Usage, NotSupported and others when the job goes on as before.
        """
        request = self._done("change", None, Wanted(table, name, text))
        if isinstance(request.result, Changed):
            return request.result
        raise request.error or RuntimeError("a change ended without a result")

    def _done(
        self, what: str, python: Sequence[str] | None, wanted: Wanted | None = None
    ) -> Request:
        """Ask the thread that waits for the job for something, and wait until it is done."""
        if self.service.thread == threading.get_ident():
            text = f"the thread that waits for a job can't wait for its {what}"
            raise Usage(text, "call it in another thread")
        request = self.crew.upgrades.ask(python, wanted=wanted)
        if not request.done.is_set():
            self.service.wake()
        if not request.done.wait(PATIENCE_S):
            text = f"the {what} took more than {PATIENCE_S:.0f} s"
            raise DeviceTimeout(text, "does a thread wait for the job?")
        return request


class Upgrades:
    """Does one upgrade of a crew at a time. Every thread may call `ask`."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.closed = True  # nobody looks after them yet
        self.count = 0  # of those that succeeded
        self.changes = 0  # times that tables were set
        self.changed = ""  # which
        self._asked: deque[Request] = deque()
        self._now: tuple[Upgrade | Cold | Change, Request] | None = None
        # The last plan: for whom, what that version has said, and until when that holds.
        self._planned: tuple[Sequence[str] | None, Able | None, float] = None, None, 0.0
        self.leave: Callable[[], None] = lambda: None  # has the job end for a cold one
        self.prepare: Callable[[Wanted], Prepared] = nothing_to_set

    def ask(
        self, python: Sequence[str] | None, kind: Kind = "warm", wanted: Wanted | None = None
    ) -> Request:
        """Ask for an upgrade, which the thread that waits for the job does; or, in its place, that
        these tables are set.
        """
        request = Request(python, kind, wanted)
        self._asked.append(request)
        if self.closed:
            self._refuse()
        return request

    def open(self) -> None:
        """Begin to take requests."""
        self.closed = False

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `serve` has something to do."""
        return self._now[0].fds() if self._now else []

    def _begin(self, request: Request) -> Upgrade | Cold | Change:
        if request.wanted:
            return Change(self.crew, request.wanted, self.prepare)
        if request.kind == "warm":
            return Upgrade(self.crew, request.python, os.getpid())
        if request.kind == "plan":
            return Cold(self.crew, request.python, None)
        python, able, until = self._planned
        said = able if request.python == python and time.monotonic() < until else None
        return Cold(self.crew, request.python, self.leave, said)

    def leaving(self) -> Cold | None:
        """Return the cold upgrade for which the job ends; None: there is none."""
        match self._now:
            case Cold() as cold, _ if cold.leaving():
                return cold
        return None

    def busy(self) -> bool:
        """Return whether an upgrade goes on."""
        return bool(self._now)

    def is_now(self, request: Request | None) -> bool:
        """Return whether this is what goes on."""
        return bool(self._now and self._now[1] is request)

    def on_trial(self) -> bool:
        """Return whether the worker process is a new one that may still be taken back."""
        return bool(self._now and self._now[0].old)

    def serve(self) -> None:
        """Go on with an upgrade, or begin one."""
        while self._asked:
            request = self._asked.popleft()
            if self._now:
                request.end(None, Busy("this job is being upgraded", "try again in a second"))
                continue
            try:
                self._now = self._begin(request), request
            except UspnetError as error:
                request.end(None, error)
        self._go_on()

    def watch(self, process: WorkerProcess) -> None:
        """Have the process before the one on trial go on, as soon as that has ended."""
        if process.dead():
            self._go_on()

    def _go_on(self) -> None:
        if self._now:
            self._now[0].step()
            self._tell()

    def close(self) -> None:
        """End what goes on, and refuse the rest: the job ends."""
        self.closed = True
        if self._now:
            upgrade, request = self._now
            upgrade.close()
            self._tell()
            if isinstance(upgrade, Cold) and upgrade.departed:
                self._now, request.departed = None, True
                request.end(None, None)
        self._refuse()

    def _refuse(self) -> None:
        while self._asked:
            ended = DeviceFault("the job has ended meanwhile", "see: uspnet stats")
            self._asked.popleft().end(None, ended)

    def _tell(self) -> None:
        if self._now and self._now[0].over():
            upgrade, request = self._now
            self._now = None
            self.count += isinstance(upgrade.result, Upgraded)
            if isinstance(upgrade.result, Changed) and request.wanted and request.wanted.text:
                self.changes, self.changed = self.changes + 1, upgrade.result.table
            if isinstance(upgrade, Cold) and upgrade.result:
                self._planned = request.python, upgrade.able, time.monotonic() + HOLDS_S
            if text := summary(upgrade):
                self.crew.notice(text)
            request.end(upgrade.result, upgrade.error)
