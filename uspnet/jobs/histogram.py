# SPDX-License-Identifier: Apache-2.0
"""What histograms say that loops have counted (fastpath/loops/histogram.h)."""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.fastpath import lib
from uspnet.jobs.returned import LatencyBin

SLOTS = 32  # of a bin: a quarter of an octave
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def percentiles(counts: Sequence[int], scale: float = 1.0) -> dict[str, int] | None:
    """Return minimum, percentiles and maximum, each to 0.8 %, times `scale`; None if nothing was
    counted. As HdrHistogram has it, the minimum is a slot's smallest value, and the others are a
    slot's largest one.
    """
    found = pairs(counts)
    if not found:
        return None
    first = next(slot for slot, count in enumerate(counts) if count)
    least = {"min": int(lib.histogram_floor(first)), **quantiles(found)}
    return {name: round(value * scale) for name, value in least.items()}


def quantiles(counted: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Return percentiles and the maximum of values and how often each was counted, in order. There
    is at least one.
    """
    total, seen, result = sum(count for _, count in counted), 0, {}
    wanted = list(PERCENTILES.items())
    for value, count in counted:
        seen += count
        while wanted and seen >= wanted[0][1] * total:
            result[wanted.pop(0)[0]] = value
    return {**result, "max": counted[-1][0]}


def _largest(slot: int) -> int:
    return int(lib.histogram_floor(slot + 1)) - 1


def bins(counts: Sequence[int]) -> tuple[LatencyBin, ...]:
    """Return what was counted from the first to the last bin of SLOTS slots that has any."""
    sums = [sum(counts[at : at + SLOTS]) for at in range(0, len(counts), SLOTS)]
    used = [number for number, count in enumerate(sums) if count]
    return tuple(
        LatencyBin(
            from_ns=int(lib.histogram_floor(number * SLOTS)),
            to_ns=_largest((number + 1) * SLOTS - 1),
            packets=sums[number],
        )
        for number in (range(used[0], used[-1] + 1) if used else ())
    )


def pairs(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the largest value of each slot that something was counted in, and how often."""
    return [(_largest(slot), count) for slot, count in enumerate(counts) if count]
