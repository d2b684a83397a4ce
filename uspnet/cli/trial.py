# SPDX-License-Identifier: Apache-2.0
"""Command lines on trial: a command checks what it is given and makes its job, which is not run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_on_trial = ContextVar("_on_trial", default=False)


@contextlib.contextmanager
def on_trial() -> Iterator[None]:
    """Have commands that are invoked inside make their job, ask nothing, and run nothing."""
    token = _on_trial.set(True)
    try:
        yield
    finally:
        _on_trial.reset(token)


def is_on_trial() -> bool:
    """Return whether the command is not to run its job."""
    return _on_trial.get()
