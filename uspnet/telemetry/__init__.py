# SPDX-License-Identifier: Apache-2.0
"""A job's counters, in shared memory that other processes can read while it runs."""

from uspnet.telemetry.board import (
    COUNTERS,
    REASONS,
    Board,
    drops_by_reason,
    port_counters,
    reasons_text,
)
from uspnet.telemetry.reader import Boards, RunningJob, look, running_jobs

__all__ = [
    "COUNTERS",
    "REASONS",
    "Board",
    "Boards",
    "RunningJob",
    "drops_by_reason",
    "look",
    "port_counters",
    "reasons_text",
    "running_jobs",
]
