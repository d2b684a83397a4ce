# SPDX-License-Identifier: Apache-2.0
"""Measuring what came back: loss, order and latency, by what the sender wrote into each packet."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.flow_order import FlowOrder
from uspnet.jobs.histogram import percentiles
from uspnet.jobs.jitter import Jitter
from uspnet.jobs.loops import Loop
from uspnet.memory import new

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Lookup, Pointer, Stream
    from uspnet.jobs.answers import Answers
    from uspnet.jobs.worker import Lane, Worker

SLOT = 8  # bytes of a histogram's count
ENDS = sys.byteorder
STREAMS_MAX = 256  # a signature has a byte for the number of its stream


def make_streams(count: int) -> c.Stream:
    """Return an array of `count` fresh `struct stream`."""
    return new("struct stream[]", count)


@dataclass
class Measure(Loop, name="measure"):
    """Counts what arrives by its numbers, or with `lookup` by its looks. `began` is in ns of
    CLOCK_MONOTONIC.
    """

    stamp_at: int
    secret: int
    began: int
    n_streams: int
    streams: Stream
    lookup: Lookup = ffi.NULL
    losses: c.Struct = ffi.NULL  # struct losses *
    writes: bool = False
    offsets: Pointer[int] = ffi.NULL  # where other streams' signatures are
    n_offsets: int = 0

    def __post_init__(self) -> None:
        """Fill the struct."""
        super().__post_init__()
        self._histograms: Pointer[int]
        self._count_latencies(1)
        self.flow_order: FlowOrder | None = None
        self.answers: Answers | None = None  # whose transmit queue may be one of its lanes'

    @classmethod
    def nothing(cls) -> Measure:
        """Return a loop that takes nothing for sent by this run: all may be answered."""
        return cls(stamp_at=0, secret=0, began=0, n_streams=0, streams=make_streams(1))

    def answer(self, answers: Answers, worker: Worker, number: int = 0) -> None:
        """Have what it does not count be answered, by an exit of a worker's first lane."""
        self.answers, self.c.answer = answers, answers.c
        answers.leave_by(worker, number)

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

    def tell_apart(self) -> None:
        """Count the latencies of each stream by itself. Call this before it runs."""
        self._count_latencies(self.n_streams)

    def order_flows(self) -> None:
        """Note the order within each flow. Call this before it runs. Raises NoMemory."""
        self.flow_order = FlowOrder(self.n_streams)
        self.c.order = self.flow_order.c

    def _count_latencies(self, histograms: int) -> None:
        """Have so many histograms count latencies: one of each stream, or one of all."""
        self._histograms = new("uint64_t[]", lib.HISTOGRAM_SLOTS * histograms)
        for number in range(self.n_streams):
            at = lib.HISTOGRAM_SLOTS * min(number, histograms - 1)
            self.streams[number].latencies = self._histograms + at

    def _histogram(self, number: int) -> bytes:
        size = lib.HISTOGRAM_SLOTS * SLOT
        return bytes(ffi.buffer(self._histograms)[number * size : (number + 1) * size])

    def of_stream(self, number: int) -> Json:
        """Return what came back of a stream that is told apart, by the fields of a result."""
        stream, names = self.streams[number], ("received", "duplicated", "reordered", "stale")
        return {
            **{name: int(getattr(stream, name)) for name in names},
            "reordered_in_flows": self.flow_order.reordered(number) if self.flow_order else None,
            "latency_ns": percentiles(memoryview(self._histogram(number)).cast("Q").tolist()),
            "jitter_ns": Jitter.of([stream]).as_json(),
        }

    def latencies(self) -> list[int]:
        """Return how many packets had a latency in each slot of the histogram."""
        count = len(self._histograms) // lib.HISTOGRAM_SLOTS
        rows = (int.from_bytes(self._histogram(number), ENDS) for number in range(count))
        total = sum(rows).to_bytes(lib.HISTOGRAM_SLOTS * SLOT, ENDS)  # no slot overflows
        return memoryview(total).cast("Q").tolist()

    def latency_ns(self) -> dict[str, int] | None:
        """Return percentiles of the latencies in ns, each to 0.8 %; None if there are none."""
        return percentiles(self.latencies())
