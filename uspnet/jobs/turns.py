# SPDX-License-Identifier: Apache-2.0
"""The loops of a crew go from one worker process to another, between two rounds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from uspnet.errors import DeviceFault, UspnetError
from uspnet.process.server import ForkServer
from uspnet.process.worker import WorkerProcess

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew
    from uspnet.jobs.worker import Worker

NAP_S = 20e-6
FIRST_ROUND_S = 1.0  # which a worker that is given no CPU may take
AGAIN = "see: uspnet stats, and try again"
Rounds = list[tuple["Worker", int]]  # of loops that run, how many they have begun


def pause(crew: Crew, old: WorkerProcess) -> None:
    """Have all loops pause, which run in this process. Raises DeviceFault if that has ended."""
    try:
        for worker in crew.workers:
            worker.pause()
        if old.dead():
            raise DeviceFault("the worker process has ended meanwhile", AGAIN)
    except UspnetError:
        resume(crew)
        raise


def resume(crew: Crew) -> None:
    """Have all loops go on."""
    for worker in crew.workers:
        worker.resume()


def turn_to(
    crew: Crew, process: WorkerProcess, server: ForkServer, before: WorkerProcess | None = None
) -> None:
    """Let a process run all loops that have begun and are not over. `before`: the one that has run
    them. Raises DeviceFault if that has ended.
    """
    crew.adopt(process, server, before)
    go_on_in(crew, process)


def go_on_in(crew: Crew, process: WorkerProcess) -> None:
    """Give a process, which is the crew's own by now, the turn."""
    for worker in crew.workers:
        if worker.started and not worker.over():
            worker.take_turn(process)
        worker.resume()


def rounds(crew: Crew) -> Rounds:
    """Return the loops that run, and how many rounds they have begun."""
    return [(worker, int(worker.c.rounds)) for worker in crew.workers if worker.running()]


def wait_for_rounds(before: Rounds) -> None:
    """Wait until each of these loops has begun another round, if it still runs."""
    end = time.monotonic() + FIRST_ROUND_S
    for worker, count in before:
        while worker.c.rounds == count and worker.running() and time.monotonic() < end:
            time.sleep(NAP_S)
