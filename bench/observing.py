# SPDX-License-Identifier: Apache-2.0
"""Workers whose loops valgrind looks at, and how it is told when: see instructions.py."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, cast

from lab import BenchError

if TYPE_CHECKING:
    from uspnet.port import Port

BURST = 32  # packets


def make_worker(rx: Any, tx: Any, stack: Any) -> Any:
    """Make a worker with one lane, as a job does."""
    from uspnet.jobs.loops import Forward  # noqa: PLC0415
    from uspnet.jobs.worker import Lane, Worker  # noqa: PLC0415
    from uspnet.port import Queue  # noqa: PLC0415

    nobody = cast("Port", None)
    lane = Lane(Queue(nobody, "rx", 0, rx), [Queue(nobody, "tx", 0, tx)])
    return prepared(Worker(Forward(), [lane], stack))


def prepared(worker: Any) -> Any:
    """Return a worker that polls without end, which valgrind observes from now on."""
    from uspnet.fastpath import lib  # noqa: PLC0415

    worker.c.poll, worker.c.burst = lib.POLL_BUSY, BURST
    observe()
    return worker


def observe() -> None:
    """Have valgrind look at what follows: a loop. Until now, it has run this process unseen."""
    ask_valgrind("instrumentation", "on")


def ask_valgrind(*words: str) -> None:
    """Have the valgrind that runs this process do something."""
    command = ["vgdb", f"--pid={os.getpid()}", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as asked:
        while asked.poll() is None:
            pass  # it looks for requests while code runs: nobody has to trace this process
        if asked.returncode and asked.stderr:
            raise BenchError(f"vgdb: {asked.stderr.read().decode()[-500:]}")
