# SPDX-License-Identifier: Apache-2.0
"""A job with a terminal: signals end it, a view follows it, its result is printed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from uspnet.cli.show import Shown, Summary, View
from uspnet.jobs.job import Job
from uspnet.jobs.result import Result
from uspnet.system.signals import end_signals

R = TypeVar("R", bound=Result)


@contextlib.contextmanager
def ended_by_signals(job: Job[Any]) -> Iterator[None]:
    """A signal ends the job gracefully; SIGTERM does not wait for peers."""

    def stop(number: int, _frame: FrameType | None) -> None:
        job.stop("signal", hurry=number == signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in end_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    job: Job[R], summary: Summary, shown: Shown, check: Callable[[R], None] = lambda _: None
) -> None:
    """Runs a job to its end and shows what came of it. `check` raises what makes it a failure."""
    with ended_by_signals(job), job, View(job, summary, shown) as view:
        result = job.run()
        check(result)
        view.finish(result.as_json())
