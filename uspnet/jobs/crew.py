# SPDX-License-Identifier: Apache-2.0
"""Where a job's workers run: in threads of this process, or in a process of their own, which is
replaced when it ends before its loops have ended, or hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from uspnet.errors import DeviceFault
from uspnet.fastpath import lib
from uspnet.jobs.plan import Limits
from uspnet.jobs.pulse import Pulse
from uspnet.jobs.worker import Worker
from uspnet.port import Port
from uspnet.process.server import ForkServer
from uspnet.process.worker import Task, WorkerProcess


class Crew:
    """The worker process of a job, if it has one."""

    def __init__(self, limits: Limits, ports: Sequence[Port]) -> None:
        # AddressSanitizer checks what lies on the heap, which no other process can map.
        self.wanted = limits.process and not lib.built_with_asan()
        self.limits, self.ports = limits, ports
        self.server: ForkServer | None = None
        self.process: WorkerProcess | None = None
        self.pulse: Pulse | None = None
        self.restarts = 0
        self.workers: Sequence[Worker] = ()
        self.recover: Callable[[], int] = lambda: 0
        self.notice: Callable[[str], None] = lambda _text: None

    def open(self) -> None:
        """Begin to start what forks the worker process. Raises NotSupported."""
        if self.wanted:
            self.server = ForkServer()

    def launch(
        self,
        workers: Sequence[Worker],
        recover: Callable[[], int],
        notice: Callable[[str], None],
    ) -> None:
        """Make the worker process for these workers, which then start one by one. `recover` makes
        everything whole that a process has left, and returns how many packets may be lost; `notice`
        tells people. Raises DeviceFault.
        """
        self.workers, self.recover, self.notice = workers, recover, notice
        if self.server:
            self._make(self.server)

    def _make(self, server: ForkServer) -> None:
        """Make a worker process; another one if it ends meanwhile."""
        tasks = [Task(w.c, w.loop.name, w.core, [w.loop.c, *w.structs()]) for w in self.workers]
        while True:
            self.process = process = WorkerProcess(server, tasks, self.restarts + 1)
            threading.Thread(target=self._watch, args=(process,), daemon=True).start()
            try:
                process.load()
                break
            except DeviceFault:
                if not process.dead() or self.restarts >= self.limits.restart:
                    raise
            self.restarts += 1
            process.close()
        process.point()
        self.pulse = Pulse(process.pid, max(port.patience_s for port in self.ports))
        for worker in self.workers:
            worker.process = process

    def _watch(self, process: WorkerProcess) -> None:
        """Have devices access no memory as soon as their rings have no owner any more. A thread of
        its own does this, since the one that waits for the job may be busy.
        """
        process.wait()
        if self.process is process:
            self._quiet()

    def _quiet(self) -> None:
        for port in self.ports:
            port.quiet()

    def follow(self) -> None:
        """Let the worker process have what ports have changed. All workers pause."""
        if not self.process or self.process.dead():
            return
        try:
            self.process.follow()
        except DeviceFault:
            if not self.process.dead():  # otherwise `check` makes a new one
                raise

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `check` has something to do."""
        return [self.process.pidfd] if self.process and self.process.status is None else []

    def check(self) -> None:
        """Replace a worker process that has ended or hangs. Raises DeviceFault when that has
        happened too often.
        """
        process = self.process
        if not process or all(worker.over() for worker in self.workers):
            return
        why = "it hung" if self._hangs(process) else ""
        if why and self.server:
            self.server.kill()
            process.wait()
        if cause := process.cause():
            self._replace(process, why or cause)

    def _hangs(self, process: WorkerProcess) -> bool:
        return any(
            self.pulse and worker.running() and self.pulse.hangs(worker.c, hand.id)
            for worker, hand in zip(self.workers, process.hands, strict=True)
        )

    def _replace(self, process: WorkerProcess, why: str) -> None:
        if self.restarts >= self.limits.restart or not self.server:
            hint = f"allow more than {self.limits.restart} of them: --restart N; see: dmesg"
            raise DeviceFault(f"the worker process has ended: {why}", hint)
        self._quiet()
        lost = self.recover()
        self.restarts += 1
        process.close()
        self._make(self.server)
        for worker in self.workers:
            if worker.started and not worker.over():
                worker.start()
        self.notice(
            f"the worker process has ended: {why}; a new one goes on, {lost:,} packets may be lost"
        )

    def end(self) -> None:
        """End the worker process, whose loops have ended."""
        if self.process:
            process, self.process = self.process, None
            process.close()

    def close(self) -> None:
        """End what forks worker processes."""
        if self.server:
            self.server.close()
            self.server = None
