# SPDX-License-Identifier: Apache-2.0
"""What the loops of a running job decide by is set anew: the rules of `fwd --mode filter`, the
routes of `--mode route`.

The new tables are made beside those that loops use, by a thread of their own; if anything is wrong
in them, nothing happens. Then all loops pause between two rounds, get the new ones, and go on:
those in a process of their own in another one, as after an upgrade, since in its sandbox a process
can't map the machine code that filters are made of.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from uspnet.answer import Answer
from uspnet.errors import DeviceFault, DeviceTimeout, NoMemory, NotSupported, UspnetError
from uspnet.fastpath import c, ffi
from uspnet.jobs import turns
from uspnet.process.server import ForkServer
from uspnet.process.worker import WorkerProcess
from uspnet.text import printable

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew

TableName = Literal["rules", "routes"]
NOTICES_MAX, NOTICE_MAX = 20, 400  # of an answer, and characters of each


@dataclass(frozen=True, kw_only=True)
class Changed(Answer):
    """What `fwd --set-rules` or `--set-routes` has done."""

    pid: int
    """Process id of the job."""
    table: TableName
    """What was set: its rules, or its routes."""
    entries: int
    """How many it has now; of rules, with the last `pass` for what no rule accepts."""
    before: int
    """How many there were until then."""
    gap_us: float | None
    """Microseconds from the request to pause to the first round of the last loop with the new ones;
    null: no loop ran, since the job waits for a peer, or its run is over."""
    dropped: int
    """Packets that the job dropped in that time, for any reason."""
    notices: list[str]
    """What is odd about them, such as rules that no packet can reach."""


@dataclass(frozen=True)
class Wanted:
    """What is to be set: the text of a file, and its name, for messages. `text` is None: what the
    job itself has found out, and does not tell.
    """

    table: TableName
    name: str
    text: str | None


@dataclass(frozen=True)
class Staged:
    """New tables of one loop, which it does not use yet. `loop`: its struct; `structs`: those of
    the tables. `put` has the loop use them: it pauses. It returns what it used before, which may be
    freed once it runs again.
    """

    loop: c.CData
    structs: Sequence[c.CData]
    put: Callable[[], object]


@dataclass(frozen=True)
class Prepared:
    """New tables for all loops of a job. `put`: as of `Staged`, for what the job itself knows."""

    loops: Sequence[Staged]
    entries: int
    before: int
    notices: Sequence[str]
    put: Callable[[], object]

    def put_all(self) -> list[object]:
        """Have all loops use them."""
        return [*[loop.put() for loop in self.loops], self.put()]

    def structs(self) -> list[c.CData]:
        """Return all structs of the tables."""
        return [each for loop in self.loops for each in loop.structs]

    def places(self) -> set[int]:
        """Return the addresses of all structs that are new, or written by `put_all`."""
        loops = [loop.loop for loop in self.loops]
        return {int(ffi.cast("uintptr_t", each)) for each in (*loops, *self.structs())}


def nothing_to_set(wanted: Wanted) -> Prepared:
    """Refuse: what a job does that has no tables. Raises NotSupported."""
    raise NotSupported(f"this job has no {wanted.table}", "see: uspnet stats --once")


class Change:
    """One such change. `prepare` makes the tables, and raises what is wrong in the text. Raises
    NoMemory.

    `step` is called again and again, by the thread that waits for the job, until `over`.
    """

    old = None  # nothing is on trial: as for `Upgrade`

    def __init__(self, crew: Crew, wanted: Wanted, prepare: Callable[[Wanted], Prepared]) -> None:
        self.crew, self.wanted = crew, wanted
        self.result: Changed | None = None
        self.error: UspnetError | None = None
        self._prepared: Prepared | None = None
        self._wrong: UspnetError | None = None
        self._thread = threading.Thread(target=self._prepare, args=(prepare,), daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            raise NoMemory("no thread can be had", "see: ulimit -u, ulimit -v") from None

    def _prepare(self, prepare: Callable[[Wanted], Prepared]) -> None:
        """Make the tables, in a thread of its own."""
        try:
            self._prepared = prepare(self.wanted)
        except UspnetError as error:
            self._wrong = error
        except MemoryError:
            self._wrong = NoMemory(f"no memory for these {self.wanted.table}", "give fewer")

    def over(self) -> bool:
        """Return whether it has succeeded or failed."""
        return bool(self.result or self.error)

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `step` has something to do: none."""
        return []

    def step(self) -> None:
        """Go on, as far as that takes no time."""
        if self.over() or self._thread.is_alive():
            return
        try:
            if not self._prepared:
                fault = DeviceFault("the job could not make the tables", "report that")
                raise self._wrong or fault
            self._set(self._prepared)
        except UspnetError as error:
            self.error = error

    def close(self) -> None:
        """End it: the job has ended."""
        if not self.over():
            self.error = DeviceFault("the job has ended meanwhile", "see: uspnet stats")

    def _set(self, made: Prepared) -> None:
        process = self.crew.process
        gap_us, dropped = self._by_another(process, made) if process else self._here(made)
        self.result = Changed(
            command="fwd",
            pid=os.getpid(),
            table=self.wanted.table,
            entries=made.entries,
            before=made.before,
            gap_us=gap_us,
            dropped=dropped,
            notices=[printable(each, NOTICE_MAX) for each in made.notices[:NOTICES_MAX]],
        )

    def _here(self, made: Prepared) -> tuple[float | None, int]:
        """Have loops in threads of this process go by them, or such as are yet to begin. Return
        the gap, and what was dropped in it.
        """
        began, before = time.monotonic_ns(), self.crew.dropped()
        with contextlib.ExitStack() as resume:
            self.crew.pause(resume)
            rounds = turns.rounds(self.crew)
            former = made.put_all()
        turns.wait_for_rounds(rounds)
        gap_us = (time.monotonic_ns() - began) / 1000 if rounds else None
        del former
        return gap_us, self.crew.dropped() - before

    def _by_another(self, old: WorkerProcess, made: Prepared) -> tuple[float | None, int]:
        """Have loops go by them in a new worker process. Return as `_here` does."""
        new = self._loaded(old, made)
        try:
            pointers = new.pointers()
            began, before = time.monotonic_ns(), self.crew.dropped()
            turns.pause(self.crew, old)
            try:
                if _may_signal(old):
                    old.halt()
                self.crew.adopt(new, new.server, old)
            except UspnetError:
                turns.resume(self.crew)
                raise
        except UspnetError:
            new.close()
            raise
        rounds = turns.rounds(self.crew)
        self.crew.kept.restore(made.places())
        former = made.put_all()
        new.set_pointers(pointers)
        self.crew.kept.renew(made.places())
        turns.go_on_in(self.crew, new)
        turns.wait_for_rounds(rounds)
        gap_us = (time.monotonic_ns() - began) / 1000 if rounds else None
        dropped = self.crew.dropped() - before
        _end(old)
        del former
        return gap_us, dropped

    def _loaded(self, old: WorkerProcess, made: Prepared) -> WorkerProcess:
        """Return another worker process of the same version, which has what the old one has, and
        the tables. Raises DeviceFault, NotSupported.
        """
        new = self.crew.make(self._server())
        new.reach = (old.reach or old.look()).with_these(made.structs())
        try:
            new.load()
            self.crew.check_sandbox(new)
        except UspnetError:
            new.close()
            raise
        return new

    def _server(self) -> ForkServer:
        if server := self.crew.forks.working():
            return server
        raise NotSupported("nothing can fork another worker process", turns.AGAIN)


def _may_signal(process: WorkerProcess) -> bool:
    """Return whether we may: another user's takes a capability that not every root has."""
    try:
        signal.pidfd_send_signal(process.pidfd, 0)
    except ProcessLookupError:
        pass  # it has ended
    except PermissionError:
        return False
    return True


def _end(process: WorkerProcess) -> None:
    """End a process whose loops go on in another one, whatever it does."""
    if _may_signal(process):
        with contextlib.suppress(DeviceTimeout):
            process.kill()
    process.close()
