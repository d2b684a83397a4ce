# SPDX-License-Identifier: Apache-2.0
"""What `uspnet stats --json` says."""

from __future__ import annotations

import pwd
from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.sandbox.enforced import Enforced
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
    """The command: `pktgen`, `capture`, `fwd`, `attach` or `reflect`."""
    ports: tuple[RunningPort, ...]
    """Its ports' counters."""
    sandbox: Enforced | None
    """What is enforced on the process that runs its loops; null: they run in the job's own."""
    restarts: int
    """Times that this process was replaced, because it had died or hung."""
    upgrades: int
    """Times that `uspnet upgrade` has replaced the loops, or the whole program."""


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
        JobRow(
            pid=job.pid,
            uid=job.uid,
            user=user_name(job.uid),
            job=job.command,
            ports=tuple(job.ports),
            sandbox=job.sandbox,
            restarts=job.restarts,
            upgrades=job.upgrades,
        )
        for job in seen.jobs
    )
    return StatsAnswer(command="stats", jobs=jobs, unreadable_boards=seen.unreadable)


def user_name(uid: int) -> str:
    """Return a user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
