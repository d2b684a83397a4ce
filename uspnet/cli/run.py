# SPDX-License-Identifier: Apache-2.0
"""Run a job on a terminal: signals end it, a view follows it, its result is printed."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TypeVar

from uspnet.cli.checks import Check
from uspnet.cli.confirm import tell_of_endless_run
from uspnet.cli.ending import ended_by_signals
from uspnet.cli.views.live import Shown, View
from uspnet.jobs.job import Job
from uspnet.jobs.result import Result

R = TypeVar("R", bound=Result)


def run(job: Job[R], shown: Shown, checks: Sequence[Check] = ()) -> None:
    """Run a job to its end and show its result. `checks` raise what makes it a failure."""

    def stop(number: int) -> None:
        job.stop("signal", hurry=number == signal.SIGTERM)  # which does not wait for peers

    if not shown.quiet:
        tell_of_endless_run(job)
    with ended_by_signals(stop), job, View(job, shown) as view:
        result = job.run()
        for check in checks:
            check(result)
        view.finish(result.as_json())
