# SPDX-License-Identifier: Apache-2.0
"""Notices a loop that hangs: it begins no round for a second, though it could."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from uspnet.fastpath import c

HANG_S = 1.0
BUSY_S = 0.5  # CPU time spent in one round; a thread that gets none doesn't hang
BLOCKED = "DSTX"  # in /proc: waits, sleeps, was stopped, is gone; not stopped by a debugger
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class _Look:
    rounds: int
    at: float
    cpu: float


class Pulse:
    """Watches the loops of one worker process. `patience`: seconds for which a call of a ring may
    block.
    """

    def __init__(self, pid: int, patience: float) -> None:
        self.pid, self.limit = pid, HANG_S + patience
        self._looks: dict[int, _Look] = {}  # by thread

    def hangs(self, worker: c.Worker, thread: int, *, pausing: bool = False) -> bool:
        """Return whether a worker, which runs in this thread, hangs. Called again and again.
        `pausing`: it was asked to pause, whatever its struct says.
        """
        last, now = self._looks.get(thread), time.monotonic()
        if pausing or not last or last.rounds != worker.rounds:
            self._looks[thread] = _Look(int(worker.rounds), now, -1.0)
            return False
        if last.cpu < 0:  # twice the same: from now on it is worth a closer look
            last.at, last.cpu = now, self._thread(thread)[1]
        if now - last.at < self.limit:
            return False
        state, cpu = self._thread(thread)
        return state in BLOCKED or cpu - last.cpu >= BUSY_S

    def _thread(self, thread: int) -> tuple[str, float]:
        """Return the state of a thread and the CPU time in seconds that it has used."""
        try:
            with open(f"/proc/{self.pid}/task/{thread}/stat") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            return "X", 0.0  # it has ended
        return words[0], (int(words[11]) + int(words[12])) * TICK_S
