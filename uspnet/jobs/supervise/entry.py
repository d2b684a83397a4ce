# SPDX-License-Identifier: Apache-2.0
"""What a file of jobs says about one job; quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """How important a line of the log is: the priorities of syslog(3)."""

    error = 3
    warning = 4
    info = 6
    debug = 7


class Restart(StrEnum):
    """When a job that has ended is started again."""

    no = "no"
    on_failure = "on-failure"
    always = "always"


@dataclass(frozen=True)
class RestartLimit:
    """How many restarts a job gets within a time in seconds."""

    count: int = 5
    within_s: float = 600.0


@dataclass(frozen=True)
class Entry:
    """One job: a command of uspnet with its words, and what to do when it ends.

    `after`: the jobs that must be ready before it starts. `line`: where the file has it.
    """

    name: str
    command: str
    words: tuple[str, ...]
    restart: Restart = Restart.no
    delay_s: float = 1.0
    limit: RestartLimit = RestartLimit()
    after: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)
