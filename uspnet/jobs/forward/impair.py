# SPDX-License-Identifier: Apache-2.0
"""`--mode impair`: a bad line between two ports, with the words of netem."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.forward.mode import Mode
from uspnet.jobs.forward.netem import GilbertElliott, Queue, read_trace
from uspnet.jobs.forward.result import Impaired
from uspnet.jobs.route import Route
from uspnet.jobs.worker import Lane
from uspnet.memory import new
from uspnet.port import Port

DELAY_MAX_S, RATE_MIN_BPS, RATE_MAX_BPS = 3600.0, 1e3, 1e15
BUCKET_MAX = 1 << 40  # bytes
LIMIT_LEAST, LIMIT_MOST, LIMIT_MAX = 1024, 65536, 1 << 24  # places: by default, and at all
USUAL_PPS, SHORTEST_BITS = 1e6, 60 * 8  # how many packets a delay is sized for
CERTAIN = 1 << 32  # a chance of 1
SHARES = ("duplicate", "corrupt", "reorder")
BYTE_SHIFT = 20  # of a byte's ticks
TICKS_MAX = 1 << 62


@dataclass(frozen=True)
class Impairing:
    """The options of `--mode impair`. Times in seconds, shares from 0 to 1, `rate` in bits a second
    of frames without FCS, `bucket` in bytes, `gap` in packets, `limit` in packets a lane; None: as
    `places` says. `link_trace`: the files for packets from the first port, and from the second one;
    a single one is for both.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float | GilbertElliott = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    gap: int = 1
    rate: float | None = None
    bucket: int | None = None
    queue: Queue | None = None
    link_trace: Sequence[str] = ()
    limit: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range, or means nothing without another one."""
        for name in ("delay", "jitter"):
            if not 0 <= (value := getattr(self, name)) <= DELAY_MAX_S:
                raise Usage(f"{name}={value}", f"seconds, 0 to {DELAY_MAX_S:.0f}")
        _ = self.burst_loss, *(_share(name, getattr(self, name)) for name in SHARES)
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
        self._check_bottleneck()

    def _check_bottleneck(self) -> None:
        """Raise Usage for a queue without a link, or two links in one."""
        if self.bucket is not None and not 1 <= self.bucket <= BUCKET_MAX:
            raise Usage(f"bucket={self.bucket}", f"bytes, 1 to {BUCKET_MAX:,}")
        if self.rate and self.link_trace:
            raise Usage("--rate and --link-trace are two links", "leave one of them out")
        if len(self.link_trace) > 2:
            raise Usage("more than two of --link-trace", "give one, or one for each direction")
        if self.bucket and not self.rate:
            raise Usage("--bucket fills at a rate", "add: --rate 10Mbit/s")
        if self.queue and not (self.rate or self.link_trace):
            text = "--queue is a bottleneck's, and without a rate there is none"
            raise Usage(text, "add: --rate 10Mbit/s, or --link-trace FILE")

    @property
    def burst_loss(self) -> GilbertElliott:
        """Return the loss as a line that can be bad: one that is never bad where it is a share."""
        if isinstance(self.loss, GilbertElliott):
            return self.loss
        return GilbertElliott(p=0.0, r=1.0, good=_share("loss", self.loss))

    def bottleneck(self) -> Queue | None:
        """Return the bottleneck's queue; None: there is no bottleneck."""
        return self.queue or (Queue() if self.bucket or self.link_trace else None)

    def places(self) -> int:
        """Return how many packets of a lane wait at most: by default what comes in the longest
        delay, at the rate or, without one, at 1 Mpps; and what the rate itself holds up, or the
        bottleneck's queue.
        """
        if self.limit is not None:
            return self.limit
        pps = USUAL_PPS if self.rate is None else min(self.rate / SHORTEST_BITS, USUAL_PPS)
        wanted = round((self.delay + self.jitter) * pps) + LIMIT_LEAST
        queue = self.bottleneck()
        return min(wanted, LIMIT_MOST) + (queue.packets if queue else 0)


def _share(name: str, value: float) -> float:
    """Return it. Raises Usage if it is none."""
    if not 0 <= value <= 1:
        raise Usage(f"{name}={value}", "a share, 0 to 1")
    return value


@dataclass(frozen=True)
class Links:
    """The options, and the times of the link traces in ms, as `link_trace` has their names."""

    asked: Impairing
    traces: tuple[array[int], ...] = ()

    def trace(self, port: int) -> array[int]:
        """Return the one for packets from a port, by its number; empty: there is none."""
        return self.traces[min(port, len(self.traces) - 1)] if self.traces else array("Q")


@dataclass
class Impair(Mode, mode="impair"):
    """Between two ports; each direction is a line of its own."""

    help: ClassVar[str] = "is a bad line, as netem makes one: delay, loss, rate and more"
    options: ClassVar[type] = Impairing
    ahead: ClassVar[bool] = True

    lines: c.Line = ffi.NULL
    n_lines: int = 0
    sorted: int = 0
    narrow: int = 0
    gap: int = 1
    loss: tuple[int, int] = (0, 0)
    change: tuple[int, int] = (0, 0)
    duplicate: int = 0
    corrupt: int = 0
    reorder: int = 0
    asked: InitVar[Links] = Links(Impairing())

    def __post_init__(self, asked: Links) -> None:
        super().__post_init__()
        self.given = asked.asked
        self.queues: list[c.Delayed] = []
        self.kept: list[c.Queued] = []  # bottlenecks' queues
        self.tick_ns = 0.0  # of the clock; not yet known
        self.traces: list[tuple[c.Pointer[int], array[int]]] = []
        self.holds = 0

    @classmethod
    def prepare(cls, ports: Sequence[Port], given: Impairing) -> Links:
        """Read the traces. Raises Usage, NoDevice, NotPermitted."""
        del ports
        return Links(given, tuple(map(read_trace, given.link_trace)))

    @classmethod
    def make(cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Links) -> Mode:
        """Make the lines, and the places in which packets wait."""
        asked, loss = given.asked, given.asked.burst_loss
        lines = new("struct line[]", len(lanes))
        chances = {name: chance(getattr(asked, name)) for name in SHARES}
        loop = cls(
            full=full,
            lines=lines,
            n_lines=len(lanes),
            sorted=int(asked.jitter > 0 or asked.reorder > 0),
            narrow=int(asked.bottleneck() is not None),
            gap=asked.gap,
            loss=(chance(loss.good), chance(loss.bad)),
            change=(chance(loss.p), chance(loss.r)),
            asked=given,
            **chances,
        )
        for line, (source, _) in zip(lines, lanes, strict=True):
            port = ports.index(source[0]) if source else 0
            loop.set_up(line, f"{asked.seed} {port} {source[1]}" if source else "")
            loop.narrow_down(line, given.trace(port))
        loop.holds = asked.places() * len(lanes)
        return loop

    def set_up(self, line: c.Line, name: str) -> None:
        """Give a line its places, and a seed and a first state by its name."""
        places = self.given.places()
        self.queues.append(new("struct delayed[]", places))
        line.q.waiting, line.q.n_waiting = self.queues[-1], places
        line.seed = drawn(name)
        line.state = drawn(f"{name} first") < self.given.burst_loss.first * (1 << 64)

    def narrow_down(self, line: c.Line, trace: array[int]) -> None:
        """Give a line its bottleneck, if it has one."""
        if not (queue := self.given.bottleneck()):
            return
        self.kept.append(new("struct queued[]", queue.packets))
        line.b.queue, line.b.n_places = self.kept[-1], queue.packets
        if not trace:
            return
        known = [memory for memory, of in self.traces if of is trace]
        if not known:
            known = [new("uint64_t[]", len(trace))]
            self.traces.append((known[0], trace))
        line.b.trace, line.b.n_trace = known[0], len(trace)

    def set_clock(self, hz: int) -> None:
        """Set the times in ticks."""
        given, queue = self.given, self.given.bottleneck()
        self.c.delay, self.c.jitter = (round(each * hz) for each in (given.delay, given.jitter))
        self.tick_ns = self.c.tick_ns = 1e9 / hz  # ours: anything may be in shared memory
        byte_ticks = max(round(8 * hz / given.rate * (1 << BYTE_SHIFT)), 1) if given.rate else 0
        if not queue:
            self.c.byte_ticks = byte_ticks
            return
        for line in self.lines:
            line.b.byte_ticks = byte_ticks
            line.b.bucket = min((given.bucket or 0) * byte_ticks >> BYTE_SHIFT, TICKS_MAX)
            line.b.codel.target = round(queue.target * hz)
            line.b.codel.interval = round(queue.interval * hz)
        for memory, trace in self.traces:
            ffi.buffer(memory, 8 * len(trace))[:] = array("Q", (t * hz // 1000 for t in trace))

    def pass_over(self, ticks: int) -> None:
        """Have what waits wait on: the loop pauses."""
        for line, queue in zip(self.lines, self.queues, strict=True):
            line.sent_until += ticks
            lib.delayed_move(queue, len(queue), ticks)
            lib.bottleneck_move(ffi.addressof(line, "b"), ticks)

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what the lines had in them as lost, too: they are empty now."""
        for line in self.lines:
            line.q.used = line.q.first = 0
            line.b.used = line.b.first = line.b.bytes = line.b.left = line.b.unsent = 0
        return super().settle(lanes, excess)

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what was done to packets."""
        lines = [line for loop in loops if isinstance(loop, cls) for line in loop.lines]
        names = ("delayed", "duplicated", "corrupted", "reordered", "bad_state")
        sums = {name: sum(int(getattr(line, name)) for line in lines) for name in names}
        most = max((int(line.q.most) for line in lines), default=0)
        queued = max((int(line.b.most) for line in lines), default=0)
        waits = [
            int(line.b.longest_wait) * loop.tick_ns
            for loop in loops
            if isinstance(loop, cls)
            for line in loop.lines
        ]
        longest = round(max(waits, default=0))
        told = Impaired(**sums, most_waiting=most, most_queued=queued, longest_queued_ns=longest)
        return {"impaired": told}


def chance(share: float) -> int:
    """Return a share in 2^32nds."""
    return round(share * CERTAIN)


def drawn(name: str) -> int:
    """Return a number of 64 bits that is always the same for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
