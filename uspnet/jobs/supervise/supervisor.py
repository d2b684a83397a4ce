# SPDX-License-Identifier: Apache-2.0
"""run: starts jobs as processes, watches them, starts them again, and ends them in order.

One thread does it all: only the main thread may start children that end with it.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Sequence

from uspnet.answer import Json
from uspnet.errors import UspnetError
from uspnet.jobs.supervise.entry import Entry, Level
from uspnet.jobs.supervise.result import RunResult
from uspnet.jobs.supervise.supervised import Supervised
from uspnet.system.bell import Bell
from uspnet.system.notify import Notifier

SELF = "uspnet"  # whose lines in the log are no job's
LOOK_S, IDLE_S = 0.05, 0.5  # between two looks while jobs start, and else
HURRY_S = 3.0  # how long jobs may take to end after a second signal

Log = Callable[[Level, str, str], None]


class Supervisor:
    """Runs the jobs of a file. `reread` returns what the file says now; None: it can't be read
    again. `stop` and `reload` may be called by signal handlers.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        manager: Notifier,
        log: Log,
        reread: Callable[[], Sequence[Entry]] | None = None,
    ) -> None:
        self.manager, self.log, self.reread = manager, log, reread
        self.on_tick: Callable[[], None] = lambda: None
        self.on_result: Callable[[str, Json], None] = lambda _name, _result: None
        self.jobs = [self._job(entry) for entry in entries]
        self.order: list[Supervised] = []  # the last that was started at the end
        self.elapsed_s = 0.0
        self._stops = self._stops_seen = 0
        self._signal = signal.SIGTERM
        self._hung_up = False
        self._stuck: set[str] = set()
        self._bell = Bell()

    def _job(self, entry: Entry) -> Supervised:
        name = entry.name
        job = Supervised(entry, lambda level, text: self.log(level, name, text))
        job.on_result = lambda result: self.on_result(name, result)
        return job

    # -- for signal handlers ---------------------------------------------------------------------

    def stop(self, number: int) -> None:
        """End all jobs, one after the other; at once when called again."""
        self._signal = signal.Signals(number)
        self._stops += 1
        self.manager.stopping()
        self._bell.ring()

    def reload(self) -> None:
        """Read the file again, and do what it says now."""
        self._hung_up = True
        self._bell.ring()

    # -- run -------------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Run until all jobs have ended. Return their results; no process is left."""
        began = time.monotonic()
        try:
            while not self._step():
                self._wait()
        finally:
            for job in self.jobs:
                if job.child:
                    job.child.close()
            self.elapsed_s = time.monotonic() - began
            self.manager.stopping()
        return self.result()

    def result(self) -> RunResult:
        """Return what is to be said of the jobs, at the end or so far."""
        return RunResult(
            command="run",
            elapsed_s=self.elapsed_s,
            ended="signal" if self._stops else "jobs",
            jobs=tuple(job.outcome() for job in self.jobs),
        )

    def failure(self) -> UspnetError | None:
        """Return an error that names the jobs that failed; None: none did."""
        failed = [f"{job.entry.name}: {job.cause}" for job in self.jobs if job.state == "failed"]
        if not failed:
            return None
        count = f"{len(failed)} of {len(self.jobs)} job{'s' * (len(self.jobs) > 1)} failed"
        error = UspnetError(f"{count}: {failed[0]}", "see the job's lines above", failed[1:])
        error.partial = self.result().as_json()
        return error

    def _step(self) -> bool:
        """Do what is due. Return whether all is over."""
        now = time.monotonic()
        for job in self.jobs:
            job.check(now)
            job.look()
        if self._hung_up and not self._stops:
            self._hung_up = False
            self._read_again()
        self._heed_signals(now)
        self._end_jobs(now)
        self._start_jobs(now)
        self._tell_manager(now)
        self.on_tick()
        return all(job.is_over for job in self.jobs)

    def _wait(self) -> None:
        """Wait until there is something to do, or to look at."""
        poll = select.poll()
        poll.register(self._bell.fd, select.POLLIN)
        for job in self.jobs:
            for fd in job.child.descriptors() if job.child else ():
                poll.register(fd, select.POLLIN)
        busy = any(job.state in {"starting", "restarting", "stopping"} for job in self.jobs)
        timeout = LOOK_S if busy else IDLE_S
        poll.poll(min(timeout, self.manager.period or timeout) * 1000)
        self._bell.silence()

    def _start_jobs(self, now: float) -> None:
        """Start what may start: what it waits for is ready, or its restart is due."""
        named = {job.entry.name: job for job in self.jobs}
        for job in self.jobs:
            if job.is_ending:
                continue
            before = [named[name] for name in job.entry.after]
            if job.state == "waiting" and all(each.is_settled for each in before):
                failed = [each.entry.name for each in before if not each.was_ready]
                if failed:
                    job.fail(f"not started: {failed[0]} failed")
                else:
                    self._start(job, now)
            elif job.state == "restarting" and now >= job.due:
                self._start(job, now)

    def _start(self, job: Supervised, now: float) -> None:
        job.start(now)
        if job in self.order:
            self.order.remove(job)
        self.order.append(job)

    # -- end -------------------------------------------------------------------------------------

    def _heed_signals(self, now: float) -> None:
        """Begin to end all jobs at the first signal, hurry at the second, kill at the third."""
        if self._stops == self._stops_seen:
            return
        first, self._stops_seen = not self._stops_seen, self._stops
        running = [job for job in self.jobs if job.child]
        for job in self.jobs:
            job.is_ending, job.successor = True, None
        if first:
            count = f"{len(running)} job{'s' * (len(running) != 1)}"
            self.log(Level.info, SELF, f"{self._signal.name}: ending {count}")
        elif self._stops == 2:
            self.log(Level.warning, SELF, f"{self._signal.name} again: ending all at once")
        for job in running:
            if self._stops > 2:
                job.kill()
            elif self._stops == 2:
                job.ask_to_end(signal.SIGTERM, now, HURRY_S)

    def _end_jobs(self, now: float) -> None:
        """End the last started of those that are to end; the next when it has ended."""
        ending = [job for job in self.order if job.is_ending and job.child]
        if ending and ending[-1].state != "stopping":
            ending[-1].ask_to_end(self._signal, now)
        for job in [job for job in self.jobs if job.is_ending and not job.child]:
            if job.successor:
                job.replace(job.successor)
            elif job.is_removed and not self._stops:
                self.jobs.remove(job)
            elif not job.is_over:
                job.give_up()

    # -- a file that has changed -----------------------------------------------------------------

    def _read_again(self) -> None:
        """Read the file again. Jobs whose entry is another begin anew, new ones start, those that
        are gone end. A file that is wrong changes nothing.
        """
        if not self.reread:
            self.log(Level.warning, SELF, "SIGHUP: stdin can't be read again; nothing changes")
            return
        self.manager.reloading()
        try:
            entries = self.reread()
        except Exception as error:  # noqa: BLE001 - whatever it is, jobs that run go on
            self._refuse(error)
            return
        wanted = {entry.name: entry for entry in entries}
        changed = [job for job in self.jobs if self._differs(job, wanted)]
        known = {job.entry.name for job in self.jobs}
        new = [self._job(entry) for entry in entries if entry.name not in known]
        for job in changed:
            job.successor = wanted.get(job.entry.name)
            job.is_ending, job.is_removed = True, job.successor is None
        removed = sum(job.is_removed for job in changed)
        places = {name: place for place, name in enumerate(wanted)}
        self.jobs = sorted(self.jobs + new, key=lambda job: places.get(job.entry.name, -1))
        counts = f"{len(new)} new, {len(changed) - removed} changed, {removed} removed"
        self.log(Level.info, SELF, f"SIGHUP: read the file again: {counts}")

    def _differs(self, job: Supervised, wanted: dict[str, Entry]) -> bool:
        return job.is_ending or wanted.get(job.entry.name) != job.entry

    def _refuse(self, error: Exception) -> None:
        lines = error.lines if isinstance(error, UspnetError) else [str(error) or repr(error)]
        hint = getattr(error, "hint", "")
        for line in [*lines, *([f"hint: {hint}"] if hint else [])]:
            self.log(Level.error, SELF, line)
        self.log(Level.error, SELF, "SIGHUP: the file is wrong; all jobs go on as they were")

    # -- the service manager ---------------------------------------------------------------------

    def _tell_manager(self, now: float) -> None:
        """Tell the service manager how the jobs are. The watchdog is fed while no job is stuck.
        `now` is the monotonic time.
        """
        settled = all(job.is_settled and not job.is_ending for job in self.jobs)
        failed = all(job.state == "failed" for job in self.jobs)
        if settled and not failed and not self._stops:
            self.manager.ready()
        self.manager.status(self.status())
        stuck = {job.entry.name for job in self.jobs if job.is_stuck(now)}
        for name in sorted(stuck - self._stuck):
            self.log(Level.warning, name, "a thread has stopped; the watchdog is not fed")
        self._stuck = stuck
        if not stuck:
            self.manager.alive()

    def status(self) -> str:
        """Say in one line how the jobs are."""
        ready = sum(job.state == "ready" for job in self.jobs)
        others: dict[str, list[str]] = {}
        for job in self.jobs:
            if job.state != "ready":
                others.setdefault(job.state, []).append(job.entry.name)
        told = [f"{state}: {', '.join(names)}" for state, names in others.items()]
        return "; ".join([f"{ready} of {len(self.jobs)} jobs ready", *told])
