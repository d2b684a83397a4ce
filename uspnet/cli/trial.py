# SPDX-License-Identifier: Apache-2.0
"""Command lines on trial: a command checks what it is given and makes its job, which is not run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uspnet.jobs.job import AnyJob

_on_trial: ContextVar[list[AnyJob] | None] = ContextVar("_on_trial", default=None)


@contextlib.contextmanager
def on_trial() -> Iterator[list[AnyJob]]:
    """Have commands that are invoked inside make their job, ask nothing, and run nothing. Yields
    the jobs.
    """
    jobs: list[AnyJob] = []
    token = _on_trial.set(jobs)
    try:
        yield jobs
    finally:
        _on_trial.reset(token)


def is_on_trial() -> bool:
    """Return whether the command is not to run its job."""
    return _on_trial.get() is not None


def note(job: AnyJob) -> None:
    """Note a job that is not to run."""
    jobs = _on_trial.get()
    if jobs is not None:
        jobs.append(job)
