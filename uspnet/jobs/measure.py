# SPDX-License-Identifier: Apache-2.0
"""Measuring what came back: loss, order and latency, by what the sender wrote into each packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.histogram import percentiles
from uspnet.jobs.jitter import Jitter
from uspnet.jobs.loops import Loop
from uspnet.memory import new

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Lookup, Pointer, Stream
    from uspnet.jobs.answers import Answers
    from uspnet.jobs.worker import Lane, Worker


def make_streams(count: int) -> c.Stream:
    """Return an array of `count` fresh `struct stream`."""
    return new("struct stream[]", count)


@dataclass
class Measure(Loop, name="measure"):
    """Counts what arrives by its numbers, or with `lookup` by its looks. `began` and the times of
    the histogram are ns of CLOCK_MONOTONIC.
    """

    stamp_at: int
    secret: int
    began: int
    n_streams: int
    streams: Stream
    lookup: Lookup = ffi.NULL
    losses: c.Struct = ffi.NULL  # struct losses *
    writes: bool = False
    histogram: Pointer[int] = field(default_factory=lambda: new("uint64_t[]", lib.HISTOGRAM_SLOTS))

    def __post_init__(self) -> None:
        """Fill the struct."""
        super().__post_init__()
        self.answers: Answers | None = None  # whose transmit queue may be one of its lanes'

    def answer(self, answers: Answers, worker: Worker) -> None:
        """Have what it does not count be answered, by a worker's first transmit queue."""
        self.answers, self.c.answer = answers, answers.c
        answers.leave_by(worker)

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return 0: what comes back is within no budget."""
        return 0

    def settle(self, lanes: Sequence[Lane], excess: int = 0) -> int:
        """Count what was received and not looked at."""
        received, others = self.counts()
        seen = received + self.foreign
        if self.lookup == ffi.NULL:
            seen += others["duplicated"] + others["stale"]
        for queue in (lane.rx for lane in lanes if lane.rx):
            seen -= int(queue.counters.packets)
            if seen < 0:
                queue.take_back(-seen, queue.mean(-seen), lib.DROP_WORKER_LOST)
                seen = 0
        if self.answers:
            self.answers.settle(lanes)
        return excess

    @property
    def foreign(self) -> int:
        """Return the number of packets that this run did not send."""
        return int(self.c.unsigned_packets)

    def counts(self) -> tuple[int, Json]:
        """Return the packets received, and how many were duplicated, reordered and stale: None for
        packets without sequence numbers.
        """
        names = ("duplicated", "reordered", "stale")
        if self.lookup != ffi.NULL:
            return int(self.lookup.received), dict.fromkeys(names)
        streams = [self.streams[i] for i in range(self.n_streams)]
        received = sum(int(each.received) for each in streams)
        return received, {name: sum(int(getattr(each, name)) for each in streams) for name in names}

    def missing(self) -> int:
        """Return how many packets did not come back that were sent before others that did."""
        streams = [self.streams[i] for i in range(self.n_streams)]
        return sum(int(each.next) - int(each.received) for each in streams)

    def jitter(self) -> Jitter:
        """Return how much the delays of consecutive packets differ."""
        return Jitter.of(self.streams[i] for i in range(self.n_streams))

    def latencies(self) -> list[int]:
        """Return how many packets had a latency in each slot of the histogram."""
        return list(self.histogram)

    def latency_ns(self) -> dict[str, int] | None:
        """Return percentiles of the latencies in ns, each to 0.8 %; None if there are none."""
        return percentiles(self.latencies())
