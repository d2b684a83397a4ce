# SPDX-License-Identifier: Apache-2.0
"""A job's counters, in shared memory that other processes can read while it runs."""

from uspnet.telemetry.board import Board
from uspnet.telemetry.counters import (
    COUNTERS,
    REASONS,
    STATISTICS,
    UNKNOWN,
    PortCounters,
    drops_by_reason,
    port_counters,
    reasons_text,
    statistics_of,
)
from uspnet.telemetry.reader import Boards, RunningJob, RunningPort, look, running_jobs

__all__ = [
    "COUNTERS",
    "REASONS",
    "STATISTICS",
    "UNKNOWN",
    "Board",
    "Boards",
    "PortCounters",
    "RunningJob",
    "RunningPort",
    "drops_by_reason",
    "look",
    "port_counters",
    "reasons_text",
    "running_jobs",
    "statistics_of",
]
