# SPDX-License-Identifier: Apache-2.0
"""What was sent and came back in each second of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from uspnet.jobs.histogram import percentiles
from uspnet.jobs.jitter import Jitter
from uspnet.jobs.returned import Second

LENGTH_S = 1.0
ROWS = 3600  # that are kept: the latest


@dataclass(frozen=True)
class Totals:
    """Counts since the start of a run. `counts`: latencies by slot of the histogram."""

    at: float = 0.0  # seconds since the start
    sent: int = 0
    received: int = 0
    lost: int = 0
    counts: Sequence[int] = ()
    jitter: Jitter = field(default_factory=Jitter)


@dataclass(frozen=True)
class Interval:
    """Latencies by slot of the histogram, of a part of a run that begins so many seconds after its
    start, and is so many seconds long.
    """

    begins: float
    seconds: float
    counts: Sequence[int]


class Seconds:
    """Makes rows of totals, which somebody shows it often; memory is bounded."""

    def __init__(self) -> None:
        self.rows: deque[Second] = deque(maxlen=ROWS)
        self._last = Totals()

    def due(self, at: float) -> bool:
        """Return whether a second is over, so many seconds after the start."""
        return at - self._last.at >= LENGTH_S

    def add(self, now: Totals) -> Interval:
        """Add a row of what was counted since the last one, and return its latencies."""
        last, self._last = self._last, now
        before = last.counts or [0] * len(now.counts)
        pairs = zip(now.counts, before, strict=True)
        counts = [max(count - old, 0) for count, old in pairs]
        latency = percentiles(counts) or {}
        self.rows.append(
            Second(
                begins_s=last.at,
                ends_s=now.at,
                sent=now.sent - last.sent,
                received=now.received - last.received,
                lost=now.lost - last.lost,
                latency_ns={name: latency[name] for name in ("p50", "p99", "max")}
                if latency
                else None,
                jitter_ns=now.jitter.since(last.jitter),
            )
        )
        return Interval(last.at, now.at - last.at, counts)
