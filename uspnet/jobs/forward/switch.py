# SPDX-License-Identifier: Apache-2.0
"""`--mode switch`: a learning bridge among two or more ports."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import InitVar, dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.forward.mode import Mode
from uspnet.jobs.forward.result import LOOP_MOVES, Switched, seems_loop
from uspnet.jobs.forward.ways import Ways, all_to_all, make_ways
from uspnet.jobs.route import Route
from uspnet.memory import new
from uspnet.port import Port

AGE_S, AGE_MAX_S, AGE_UNITS = 300.0, 1e6, 4096  # as the kernel's bridge; how finely it is told
MACS, MACS_MAX = 65536, 1 << 24
ROOM = 2  # places in the table for each address
SLACK_S = 0.1  # how far a burst may be ahead of the storm limit
PPS_MAX = 1e9


@dataclass(frozen=True)
class Switching:
    """The options of `--mode switch`. `age`: seconds after which an address is forgotten; `macs`:
    how many are known at most; `storm_limit`: packets a second that may be flooded from each port.
    """

    age: float = AGE_S
    macs: int = MACS
    storm_limit: float | None = None

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range."""
        if not 1e-3 <= self.age <= AGE_MAX_S:
            raise Usage(f"age={self.age}", f"seconds, 0.001 to {AGE_MAX_S:.0f}")
        if not 1 <= self.macs <= MACS_MAX:
            raise Usage(f"macs={self.macs}", f"addresses, 1 to {MACS_MAX:,}")
        if self.storm_limit is not None and not 1e-3 <= self.storm_limit <= PPS_MAX:
            raise Usage(f"storm_limit={self.storm_limit}", "packets a second, 0.001 to 1e9")


@dataclass
class Switch(Ways, mode="switch"):
    """One worker for all ports, since all may leave by each; the table is its own."""

    help: ClassVar[str] = "is a learning bridge among up to 16 ports"
    options: ClassVar[type] = Switching

    macs: c.MacEntry = ffi.NULL
    n_macs: int = 0
    age: int = AGE_UNITS
    seed: int = 0
    asked: InitVar[Switching] = Switching()

    def __post_init__(self, asked: Switching) -> None:
        super().__post_init__()
        self._age_s, self._storm_pps, self._unit = asked.age, asked.storm_limit, 1
        self._since = time.monotonic()
        self._look_at: float = LOOP_MOVES  # at which it is time to see whether there is a loop

    @classmethod
    def make(
        cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Switching
    ) -> Mode:
        """Make the table and the loop."""
        places = ROOM * given.macs
        return cls(
            full=full,
            ways=make_ways(ports, lanes),
            n_ways=len(lanes),
            macs=new("struct mac_entry[]", places),
            n_macs=places,
            seed=secrets.randbits(64),
            asked=given,
        )

    @classmethod
    def routes(cls, ports: list[Port]) -> list[Route]:
        """Return every receive queue, with an exit to each other port."""
        return all_to_all(ports)

    def watched(self) -> Sequence[c.CData]:
        """Return what is counted beside the packets."""
        return [ffi.addressof(self.c, name) for name in ("moved", "flooded", "unlearned")]

    def explain(
        self, packet: bytes, counted: int, dropped: str | None, exits: Sequence[str]
    ) -> list[str]:
        """Say what became of the source, and what is known of the destination."""
        to, source = packet[:6].hex(":"), packet[6:12].hex(":")
        steps = [f"source {source} was behind another port before"] * (counted & 1)
        steps += [f"source {source} finds no place in the table: raise --macs"] * (counted >> 2 & 1)
        if counted >> 1 & 1:
            what = "is a group" if packet[0] & 1 else "is not known"
            return [*steps, f"destination {to} {what}: flooded"]
        if dropped:
            return steps
        return [*steps, f"destination {to} is known behind {', '.join(exits)}"]

    def news(self) -> Iterable[str]:
        """Say that there seems to be a loop, once. Counting what is known takes its time, and is
        done each time that twice as many have moved.
        """
        moved = int(self.c.moved)
        if moved < self._look_at:
            return
        if not seems_loop(moved, self.known(), time.monotonic() - self._since):
            self._look_at = 2 * moved
            return
        self._look_at = float("inf")
        limit = "" if self._storm_pps is not None else " see --storm-limit"
        yield f"MAC addresses move between ports, {moved:,} times so far: is there a loop?{limit}"

    def set_clock(self, hz: int) -> None:
        """Set the times in ticks."""
        self._unit = self.c.unit = max(round(self._age_s * hz / AGE_UNITS), 1)
        if self._storm_pps is not None:
            self.c.gap, self.c.slack = round(hz / self._storm_pps), round(hz * SLACK_S)

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what the table has, and what has happened to it."""
        tables = [loop for loop in loops if isinstance(loop, cls)]
        return {
            "switch": Switched(
                macs=sum(loop.known() for loop in tables),
                moved=sum(int(loop.c.moved) for loop in tables),
                flooded=sum(int(loop.c.flooded) for loop in tables),
                unlearned=sum(int(loop.c.unlearned) for loop in tables),
            )
        }

    def known(self) -> int:
        """Return how many addresses are known, and not aged."""
        return int(lib.macs_known(self.macs, len(self.macs), self.age, self._unit))
