# SPDX-License-Identifier: Apache-2.0
"""A job goes on as another version of the whole program, in the same process: cold.

While it runs, the other version says whether it can. Then the job ends as at its limits, with
`ended` being `upgrade`; descriptors that its ports hold stay open; and who runs it executes the
other version (`cli/again.py`), which finds them and the job's past in a state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uspnet import __version__
from uspnet.answer import Json
from uspnet.errors import DeviceFault, NoMemory, NotSupported, UspnetError
from uspnet.fastpath import lib
from uspnet.jobs.choices import Sandbox
from uspnet.jobs.turns import AGAIN
from uspnet.jobs.upgrade import Upgraded
from uspnet.process.successor import Successor
from uspnet.process.trial import Able, Trial
from uspnet.system import children
from uspnet.system.kept import ANEW, FDS_MAX, State

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew
    from uspnet.jobs.job import AnyJob
    from uspnet.jobs.result import Ended


@dataclass(frozen=True)
class Planned:
    """What a cold upgrade would do: the versions, and the gap that is to be expected."""

    before: str
    after: str
    expected_us: float

    def as_json(self) -> Json:
        """Return it as the job answers it."""
        return {"before": self.before, "after": self.after, "expected_us": self.expected_us}


class Cold:
    """One cold upgrade. `python`: the interpreter that has the other version, with its arguments;
    None: our own. `leave`: has the job end; None: it is only planned. `able`: what that version has
    said just now; None: it is asked. Raises NotSupported and Refused.

    `step` is called again and again, by the thread that waits for the job, until `over`.
    """

    old = None  # nothing is on trial: as for `Upgrade`

    def __init__(
        self,
        crew: Crew,
        python: Sequence[str] | None,
        leave: Callable[[], None] | None,
        able: Able | None = None,
    ) -> None:
        self.crew, self.python, self.leave = crew, python, leave
        self.result: Planned | Upgraded | None = None
        self.error: UspnetError | None = None
        self.departed = False
        self._expected_us = 0.0
        self._began_ns = self._dropped = 0
        self._fds: dict[str, int] = {}
        words = crew.limits.words
        if words is None:
            raise NotSupported("only commands can go on as another version", AGAIN)
        if crew.upgrades.changes:
            text = f"it goes by other {crew.upgrades.changed} than its command line has"
            raise NotSupported(text, f"start it anew with those {crew.upgrades.changed}")
        if crew.former and crew.former.full():
            text = f"its {len(crew.former.before):,} results before leave no room for more"
            raise NotSupported(text, ANEW)
        for port in crew.ports:
            port.held()
        self._words = words
        self.able, self.trial = able, None if able else Trial(python, words)
        self.successor: Successor | None = None

    def over(self) -> bool:
        """Return whether it has failed, or has been planned."""
        return bool(self.result or self.error)

    def leaving(self) -> bool:
        """Return whether the job is to end for it."""
        return bool(self._began_ns) and not self.over()

    def fds(self) -> list[int]:
        """Return the descriptor that becomes readable when `step` has something to do."""
        return self.trial.fds() if self.trial and not self.able and not self.over() else []

    def step(self) -> None:
        """Go on, as far as that takes no time."""
        if self.over() or self._began_ns:
            return
        try:
            if not self.able and self.trial and self.trial.ready():
                self.able = self.trial.result()
            if self.able and not self._expected_us:
                self._plan(self.able)
            if self._expected_us and self.leave and not self.over() and self._server_ready():
                self._leave(self.leave)
        except UspnetError as error:
            self._fail(error)

    def _server_ready(self) -> bool:
        """Return whether there is a fork server, where one is needed. Raises what says why not."""
        if not self.successor:
            return True
        if not self.successor.ready():
            return False
        self.successor.check_started()
        return True

    def _plan(self, able: Able) -> None:
        names = [port.name for port in self.crew.ports]
        if able.ports != names:
            text = f"uspnet {able.version} names this job's ports {', '.join(able.ports)}"
            raise NotSupported(text, ANEW)
        self._expected_us = 1e6 * (able.took_s + self.crew.opened_s)
        if self.leave and self.crew.server:
            self.successor = Successor(self.crew.server, self.python, checked=True)
            self._check_user(self.successor, self.crew.server.user)
        if not self.leave:
            self.result = Planned(__version__, able.version, self._expected_us)

    def _check_user(self, successor: Successor, user: int) -> None:
        """Raise NotSupported where the loops would lose their own user, and may not."""
        if self.crew.sandbox is Sandbox.require and user and not successor.user:
            text = f"user {user} of the loops can't reach {successor.program}"
            folder = Path(successor.program).parent.parent
            hint = f"let others read it: chmod -R o+rX {folder}, and its parents"
            raise NotSupported(f"{text}, and the sandbox is required", hint)

    def _leave(self, leave: Callable[[], None]) -> None:
        """Keep what is held, and have the job end."""
        held = self._held_by_ports()
        held |= self.crew.control.held() if self.crew.control else {}
        held |= self.successor.held() if self.successor else {}
        if len(held) > FDS_MAX:
            raise NotSupported(f"its ports hold {len(held):,} descriptors, too many", ANEW)
        try:
            for name, fd in held.items():
                self._fds[name] = os.dup(fd)
        except OSError as error:
            raise NoMemory(
                f"descriptors can't be kept: {error.strerror}", "see: ulimit -n"
            ) from None
        self._dropped, self._began_ns = self.crew.dropped(), time.monotonic_ns()
        leave()

    def _held_by_ports(self) -> dict[str, int]:
        """Return what all ports hold. Raises NotSupported where two ports have the same name for
        something of their own.
        """
        held: dict[str, int] = {}
        for port in self.crew.ports:
            for name, fd in port.held().items():
                if held.setdefault(name, fd) != fd:  # ports may share one
                    text = f"two of its ports hold {name}, of which one would be lost"
                    raise NotSupported(text, ANEW)
        return held

    def _fail(self, error: UspnetError) -> None:
        self.error = error
        if self.trial:
            self.trial.close()
        if self.successor:
            self.successor.abort()
        while self._fds:
            os.close(self._fds.popitem()[1])

    def has_ended(self, job: AnyJob) -> Ended | None:
        """Return which limit the job has reached meanwhile; None: it has to go on."""
        count, duration = job.limits.count, job.limits.duration
        if count is not None and job.claimed() >= count:
            return "count"
        # By a loop's own clock, which begins a little later, it has run for less.
        if any(worker.c.ending == lib.END_DEADLINE for worker in job.workers):
            return "duration"
        senders = [worker for worker in job.workers if worker not in job.receivers]
        if senders and all(worker.c.ending == lib.END_SOURCE for worker in senders):
            return "source"  # nothing more comes: the streams of a profile have all been sent
        return "duration" if duration is not None and job.elapsed() >= duration else None

    def hand_over(self, job: AnyJob) -> State:
        """Return the state with which the other version begins. The job has run to its end."""
        crew, count, duration = self.crew, job.limits.count, job.limits.duration
        result = {"uspnet": __version__, **job.result().as_json(), "before": []}
        for port in job.ports:
            port.stays = True
        if crew.control:
            crew.control.leave()
        self.departed = True
        return State(
            pid=os.getpid(),
            version=__version__,
            began_ns=self._began_ns,
            expected_us=self._expected_us,
            dropped=crew.dropped() - self._dropped,
            upgrades=crew.upgrades.count + 1,
            count=None if count is None else count - job.claimed(),
            duration=None if duration is None else duration - job.elapsed(),
            words=list(self._words),
            before=[*(crew.former.before if crew.former else ()), result],
            fds=self._fds,
            server=self.successor.facts() if self.successor else None,
        )

    def program(self) -> list[str]:
        """Return the program of the other version, without the job's command line."""
        return [*self.python, "-I", "-m", "uspnet"] if self.python else children.uspnet()

    def close(self) -> None:
        """End it: the job has ended."""
        if not self.departed and not self.over():
            self._fail(DeviceFault("the job has ended meanwhile", "see: uspnet stats"))
        elif self.departed and self.successor:
            self.successor.let_go()
