# SPDX-License-Identifier: Apache-2.0
"""The shapes that rates have over time: one rate, a ramp of several, bursts, random gaps."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import accumulate

from uspnet import units
from uspnet.errors import Usage
from uspnet.units import Rate, Unreadable

RAMP_HINT = "write 1M:10M:1M/5s: from 1M to 10M packets a second, 1M more every 5 s"
LINK_BPS = 10e9  # where nobody says how fast a link is
STEPS_MAX = 10_000  # of a ramp
STEP_S = (1e-3, 1e6)  # seconds that each may take
BURST_MAX = 1 << 20  # packets
ROUNDING = 1e-6  # of a step of a ramp, or of a packet


@dataclass(frozen=True)
class Shape:
    """Packets a second, one rate after another for `seconds` each; the last one stays. Packets come
    in bursts of `burst`, evenly spaced or, with `poisson`, with exponential gaps drawn by `seed`.
    `percent`: the rates are for a link of LINK_BPS, to be scaled to that of the port. `start`:
    seconds after the start of the run at which the first rate begins. Raises Usage.
    """

    rates: tuple[float, ...]
    seconds: float = 0.0
    burst: int = 1
    poisson: bool = False
    seed: int = 1
    percent: bool = False
    start: float = 0.0

    def __post_init__(self) -> None:
        """Raise Usage for what can't be played."""
        if not self.rates or not all(0 < rate < float("inf") for rate in self.rates):
            raise Usage(f"rates={self.rates}", "packets a second, above 0, one or more")
        if len(self.rates) > 1 and not 0 < self.seconds < float("inf"):
            raise Usage(f"seconds={self.seconds}", "the time for which each rate stays, above 0")
        if not 1 <= self.burst <= BURST_MAX:
            raise Usage(f"burst={self.burst}", f"packets that are due at once, 1 to {BURST_MAX:,}")
        if self.poisson and len(self.rates) > 1:
            raise Usage("a Poisson process has one rate", "drop poisson, or all rates but one")

    def ramp(self) -> str | None:
        """Return several rates as `--ramp` takes them, in packets a second; None: there is one."""
        if len(self.rates) == 1:
            return None
        step = abs(self.rates[1] - self.rates[0])
        rates = (f"{rate:.10g}" for rate in (self.rates[0], self.rates[-1], step))
        return f"{':'.join(rates)}/{self.seconds:g}s"

    def scaled(self, factor: float) -> Shape:
        """Return the same with rates that are so many times as high."""
        return replace(self, rates=tuple(rate * factor for rate in self.rates), percent=False)

    def begins(self) -> tuple[float, ...]:
        """Return when each rate begins, in seconds after the start."""
        return tuple(self.start + number * self.seconds for number in range(len(self.rates)))

    def before(self) -> tuple[float, ...]:
        """Return how many packets are due before each rate begins: fractions count on."""
        sums = accumulate(self.rates[:-1], initial=0.0)
        return tuple(rates * self.seconds for rates in sums)

    def packets(self, seconds: float) -> float:
        """Return how many packets are due in so many seconds of the run: of a Poisson process, the
        mean.
        """
        seconds = max(seconds - self.start, 0.0)
        number = min(int(seconds / self.seconds), len(self.rates) - 1) if self.seconds else 0
        rest = seconds - number * self.seconds
        return self.before()[number] + self.rates[number] * rest

    def whole(self, seconds: float) -> int:
        """Return how many packets of whole bursts are due in so many seconds; not of a Poisson
        process.
        """
        packets = int(self.packets(seconds) + ROUNDING)
        return packets - packets % self.burst


@dataclass(frozen=True)
class Ramp:
    """Rates of one unit, one after another for `seconds` each."""

    rates: tuple[Rate, ...]
    seconds: float

    def duration(self) -> float:
        """Return how long all of them take, in seconds."""
        return len(self.rates) * self.seconds


def read_ramp(text: str) -> Ramp:
    """Read `FIRST:LAST:STEP/TIME`, rates as `--rate` takes them. Raise Unreadable."""
    rates, slash, time = text.strip().rpartition("/")
    parts = re.split(r":(?!l1(?:$|:))", rates, flags=re.IGNORECASE)
    if not slash or len(parts) != 3:
        raise Unreadable("not a ramp", RAMP_HINT)
    first, last, step = (units.rate(part) for part in parts)
    seconds = units.time_between(*STEP_S)(time)
    if len({first.unit, last.unit, step.unit}) > 1 or first.unit == "max":
        raise Unreadable("three rates of one unit are needed", RAMP_HINT)
    if not step.value or first.value == last.value:
        raise Unreadable("it has no step", RAMP_HINT)
    count = abs(last.value - first.value) / step.value
    if count > STEPS_MAX - 1:
        raise Unreadable(f"more than {STEPS_MAX:,} steps", "make the step larger")
    if abs(count - round(count)) > ROUNDING:
        raise Unreadable("its steps miss its end", "make the step divide the difference of both")
    way = step.value if last.value > first.value else -step.value
    values = (first.value + number * way for number in range(round(count) + 1))
    return Ramp(tuple(Rate(value, first.unit) for value in values), seconds)
