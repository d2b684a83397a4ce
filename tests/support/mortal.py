# SPDX-License-Identifier: Apache-2.0
"""Jobs whose loops run in a forked process, which the test kills and replaces."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.waiting import moments, scaled, until
from uspnet import memory
from uspnet.jobs.job import Job
from uspnet.jobs.recovery import recover
from uspnet.jobs.worker import Worker


class Seat:
    """What a worker has instead of a thread: its place in the process."""

    ident = None

    def __init__(self, life: Mortal, worker: Worker) -> None:
        self.life, self.worker = life, worker
        self.taken = False

    def start(self) -> None:
        self.taken = True

    def is_alive(self) -> bool:
        return bool(self.taken and not self.worker.c.end and self.life.alive())

    def join(self, timeout: float | None = None) -> None:
        end = time.monotonic() + (timeout or 0)
        while self.is_alive() and time.monotonic() < end:
            time.sleep(0.0005)


class Mortal:
    """A started job. `live` runs its workers for a while, or until they end."""

    def __init__(self, job: Job[Any]) -> None:
        self.job, self.pid = job, 0
        self.lost = self.kills = 0
        set_up = job.set_up
        job.set_up = lambda: (set_up(), self._seat())  # type: ignore[method-assign]
        job.start()

    def _seat(self) -> None:
        for worker in self.job.workers:
            worker.thread = Seat(self, worker)  # type: ignore[assignment]

    def alive(self) -> bool:
        """Whether the process runs; a process that has ended by itself has run all workers."""
        if self.pid:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            assert status == 0, f"the process died by itself: {status}"
            self.pid = 0 if ended else self.pid
        return bool(self.pid)

    def begin(self) -> None:
        """Forks a process for the workers that have been started."""
        workers = [worker for worker in self.job.workers if worker.thread.taken]
        loops = [worker.loop for worker in workers if not worker.c.end]
        hidden = list(memory._ours)
        memory._ours.clear()  # the child shares all memory with us
        try:
            self.pid = os.fork()
        finally:
            memory._ours.update(hidden)
        if self.pid:
            return
        try:
            threads = [threading.Thread(target=loop.run) for loop in loops]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            os._exit(0)

    def kill(self) -> None:
        """Kills the process, and makes whole what it has left."""
        if not self.alive():
            return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid, self.kills = 0, self.kills + 1
        self.recover()

    def recover(self) -> None:
        """What a job does after the death of its workers."""
        job = self.job
        self.lost += recover(job.pool, job.ports, job.workers, job.budget, job.limits.count)
        conserved(job)

    def live(self, seconds: float) -> bool:
        """Runs a process for `seconds`, then kills it. Returns whether it was over before."""
        self.begin()
        over = self.job.wait(timeout=seconds)
        if not over:
            self.kill()
        return over

    def live_until(self, true: Callable[[], object]) -> None:
        """Runs a process again and again until `true()` is: a busy machine may start each late."""
        for _ in moments(10):
            if true():
                return
            self.live(0.01)

    def end(self) -> Any:
        """Runs it until it ends, and returns the result."""
        self.begin()
        assert self.job.wait(timeout=scaled(30))
        return self.job.result()

    def stop(self) -> Any:
        """Stops it once packets have moved, and returns the result: on a busy machine, no life
        before may have been long enough for a first one.
        """
        if not self.alive():
            self.begin()
        until(lambda: self.job.wait(timeout=0.001) or self.moved())
        self.job.stop(hurry=True)
        assert self.job.wait(timeout=scaled(30))
        return self.job.result()

    def moved(self) -> bool:
        """Whether the counters of a port know a packet."""
        return any(row.rx_packets or row.tx_packets for row in self.job.port_rows())

    def close(self) -> None:
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def conserved(job: Job[Any]) -> None:
    """Each of the pool's buffers is free, or in one ring."""
    for share in job.pool._shares:
        free = list(share.stack.free[0 : share.stack.top])
        assert len(set(free)) == len(free) <= share.count
        assert all(share.first <= index < share.first + share.count for index in free)
