# SPDX-License-Identifier: Apache-2.0
"""What `uspnet stats --json` says."""

from __future__ import annotations

import pwd
from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.telemetry.reader import Boards, RunningPort


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A running job: its process, whose it is, and its ports. `job`: the command."""

    pid: int
    uid: int
    user: str
    job: str
    ports: tuple[RunningPort, ...]


@dataclass(frozen=True, kw_only=True)
class StatsAnswer(Answer):
    """`unreadable_boards`: jobs' boards of another version, or forged ones."""

    jobs: tuple[JobRow, ...]
    unreadable_boards: int


def answer(seen: Boards) -> StatsAnswer:
    """What one look found."""
    jobs = tuple(
        JobRow(pid=j.pid, uid=j.uid, user=user_name(j.uid), job=j.command, ports=tuple(j.ports))
        for j in seen.jobs
    )
    return StatsAnswer(command="stats", jobs=jobs, unreadable_boards=seen.unreadable)


def user_name(uid: int) -> str:
    """A user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
