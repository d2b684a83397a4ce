# SPDX-License-Identifier: Apache-2.0
"""What `uspnet run --json` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uspnet.answer import Answer, Json

State = Literal["waiting", "starting", "ready", "restarting", "stopping", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """One job of the file."""

    job: str
    """Its name in the file."""
    runs: str
    """Its command: `pktgen`, `capture`, `fwd`, `attach` or `reflect`."""
    state: State
    """`done`, or `failed`: its last process failed, or it could not be started."""
    restarts: int
    """How often it was started again."""
    exit_codes: list[int]
    """How its processes ended, the last 100 of them: exit codes; a signal is a negative number."""
    cause: str
    """Why the last of them ended."""
    result: Json | None
    """What it printed last: its result or its error, as its command prints it; null: nothing."""


@dataclass(frozen=True, kw_only=True)
class RunResult(Answer):
    """The result of `run`."""

    elapsed_s: float
    """Seconds from the first start to the last end."""
    ended: Literal["signal", "jobs"]
    """What ended the run: a `signal`, or the end of its `jobs`."""
    jobs: tuple[JobOutcome, ...]
    """The jobs, in the order of the file."""


@dataclass(frozen=True, kw_only=True)
class RunChecked(Answer):
    """What `run --check` found: nothing is wrong with the file."""

    file: str
    """Its name; `-`: stdin."""
    jobs: list[str]
    """The names of its jobs."""
