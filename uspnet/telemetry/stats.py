# SPDX-License-Identifier: Apache-2.0
"""What `uspnet stats --json` says."""

from __future__ import annotations

import pwd
from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.telemetry.reader import Boards, RunningPort


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A running job."""

    pid: int
    """Its process id."""
    uid: int
    """The user id of its owner."""
    user: str
    """The owner's name, or user id where there is no name."""
    job: str
    """The command: `pktgen`, `capture` or `fwd`."""
    ports: tuple[RunningPort, ...]
    """Its ports' counters."""


@dataclass(frozen=True, kw_only=True)
class StatsAnswer(Answer):
    """The running jobs that this user may see."""

    jobs: tuple[JobRow, ...]
    """One's own first, then the oldest."""
    unreadable_boards: int
    """Jobs whose counters could not be read: of another version of uspnet, or corrupted."""


def answer(seen: Boards) -> StatsAnswer:
    """Make the answer from one look."""
    jobs = tuple(
        JobRow(pid=j.pid, uid=j.uid, user=user_name(j.uid), job=j.command, ports=tuple(j.ports))
        for j in seen.jobs
    )
    return StatsAnswer(command="stats", jobs=jobs, unreadable_boards=seen.unreadable)


def user_name(uid: int) -> str:
    """Return a user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
