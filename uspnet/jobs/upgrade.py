# SPDX-License-Identifier: Apache-2.0
"""The loops of a running job are replaced by those of another version, on the same memory.

The new worker process is made ready while the old one runs. Then all workers pause between two
rounds, function pointers are set to the new one's, and it gets the turn. For a while the old one
waits, and goes on if the new one fails.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from uspnet.answer import Answer
from uspnet.errors import DeviceFault, NotSupported, UspnetError
from uspnet.jobs import turns
from uspnet.jobs.turns import AGAIN
from uspnet.process.successor import Successor
from uspnet.process.worker import WorkerProcess

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew

TRIAL_S = 1.0  # for so long the old process can go on


@dataclass(frozen=True, kw_only=True)
class Upgraded(Answer):
    """What `upgrade` has done."""

    pid: int
    """Process id of the job."""
    before: str
    """The version of uspnet whose loops ran until then."""
    after: str
    """The version of uspnet whose loops run now."""
    kind: Literal["warm", "cold"]
    """`warm`: devices and peers noticed nothing. `cold`: the job's process has executed the other
    version."""
    gap_us: float | None
    """Microseconds from the request to pause, or of a cold one to stop, to the first round of the
    last new loop; null: none ran, since the job waits for a peer, or its run is over."""
    began: float | None
    """When the gap began, in seconds since 1970; null as `gap_us`."""
    expected_us: float | None
    """Microseconds of the gap that was to be expected of a cold one; null: warm."""
    dropped: int
    """Packets that the job dropped in that time, for any reason."""
    missing: list[str]
    """What the sandbox of the new loops does not enforce."""


class Upgrade:
    """One upgrade of the loops of a crew. `python`: the interpreter that has the other version,
    with its arguments; None: our own. Raises NotSupported.

    `step` is called again and again, by the thread that waits for the job, until `over`.
    """

    def __init__(self, crew: Crew, python: Sequence[str] | None, pid: int) -> None:
        if not crew.server:
            text = "the loops run in the process of the job itself, which can't be replaced"
            raise NotSupported(text, "start the job anew, without --in-process")
        self.crew, self.server, self.pid = crew, crew.server, pid
        self.result: Upgraded | None = None
        self.error: UspnetError | None = None
        self.successor = Successor(crew.server, python)
        self.old: WorkerProcess | None = None  # while the new one is on trial
        self._began = 0.0  # of the trial
        self._rounds: list[int] = []  # of each worker, in the first half of the trial
        self._gap_us: float | None = None
        self._gap_began: float | None = None
        self._dropped = 0

    def over(self) -> bool:
        """Return whether it has succeeded or failed."""
        return bool(self.result or self.error)

    def fds(self) -> list[int]:
        """Return the descriptor that becomes readable when `step` has something to do."""
        return [] if self.old or self.over() else [self.successor.fileno()]

    def step(self) -> None:
        """Go on, as far as that takes no time."""
        try:
            if self.over():
                return
            if self.old:
                self._watch(self.old)
            elif self.successor.ready():
                self.successor.greet()
                self._take_over()
        except UspnetError as error:
            self.error = error
            self.successor.abort()

    def close(self) -> None:
        """End it: the job has ended."""
        if self.old:
            self._succeed(self.old)
        elif not self.over():
            self.error = DeviceFault("the job has ended meanwhile", "see: uspnet stats")
            self.successor.abort()

    def _take_over(self) -> None:
        self.server = self.crew.server or self.server  # one that has ended may have been replaced
        if not self.crew.process:
            self.crew.server = self.successor
            self._succeed(None)
        else:
            self._swap(self.crew.process)

    def _swap(self, old: WorkerProcess) -> None:
        """Give the turn to a new process, and begin its trial."""
        new = self.crew.make(self.successor)
        new.reach = old.reach
        try:
            new.load()
            self.crew.check_sandbox(new)
            pointers = new.pointers()
            began, self._gap_began = time.monotonic_ns(), time.time()
            turns.pause(self.crew, old)
        except UspnetError:
            new.close()
            raise
        before, rounds = self.crew.dropped(), turns.rounds(self.crew)
        new.set_pointers(pointers)
        try:
            turns.turn_to(self.crew, new, self.successor, old)
        except UspnetError:
            turns.resume(self.crew)
            new.close()
            raise
        turns.wait_for_rounds(rounds)
        self._gap_us = (time.monotonic_ns() - began) / 1000 if rounds else None
        self._dropped = self.crew.dropped() - before
        old.halt()
        self.old, self._began = old, time.monotonic()

    def _watch(self, old: WorkerProcess) -> None:
        """Decide whether the trial is over, or has failed."""
        new, passed = self.crew.process, time.monotonic() - self._began
        if not new or all(worker.over() for worker in self.crew.workers):
            self._succeed(old)
        elif why := self.crew.failure(new):
            self._take_back(old, new, why)
        elif passed < TRIAL_S / 2 or not self._rounds:
            self._rounds = [int(worker.c.rounds) for worker in self.crew.workers]
        elif passed >= TRIAL_S and self._all_go_on():
            self._succeed(old)

    def _all_go_on(self) -> bool:
        return all(
            worker.c.rounds > before or not worker.running()
            for worker, before in zip(self.crew.workers, self._rounds, strict=True)
        )

    def _succeed(self, old: WorkerProcess | None) -> None:
        self.result = Upgraded(
            command="upgrade",
            pid=self.pid,
            before=self.server.version,
            after=self.successor.version,
            kind="warm",
            gap_us=self._gap_us,
            began=self._gap_began if self._gap_us is not None else None,
            expected_us=None,
            dropped=self._dropped,
            missing=self.crew.enforced.missing if self.crew.enforced else [],
        )
        self.old = None
        if old:
            old.close()
        self.successor.settle()
        self.server.close()

    def _take_back(self, old: WorkerProcess, new: WorkerProcess, why: str) -> None:
        """Let the old process go on, since the new one has ended."""
        self.old = None
        self.crew.adopt(old, self.server)
        try:
            lost = self.crew.clean_up()
            old.quieted = False
            old.follow()  # which lets it go on
            turns.turn_to(self.crew, old, self.server)
        finally:
            new.close()
        text = f"the new worker process of uspnet {self.successor.version} failed: {why}; the old"
        raise DeviceFault(f"{text} one goes on, and {lost:,} packets may be lost", AGAIN)
