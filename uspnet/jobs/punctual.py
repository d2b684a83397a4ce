# SPDX-License-Identifier: Apache-2.0
"""How well a rate was kept, as results say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """How well the rate was kept."""

    asked_pps: float
    """Packets a second that were asked for, on average over the run so far, or to its end."""
    error_percent: float | None
    """By how many percent more packets were sent than were asked for; null: nothing was due yet."""
    late_ns: dict[str, int] | None
    """Nanoseconds from when packets were due until they were given to the port, each to 0.8 %:
    `min`, `p50`, `p90`, `p99`, `p999`, `max`; null: there were none."""
    stalls: int
    """Rounds of the loops that took more than 10 µs: a thread did not run, or the port took its
    time."""
    stalled_s: float
    """Seconds that these rounds took, summed over the threads."""
    longest_stall_s: float
    """Seconds that the longest of them took."""
    not_running_s: float
    """Seconds for which threads had no CPU, by the kernel's clock of their CPU time, summed over
    them: the scheduler ran others, or a call of the port waited."""
