# SPDX-License-Identifier: Apache-2.0
"""How much the delay of consecutive packets differs, as C adds it up (fastpath/loops/lost.h)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Stream

SCALE = 16  # of C's `jitter`


@dataclass(frozen=True)
class Jitter:
    """Since the start of a run, in ns: of the sending queues' estimates the largest, and over
    `pairs` of consecutive packets the sum and the largest of what their delays differ by.
    """

    estimate: int = 0
    differences: int = 0
    largest: int = 0
    pairs: int = 0

    @classmethod
    def of(cls, streams: Iterable[Stream]) -> Jitter:
        """Return that of all streams."""
        rows = [
            (
                int(each.jitter) // SCALE,
                int(each.difference_sum),
                int(each.difference_max),
                int(each.received) - int(each.reordered) - int(each.unpaired),
            )
            for each in streams
        ]
        if not rows:
            return cls()
        estimates, sums, tops, pairs = zip(*rows, strict=True)
        return cls(max(estimates), sum(sums), max(tops), max(sum(pairs), 0))

    def as_json(self) -> dict[str, int] | None:
        """Return what a result has of a whole run; None without a pair."""
        if not self.pairs:
            return None
        mean = self.differences // self.pairs
        return {"rfc3550": self.estimate, "mean": mean, "max": self.largest}

    def since(self, before: Jitter) -> dict[str, int] | None:
        """Return what a result has of the time since then; None without a pair."""
        pairs = self.pairs - before.pairs
        if pairs <= 0:
            return None
        mean = max(self.differences - before.differences, 0) // pairs
        return {"rfc3550": self.estimate, "mean": mean}
