# SPDX-License-Identifier: Apache-2.0
"""Pacing: each worker's part of a shape, as C plays it, and how well it was kept."""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.fastpath import lib
from uspnet.jobs.choices import COUNT_MAX
from uspnet.jobs.histogram import percentiles
from uspnet.jobs.punctual import Pacing
from uspnet.memory import new
from uspnet.packets.fields.program import mix, seed_for
from uspnet.packets.shape import ROUNDING, Shape

ANY_NUMBER = (1 << 64) - 1


class Pace:
    """The `struct pace` of one worker, of `workers` that play a shape together."""

    def __init__(self, shape: Shape, number: int, workers: int) -> None:
        self.shape = shape
        self.late = new("uint64_t[]", lib.HISTOGRAM_SLOTS)
        self._steps = new("struct pace_step[]", len(shape.rates))
        self.c = new("struct pace *")
        self.c.late, self.c.steps, self.c.n_steps = self.late, self._steps, len(shape.rates)
        self.c.size, self.c.poisson = shape.burst, shape.poisson
        self.c.number, self.c.n_workers = number, workers
        self.c.seed = mix(seed_for("gaps", shape.seed) + number)
        self.c.at = lib.PACE_TABLE

    def play(self, shape: Shape, seconds: float) -> None:
        """Set the rates, as many as there were, and the end: `seconds`, or 0 for none. No loop runs
        yet.
        """
        self.shape = shape
        parts = zip(shape.begins(), shape.rates, shape.before(), strict=True)
        for step, (begins, rate, before) in zip(self._steps, parts, strict=True):
            step.begins, step.rate = begins, rate
            step.before = min(int(before + ROUNDING), COUNT_MAX)
            step.carry = min(max(before - step.before, 0.0), 1.0)
        self.c.seconds = seconds
        self.c.total = ANY_NUMBER
        if seconds and not shape.poisson:
            self.c.total = min(shape.whole(seconds), COUNT_MAX)

    def pass_over(self, ticks: int) -> None:
        """Have a time not count in which the loop paused."""
        self.c.looked += ticks
        self.c.wall += ticks

    def resume(self, taken: int, elapsed: int, *, skip: bool) -> int:
        """Have another process go on: `taken` packets were taken from it, `elapsed` ticks after the
        start. Return how many are taken or, with `skip`, passed over because they are due.
        """
        return int(lib.pace_resume(self.c, taken, elapsed, skip))


def pacing(
    paces: Sequence[Pace], hz: int, sent: int, elapsed: float, most: int = COUNT_MAX
) -> Pacing:
    """Return how well workers kept their shape. `hz`: ticks a second; `elapsed`: seconds; `most`:
    packets that are due at most.
    """
    structs = [each.c for each in paces]
    counts = [sum(slot) for slot in zip(*(each.late for each in paces), strict=True)]
    asked_s = min(elapsed, paces[0].c.seconds or elapsed)  # nothing is asked for after the end
    due = min(paces[0].shape.packets(asked_s), most)
    away = sum(max(int(c.passed_ns) - int(c.worked_ns), 0) for c in structs)
    over_s = asked_s - paces[0].shape.start if due < most else 0.0
    return Pacing(
        asked_pps=due / over_s if over_s > 0 else paces[0].shape.rates[0],
        error_percent=100 * (sent / due - 1) if due else None,
        late_ns=percentiles(counts, 1e9 / hz) if hz else None,
        stalls=sum(int(c.stalls) for c in structs),
        stalled_s=sum(int(c.stalled) for c in structs) / hz if hz else 0.0,
        longest_stall_s=max(int(c.longest) for c in structs) / hz if hz else 0.0,
        not_running_s=away / 1e9,
    )
