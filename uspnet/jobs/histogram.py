# SPDX-License-Identifier: Apache-2.0
"""What histograms say that loops have counted (fastpath/loops/histogram.h)."""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.fastpath import lib

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def percentiles(counts: Sequence[int], scale: float = 1.0) -> dict[str, int] | None:
    """Return minimum, percentiles and maximum, each to 0.8 %, times `scale`; None if nothing was
    counted. As HdrHistogram has it, the minimum is a slot's smallest value, and the others are a
    slot's largest one.
    """
    total = sum(counts)
    if not total:
        return None
    used = [slot for slot, count in enumerate(counts) if count]
    result = {"min": round(int(lib.histogram_floor(used[0])) * scale)}
    for name, share in PERCENTILES.items():
        seen = 0
        for slot in used:
            seen += counts[slot]
            if seen >= share * total:
                result[name] = _largest(slot, scale)
                break
    result["max"] = _largest(used[-1], scale)
    return result


def _largest(slot: int, scale: float) -> int:
    return round((int(lib.histogram_floor(slot + 1)) - 1) * scale)
