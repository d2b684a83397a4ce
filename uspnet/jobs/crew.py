# SPDX-License-Identifier: Apache-2.0
"""Where a job's workers run: in threads of this process, or in a process of their own."""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.errors import DeviceFault
from uspnet.fastpath import lib
from uspnet.jobs.plan import Limits
from uspnet.jobs.worker import Worker
from uspnet.process.server import ForkServer
from uspnet.process.worker import Task, WorkerProcess


class Crew:
    """The worker process of a job, if it has one."""

    def __init__(self, limits: Limits) -> None:
        # AddressSanitizer checks what lies on the heap, which no other process can map.
        self.wanted = limits.process and not lib.built_with_asan()
        self.server: ForkServer | None = None
        self.process: WorkerProcess | None = None
        self.workers: Sequence[Worker] = ()

    def open(self) -> None:
        """Begin to start what forks the worker process. Raises NotSupported."""
        if self.wanted:
            self.server = ForkServer()

    def launch(self, workers: Sequence[Worker]) -> None:
        """Make the worker process for these workers, which then start one by one. Raises
        DeviceFault.
        """
        self.workers = workers
        if not self.server:
            return
        tasks = [Task(w.c, w.loop.name, w.core, [w.loop.c, *w.structs()]) for w in workers]
        self.process = WorkerProcess(self.server, tasks, 1)
        self.process.load()
        self.process.point()
        for worker in workers:
            worker.process = self.process

    def follow(self) -> None:
        """Let the worker process have what ports have changed. All workers pause."""
        if self.process and not self.process.dead():
            self.process.follow()

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `check` has something to do."""
        return [self.process.pidfd] if self.process else []

    def check(self) -> None:
        """Raise DeviceFault when the worker process has ended."""
        if self.process and (cause := self.process.cause()):
            text = f"the worker process (process {self.process.pid}) is gone: {cause}"
            raise DeviceFault(text, "see: dmesg, coredumpctl")

    def end(self) -> None:
        """End the worker process, whose loops have ended."""
        if self.process:
            self.process.close()
            self.process = None

    def close(self) -> None:
        """End what forks worker processes."""
        if self.server:
            self.server.close()
            self.server = None
