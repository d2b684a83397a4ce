# SPDX-License-Identifier: Apache-2.0
"""`--mode impair`: a bad line between two ports, with the words of netem."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.forward.mode import Mode
from uspnet.jobs.forward.result import Impaired
from uspnet.jobs.route import Route
from uspnet.jobs.worker import Lane
from uspnet.memory import new
from uspnet.port import Port

DELAY_MAX_S, RATE_MIN_BPS, RATE_MAX_BPS = 3600.0, 1e3, 1e15
LIMIT_LEAST, LIMIT_MOST, LIMIT_MAX = 1024, 65536, 1 << 24  # places: by default, and at all
USUAL_PPS, SHORTEST_BITS = 1e6, 60 * 8  # how many packets a delay is sized for
CERTAIN = 1 << 32  # a chance of 1
SHARES = ("loss", "duplicate", "corrupt", "reorder")


@dataclass(frozen=True)
class Impairing:
    """The options of `--mode impair`. Times in seconds, shares from 0 to 1, `rate` in bits a second
    of frames without FCS, `gap` in packets, `limit` in packets a lane; None: as `places` says.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    gap: int = 1
    rate: float | None = None
    limit: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range, or means nothing without another one."""
        for name in ("delay", "jitter"):
            if not 0 <= (value := getattr(self, name)) <= DELAY_MAX_S:
                raise Usage(f"{name}={value}", f"seconds, 0 to {DELAY_MAX_S:.0f}")
        for name in SHARES:
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise Usage(f"{name}={value}", "a share, 0 to 1")
        if self.rate is not None and not RATE_MIN_BPS <= self.rate <= RATE_MAX_BPS:
            raise Usage(f"rate={self.rate:g}", "bits a second, from 1 kbit/s on")
        if self.limit is not None and not 1 <= self.limit <= LIMIT_MAX:
            raise Usage(f"limit={self.limit}", f"packets, 1 to {LIMIT_MAX:,}")
        if self.gap < 1 or (self.gap > 1 and not self.reorder):
            raise Usage("--gap says how often --reorder may happen", "add: --reorder 100%")
        if self.jitter > self.delay:
            raise Usage("--jitter is more than --delay", "packets can't leave before they came")
        if self.reorder and not self.delay:
            raise Usage("--reorder needs a delay: others wait, those don't", "add: --delay 10ms")

    def places(self) -> int:
        """Return how many packets of a lane wait at most: by default what comes in the longest
        delay, at the rate or, without one, at 1 Mpps; and what the rate itself holds up.
        """
        if self.limit is not None:
            return self.limit
        pps = USUAL_PPS if self.rate is None else min(self.rate / SHORTEST_BITS, USUAL_PPS)
        wanted = round((self.delay + self.jitter) * pps) + LIMIT_LEAST
        return min(wanted, LIMIT_MOST)


@dataclass
class Impair(Mode, mode="impair"):
    """Between two ports; each direction is a line of its own."""

    help: ClassVar[str] = "is a bad line, as netem makes one: delay, loss, rate and more"
    options: ClassVar[type] = Impairing
    ahead: ClassVar[bool] = True

    lines: c.Line = ffi.NULL
    n_lines: int = 0
    sorted: int = 0
    gap: int = 1
    loss: int = 0
    duplicate: int = 0
    corrupt: int = 0
    reorder: int = 0
    asked: InitVar[Impairing] = Impairing()

    def __post_init__(self, asked: Impairing) -> None:
        super().__post_init__()
        self.given = asked
        self.queues: list[c.Delayed] = []
        self.holds = 0

    @classmethod
    def make(
        cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Impairing
    ) -> Mode:
        """Make the lines, and the places in which packets wait."""
        places = given.places()
        lines = new("struct line[]", len(lanes))
        queues = [new("struct delayed[]", places) for _ in lanes]
        for line, queue, (source, _) in zip(lines, queues, lanes, strict=True):
            line.q.waiting, line.q.n_waiting = queue, places
            name = f"{given.seed} {ports.index(source[0])} {source[1]}" if source else ""
            drawn = hashlib.blake2b(name.encode(), digest_size=8).digest()
            line.seed = int.from_bytes(drawn, "little")
        chances = {name: round(getattr(given, name) * CERTAIN) for name in SHARES}
        loop = cls(
            full=full,
            lines=lines,
            n_lines=len(lanes),
            sorted=int(given.jitter > 0 or given.reorder > 0),
            gap=given.gap,
            asked=given,
            **chances,
        )
        loop.queues, loop.holds = queues, places * len(lanes)
        return loop

    def set_clock(self, hz: int) -> None:
        """Set the times in ticks."""
        self.c.delay, self.c.jitter = (
            round(each * hz) for each in (self.given.delay, self.given.jitter)
        )
        if self.given.rate:
            self.c.byte_ticks = max(round(8 * hz / self.given.rate * (1 << 20)), 1)
        self.c.tick_ns = 1e9 / hz

    def pass_over(self, ticks: int) -> None:
        """Have what waits wait on: the loop pauses."""
        for line, queue in zip(self.lines, self.queues, strict=True):
            line.sent_until += ticks
            lib.delayed_move(queue, len(queue), ticks)

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what the lines had in them as lost, too: they are empty now."""
        for line in self.lines:
            line.q.used = line.q.first = 0
        return super().settle(lanes, excess)

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what was done to packets."""
        lines = [line for loop in loops if isinstance(loop, cls) for line in loop.lines]
        names = ("delayed", "duplicated", "corrupted", "reordered")
        sums = {name: sum(int(getattr(line, name)) for line in lines) for name in names}
        most = max((int(line.q.most) for line in lines), default=0)
        return {"impaired": Impaired(**sums, most_waiting=most)}
