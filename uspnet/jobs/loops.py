# SPDX-License-Identifier: Apache-2.0
"""Loops as Python sees them: a dataclass fills the struct of `fastpath/loops/<name>.c`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.structs import check_pair, set_members
from uspnet.memory import new
from uspnet.port import Port, Queue

if TYPE_CHECKING:
    from uspnet.jobs.worker import Lane

DECIDED = range(lib.DROP_FILTERED, lib.DROP_NO_ROUTE + 1)  # dropped by loops, not by rings


@dataclass
class Loop:
    """One worker's loop. A subclass names it, and has a field for each member that it sets:

    `class Forward(Loop, name="forward"): full: int = lib.FULL_DROP`

    `c` is the C struct, which begins with `struct worker`. What its pointers lead to is kept alive
    by the dataclass.
    """

    name: ClassVar[str] = ""
    struct: ClassVar[str] = ""  # where several loops share one

    def __init_subclass__(cls, *, name: str = "", struct: str = "", **more: object) -> None:
        super().__init_subclass__(**more)
        cls.name = name or cls.name
        cls.struct = struct or (f"{name}_loop" if name else cls.struct)
        if cls.name:
            check_pair(cls.struct, "worker", f"loop_{cls.name}")

    def __post_init__(self) -> None:
        self.c = new(f"struct {self.struct} *")
        set_members(self.c, self)

    @property
    def worker(self) -> c.Worker:
        """Return the struct as `struct worker *`."""
        return ffi.cast("struct worker *", self.c)

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets that the worker has taken from the job's budget, by its counters."""
        counters = [lane.rx.counters for lane in lanes if lane.rx]
        return sum(int(c.packets) + sum(int(c.drops[why]) for why in DECIDED) for c in counters)

    def besides(self) -> int:
        """Return the packets that leave by its exits, and did not come in by its lanes."""
        return 0

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what was under way in the worker when its process ended as DROP_WORKER_LOST, but
        for up to `excess` packets that were received beyond the job's budget: they are uncounted.
        Return how many of those remain.
        """
        for group in groups(lanes):
            entered = sum(int(queue.counters.packets) for queue in _receivers(group))
            leaving = entered + self.besides()
            flying = under_way(group, leaving) if group[0].exits else entered
            uncounted = min(excess, flying)
            _uncount(group, uncounted)
            excess -= uncounted
            if group[0].exits:
                group[0].exits[0].drop(flying - uncounted, lib.DROP_WORKER_LOST)
        return excess

    def set_clock(self, hz: int) -> None:
        """Learn the ticks per second of the loop's clock, before it runs."""

    def pass_over(self, ticks: int) -> None:
        """Move all times on that the loop keeps beside `struct worker`: it pauses."""

    def run(self) -> None:
        """Run the loop until the worker is to stop. Releases the GIL."""
        getattr(lib, f"loop_{self.name}")(self.worker)


def groups(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Return the lanes in groups: those that leave by the same port are in one, since one of its
    queues may stand in for another; and so are those without exits.
    """
    made: list[list[Lane]] = []
    for lane in lanes:
        near = [
            each for each in made if _ports(each) & _ports([lane]) or _ports(each) == _ports([lane])
        ]
        others = [each for each in made if each not in near]
        made = [*others, [*chain.from_iterable(near), lane]]
    return made


def _ports(lanes: Sequence[Lane]) -> set[Port]:
    return {queue.port for lane in lanes for queue in lane.exits}


def _receivers(lanes: Sequence[Lane]) -> list[Queue]:
    return list(dict.fromkeys(lane.rx for lane in lanes if lane.rx))


def under_way(lanes: Sequence[Lane], entered: int) -> int:
    """Return how many of the packets that entered these lanes, copies included, were neither sent
    nor dropped by any of their exits.
    """
    exits = dict.fromkeys(queue for lane in lanes for queue in lane.exits)
    counted = [queue.counters for queue in exits]
    entered += sum(int(c.copied) for c in counted)
    left = sum(int(c.packets) + int(c.dropped) + int(c.errors) for c in counted)
    return max(entered - left, 0)


def _uncount(lanes: Sequence[Lane], packets: int) -> None:
    """Take received packets out of the counters."""
    for queue in _receivers(lanes):
        counters = queue.counters
        n = min(packets, int(counters.packets))
        counters.bytes -= queue.mean(n)
        counters.packets -= n
        packets -= n


@dataclass
class Drop(Loop, name="drop"):
    """Counts packets, and keeps none."""


@dataclass
class Forward(Loop, name="forward"):
    """Packets leave as they came. `full`: what a full ring means, lib.FULL_DROP or FULL_WAIT."""

    full: int = lib.FULL_DROP
