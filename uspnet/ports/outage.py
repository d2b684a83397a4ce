# SPDX-License-Identifier: Apache-2.0
"""The times in which a device can't be used, because it was reset or is away: how many and how
long, and when to give up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from uspnet.errors import DeviceFault, UspnetError
from uspnet.port import Queue

Counts = dict[str, int | None]


class Outage:
    """Counts interruptions. `patience_s`: for how long a device may be away; 0: not at all.

    A device that fails again and again without a packet in between gets no more time than one
    that stays away.
    """

    def __init__(self, name: str, patience_s: float) -> None:
        self.name, self.patience_s = name, patience_s
        self.fault: UspnetError | None = None  # why the device can't be used now
        self.lost = 0  # packets in flight when that began
        self._count, self._seconds = 0, 0.0  # of those that are over
        self._since = self._deadline = self._returned = 0.0
        self._moved = -1

    def begin(self, fault: UspnetError, lost: int, moved: int) -> None:
        """Note that the device can't be used from now on, after `moved` packets in all."""
        now = time.monotonic()
        self.fault, self.lost, self._since = fault, lost, now
        if moved != self._moved or now - self._returned > self.patience_s:
            self._deadline = now + self.patience_s
        self._moved = moved
        self._count += 1

    def is_too_long(self) -> bool:
        """Return whether it is time to give up."""
        return time.monotonic() > self._deadline

    def end(self) -> str:
        """Note that the device works again; return what to say about it."""
        self._returned = time.monotonic()
        took = self._returned - self._since
        self._seconds += took
        what, self.fault = str(self.fault), None
        return f"{what}; back after {took:.2f} s, {self.lost:,} packets in flight were lost"

    def error(self, why: UspnetError) -> DeviceFault:
        """Return the error that ends the job. `why`: the device can't be used still."""
        last = "" if str(why) == str(self.fault) else f" ({why})"
        return DeviceFault(
            f"{self.fault}; it did not come back in {self.patience_s:g} s{last}",
            f"give it longer, with outage=; or see: uspnet doctor {self.name}",
        )

    def publish(self, queues: Sequence[Queue]) -> None:
        """Write both numbers into the counters of one of the port's queues, for all to see."""
        lasts = time.monotonic() - self._since if self.fault else 0.0
        for queue in queues[:1]:
            queue.counters.interruptions = self._count
            queue.counters.interrupted_ns = round((self._seconds + lasts) * 1e9)


def add(kept: Mapping[str, int | None], own: Mapping[str, int | None]) -> Counts:
    """Add two sets of counters. What is unknown in one of them is unknown."""
    return {name: plus(kept.get(name, 0), own.get(name, 0)) for name in {**kept, **own}}


def plus(one: int | None, other: int | None) -> int | None:
    """Add two counts, of which either may be unknown."""
    return None if one is None or other is None else one + other


def later(before: Mapping[str, int | None], now: Mapping[str, int | None]) -> Counts:
    """Return counters that never go back: those of now, or those before a reset."""
    return {
        name: value if value is None else max(value, before.get(name) or 0)
        for name, value in now.items()
    }
