# SPDX-License-Identifier: Apache-2.0
"""Upgrades of a job, which other threads ask for, and other processes through `control`."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uspnet.errors import Busy, DeviceFault, DeviceTimeout, Usage, UspnetError
from uspnet.jobs.upgrade import Upgrade, Upgraded

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew
    from uspnet.jobs.service import Service

PATIENCE_S = 60.0  # of who asks; it takes less than 2 on an idle machine


def summary(upgrade: Upgrade) -> str:
    """Say how an upgrade has ended, for the job's own user."""
    if upgrade.result:
        return f"upgraded: uspnet {upgrade.result.before} → {upgrade.result.after}"
    return f"not upgraded: {upgrade.error}"


@dataclass
class Request:
    """An upgrade that somebody waits for. `python`: as for `Upgrade`."""

    python: Sequence[str] | None
    done: threading.Event = field(default_factory=threading.Event)
    result: Upgraded | None = None
    error: UspnetError | None = None

    def end(self, result: Upgraded | None, error: UspnetError | None) -> None:
        """Tell who waits how it has ended."""
        self.result, self.error = result, error
        self.done.set()


class Upgradable:
    """What a job offers to the threads of its own process."""

    crew: Crew
    service: Service

    def upgrade(self, python: Sequence[str] | None = None) -> Upgraded:
        """Replace the loops, while they run, by those of another installation: `python` is its
        interpreter, with its arguments; None: this one, as it is on disk now. Every thread may call
        it but the one that waits for the job, which does it. Raises NotSupported and others when
        the job goes on as before, DeviceFault when the new loops failed.
        """
        if self.service.thread == threading.get_ident():
            text = "the thread that waits for a job can't wait for its upgrade"
            raise Usage(text, "call upgrade() in another thread")
        request = self.crew.upgrades.ask(python)
        if not request.done.is_set():
            self.service.wake()
        if not request.done.wait(PATIENCE_S):
            text = f"the upgrade took more than {PATIENCE_S:.0f} s"
            raise DeviceTimeout(text, "does a thread wait for the job?")
        if request.result:
            return request.result
        raise request.error or RuntimeError("an upgrade ended without a result")


class Upgrades:
    """Does one upgrade of a crew at a time. Every thread may call `ask`."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.closed = True  # nobody looks after them yet
        self.count = 0  # of those that succeeded
        self._asked: deque[Request] = deque()
        self._now: tuple[Upgrade, Request] | None = None

    def ask(self, python: Sequence[str] | None) -> Request:
        """Ask for an upgrade, which the thread that waits for the job does."""
        request = Request(python)
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
                self._now = Upgrade(self.crew, request.python, os.getpid()), request
            except UspnetError as error:
                request.end(None, error)
        if self._now:
            self._now[0].step()
            self._tell()

    def close(self) -> None:
        """End what goes on, and refuse the rest: the job ends."""
        self.closed = True
        if self._now:
            self._now[0].close()
            self._tell()
        self._refuse()

    def _refuse(self) -> None:
        while self._asked:
            ended = DeviceFault("the job has ended meanwhile", "see: uspnet stats")
            self._asked.popleft().end(None, ended)

    def _tell(self) -> None:
        if self._now and self._now[0].over():
            upgrade, request = self._now
            self._now = None
            self.count += upgrade.result is not None
            self.crew.notice(summary(upgrade))
            request.end(upgrade.result, upgrade.error)
