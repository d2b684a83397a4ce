# SPDX-License-Identifier: Apache-2.0
"""Where a job's workers run: in threads of this process, or in a process of their own, which is
replaced when it ends before its loops have ended, or hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress

from uspnet.errors import DeviceFault, NotSupported, Usage, UspnetError
from uspnet.fastpath import c, lib
from uspnet.jobs.choices import Sandbox
from uspnet.jobs.confining import calls_of, check_complete
from uspnet.jobs.control import Control
from uspnet.jobs.forks import Forks
from uspnet.jobs.plan import Limits
from uspnet.jobs.pulse import Pulse
from uspnet.jobs.upgrades import Upgrades
from uspnet.jobs.watching import Watches
from uspnet.jobs.worker import Worker
from uspnet.memory import Data
from uspnet.port import Port
from uspnet.process import early
from uspnet.process.kept import Kept
from uspnet.process.server import END_S, ForkServer
from uspnet.process.successor import Successor
from uspnet.process.worker import Task, WorkerProcess
from uspnet.sandbox.available import available
from uspnet.sandbox.enforced import Enforced
from uspnet.system import kept
from uspnet.system.privileges import NONE, Capabilities, to_end


class Crew:
    """The worker process of a job, if it has one."""

    def __init__(self, limits: Limits, ports: Sequence[Port]) -> None:
        # AddressSanitizer checks what lies on the heap, which no other process can map.
        self.wanted = limits.process and not lib.built_with_asan()
        self.limits, self.ports = limits, ports
        self.sandbox = Sandbox(limits.sandbox)
        self.calls: frozenset[str] | None = None  # that it may make; None: all
        self.enforced: Enforced | None = None  # on the worker process
        self.server: ForkServer | None = None
        self.process: WorkerProcess | None = None
        self.pulse: Pulse | None = None
        self.kept = Kept()
        self.failed = False  # for good: ports are yet to be stopped
        self.restarts = self.turns = 0
        self._lock = threading.Lock()  # of what the watching threads do
        self.upgrades = Upgrades(self)
        self.forks = Forks(self)
        self.control: Control | None = None
        self.former: kept.State | None = None  # what the version before has left
        self.opened_s = self.waited_s = 0.0  # from `open` to `launch`, without the wait for peers
        self.workers: Sequence[Worker] = ()
        self.recover: Callable[[], int] = lambda: 0
        self.notice: Callable[[str], None] = lambda _text: None
        # Writes on the board how often loops were upgraded and restarted, and their sandbox.
        self.tell: Callable[[int, int, Enforced | None], None] = lambda *_: None

    def open(self) -> None:
        """Begin to start what forks the worker process. Raises NotSupported; Usage when a sandbox
        is required without such a process.
        """
        if self.sandbox is Sandbox.require:
            if not self.wanted:
                text = "the loops would run in this process, which is in no sandbox"
                raise Usage(text, "drop --in-process, or --sandbox=require")
            check_complete(available())
        self._opening = time.monotonic()
        self.upgrades.open()
        if self.limits.control:
            self.former = kept.former()
            self.upgrades.count = self.former.upgrades if self.former else 0
            self.control = Control(self.upgrades, Watches(self), self.limits.control_path)
        if self.wanted:
            before = Successor.kept(self.former) if self.former else None
            self.server = before or early.server()

    def keeps(self) -> Capabilities:
        """Return what it takes to have the worker process, another user's, killed by the kernel
        when this process ends: it is also asked for then; and to remove `control`'s path.
        """
        path = self.control.keeps() if self.control else NONE
        return to_end(self.server.user) | path if self.server else path

    def launch(self, workers: Sequence[Worker], recover: Callable[[], int]) -> None:
        """Make the worker process for these workers, which then start one by one. `recover` makes
        everything whole that a process has left, and returns how many packets may be lost. Raises
        DeviceFault, NotSupported.
        """
        self.workers, self.recover = workers, recover
        self.opened_s = time.monotonic() - self._opening - self.waited_s
        if self.sandbox is not Sandbox.off:
            self.calls = calls_of(self.ports)
        if self.control and self.control.trouble:
            self.notice(self.control.trouble)
        if self.server:
            self._make_by(self.server)

    def make(self, server: ForkServer) -> WorkerProcess:
        """Make a worker process, which is yet to be loaded."""
        tasks = [Task(w.c, w.loop.name, w.core, [w.loop.c, *w.structs()]) for w in self.workers]
        self.turns += 1
        process = WorkerProcess(server, tasks, self.turns, self._lent, self.calls)
        process.begin_watch(self._watch)
        return process

    def _lent(self) -> set[int]:
        """Return the descriptors that loops use, as the ports have them now."""
        ports = {fd for port in self.ports for fd in port.descriptors()}
        return ports | {worker.bell.fd for worker in self.workers}

    def adopt(
        self, process: WorkerProcess, server: ForkServer, before: WorkerProcess | None = None
    ) -> None:
        """Have the workers run in this process, instead of `before`. Raises DeviceFault if that has
        ended.
        """
        with self._lock:
            if before and before.dead():  # and devices are quiet, or will be
                raise DeviceFault("the worker process has ended meanwhile", "see: uspnet stats")
            self.process, self.server, self.enforced = process, server, process.enforced
            process.quieted = False
        self.pulse = Pulse(process.pid, max(port.patience_s for port in self.ports))
        for worker in self.workers:
            worker.process = process

    def check_sandbox(self, process: WorkerProcess) -> None:
        """Raise NotSupported when a loaded process, which has not ended, lacks what is required."""
        if process.enforced and self.sandbox is Sandbox.require and not process.dead():
            check_complete(process.enforced)

    def _make(self, server: ForkServer) -> None:
        """Make a worker process; another one if it ends meanwhile."""
        while True:
            self.process = process = self.make(server)
            try:
                process.load()
                break
            except DeviceFault:
                if not process.dead() or self.restarts >= self.limits.restart:
                    raise
            self.restarts += 1
            process.close()
        self.check_sandbox(process)
        process.point()
        self.keep()
        self.adopt(process, server)

    def _make_by(self, server: ForkServer) -> None:
        """Make a worker process; by another fork server if this one was killed with the last."""
        try:
            self._make(server)
        except NotSupported:
            other = self.forks.working() if server.dead(END_S) else server
            if not other or other is server:
                raise
            self._make(other)

    def keep(self) -> None:
        """Keep what the structs hold, which a worker process may overwrite. None runs loops now."""
        if self.process:
            self.kept.record(self.process.look().addresses)

    def _watch(self, process: WorkerProcess) -> None:
        """Have devices access no memory as soon as their rings have no owner any more. A thread of
        its own does this, since the one that waits for the job may be busy.
        """
        process.watch()
        with self._lock:
            if self.process is process:
                self._quiet(process)

    def _quiet(self, process: WorkerProcess) -> None:
        """Have devices access no memory, once: afterwards they are started again."""
        if not process.quieted:
            process.quieted = True
            for port in self.ports:
                port.quiet()

    def pause(self, resume: ExitStack) -> None:
        """Pause all workers until `resume` is closed. Those whose process dies instead are replaced
        first: nobody may touch the queues and stacks that they have left.
        """
        seen: object = self  # none yet
        while seen is not self.process:
            seen = self.process
            for worker in self.workers:
                worker.pause()
                resume.callback(worker.resume)
            self.check()
        if self.process and not self.process.halted:
            self.process.halt()
            self.kept.restore()
            resume.callback(self._go_on, self.process)

    def _go_on(self, process: WorkerProcess) -> None:
        """End a pause in which ports may have changed structs."""
        if process.halted:
            self.keep()
            process.go_on()

    def follow(self) -> None:
        """Let the worker process have what ports have changed. All workers pause."""
        if not self.process or self.process.dead():
            return
        self.keep()
        try:
            self.process.follow()
        except DeviceFault:
            if not self.process.dead():  # otherwise `check` makes a new one
                raise

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `check` has something to do."""
        fds = [self.process.pidfd] if self.process and self.process.status is None else []
        fds += [*self.forks.fds(), *self.upgrades.fds()]
        return [*fds, *(self.control.fds() if self.control else ())]

    def serve(self) -> None:
        """Do what other threads and processes ask for."""
        self.forks.serve()
        if self.control:
            self.control.serve()
        self.upgrades.serve()
        self.tell(self.upgrades.count, self.restarts, self.enforced)

    def check(self) -> None:
        """Replace a worker process that has ended or hangs. Raises DeviceFault when that has
        happened too often.
        """
        process = self.process
        if not process or self.failed or all(worker.over() for worker in self.workers):
            return
        if self.upgrades.on_trial():
            self.upgrades.watch(process)
            return
        if why := self.failure(process):
            self._replace(process, why)

    def failure(self, process: WorkerProcess) -> str:
        """Return in words why the worker process has ended; empty while it runs. One that hangs is
        ended.
        """
        if not self._hangs(process):
            return process.cause()
        process.kill()
        return "it hung"

    def clean_up(self) -> int:
        """Make everything whole that a worker process has left. Return how many packets may be
        lost.
        """
        if self.process:
            with self._lock:
                self._quiet(self.process)
            self.kept.restore()
        try:
            return self.recover()
        except (ArithmeticError, LookupError, ValueError, TypeError) as error:
            text = f"the worker process has overwritten what it shares with the command: {error}"
            raise DeviceFault(text, "run it once more, and report that") from None
        finally:
            self.keep()

    def _hangs(self, process: WorkerProcess) -> bool:
        return any(
            worker.overdue()
            or (worker.running() and self.pulse.hangs(worker.c, thread, pausing=worker.pausing))
            for worker, thread in zip(self.workers, process.threads, strict=True)
            if self.pulse
        )

    def _replace(self, process: WorkerProcess, why: str) -> None:
        if self.restarts >= self.limits.restart or not (server := self.forks.working()):
            self.failed = True
            hint = f"allow more than {self.limits.restart} of them: --restart N; see: dmesg"
            text = f"the worker process has ended: {why}"
            if process.post.refused:
                text += f" to {', '.join(sorted({f'{port.scheme}:' for port in self.ports}))}"
                hint = "run it once more with --no-sandbox, and report the call"
            with suppress(UspnetError):
                self.clean_up()  # its packets are counted, and ports can be stopped
            raise DeviceFault(text, hint)
        lost = self.clean_up()
        self.restarts += 1
        process.close()
        try:
            self._make_by(server)
        except NotSupported as error:
            raise DeviceFault(f"the worker process has ended: {why}; {error}", error.hint) from None
        for worker in self.workers:
            if worker.started and not worker.over():
                worker.start()
        self.notice(
            f"the worker process has ended: {why}; a new one goes on, {lost:,} packets may be lost"
        )

    def own(self, struct: c.Struct, name: str) -> Data:
        """Return this process's own function for one that a struct may have of the worker's."""
        return self.process.own(struct, name) if self.process else getattr(struct, name)

    def dropped(self) -> int:
        """Return the packets that the workers' queues have dropped, for any reason."""
        queues = {queue for worker in self.workers for queue in worker.queues}
        return sum(sum(queue.counters.drops) for queue in queues)

    def notices(self) -> Iterator[str]:
        """Return what the user should know about the sandbox."""
        if self.enforced and self.sandbox is Sandbox.auto and self.enforced.missing:
            missing = ", ".join(self.enforced.missing)
            yield f"the sandbox of the loops lacks: {missing}; see: uspnet doctor"

    def details(self) -> Iterator[str]:
        """Return what is enforced on the worker process, for `-v`."""
        if self.process and self.enforced:
            yield f"worker process {self.process.pid}: {self.enforced}"

    def end(self) -> None:
        """End the worker process, whose loops have ended, and what goes on beside it."""
        self.upgrades.close()
        self.join()

    def join(self) -> None:
        """Wait for the loops and end the worker process. Ports follow pointers from here on."""
        for worker in self.workers:
            if worker.started:
                worker.join()
        if self.upgrades.on_trial():
            self.upgrades.close()  # the process before is there, too
        if self.process:
            process, self.process = self.process, None
            process.close()
            self.kept.restore()

    def close(self) -> None:
        """End what forks worker processes, and take no more orders."""
        self.upgrades.close()
        self.forks.close()
        if self.control:
            self.control.close()
            self.control = None
        if self.server:
            self.server.close()
            self.server = None
