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
STARVED_S = 60.0  # for which one that gets no CPU is waited for
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Chance:
    """Decides when a thread has had its chance to do what it was asked for: `seconds` have passed,
    and it is blocked, or has got BUSY_S of CPU time meanwhile. One that waits for a CPU has not.
    """

    def __init__(self, pid: int, thread: int, seconds: float) -> None:
        self.pid, self.thread = pid, thread
        self._end = time.monotonic() + seconds
        self._cpu = state_of(pid, thread)[1]

    def had(self) -> bool:
        """Return whether it has."""
        passed = time.monotonic() - self._end
        if passed < 0:
            return False
        state, cpu = state_of(self.pid, self.thread)
        return state in BLOCKED or cpu - self._cpu >= BUSY_S or passed > STARVED_S


@dataclass
class _Look:
    rounds: int
    chance: Chance | None = None  # once it was seen twice


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
        last = self._looks.get(thread)
        if pausing or not last or last.rounds != worker.rounds:
            self._looks[thread] = _Look(int(worker.rounds))
            return False
        if not last.chance:  # from now on it is worth a closer look
            last.chance = Chance(self.pid, thread, self.limit)
        return last.chance.had()


def state_of(pid: int, thread: int) -> tuple[str, float]:
    """Return the state of a thread and the CPU time in seconds that it has used. What can't be seen
    (proc(5), hidepid) runs, without any.
    """
    try:
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return "X" if os.path.exists(f"/proc/{pid}") else "R", 0.0  # X: it has ended
    return words[0], (int(words[11]) + int(words[12])) * TICK_S
