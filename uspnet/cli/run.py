# SPDX-License-Identifier: Apache-2.0
"""Run a job on a terminal: signals end it, a view follows it, its result is printed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import TypeVar

from uspnet.cli.checks import Check
from uspnet.cli.confirm import tell_of_endless_run
from uspnet.cli.ending import ended_by_signals
from uspnet.cli.trial import is_on_trial
from uspnet.cli.views.live import Shown, View
from uspnet.jobs.job import Job
from uspnet.jobs.result import Result
from uspnet.system.notify import Notifier
from uspnet.system.processes import is_stuck

R = TypeVar("R", bound=Result)


def run(job: Job[R], shown: Shown, checks: Sequence[Check] = ()) -> None:
    """Run a job to its end and show its result. `checks` raise what makes it a failure."""
    if is_on_trial():
        View(job, shown)  # which refuses what it can't show
        return
    manager = Notifier()

    def stop(number: int) -> None:
        manager.stopping()
        job.stop("signal", hurry=number == signal.SIGTERM)  # which does not wait for peers

    if not shown.quiet:
        tell_of_endless_run(job)
    with ended_by_signals(stop), job, View(job, shown) as view:
        report(job, manager)
        result = job.run()
        manager.ready()  # a short run, of which there was no tick
        manager.stopping()
        for check in checks:
            check(result)
        view.finish(result.as_json())


def report(job: Job[R], manager: Notifier) -> None:
    """Have the thread that waits for the job tell the service manager that it runs."""
    tick = job.on_tick

    def tell() -> None:
        tick()
        manager.ready()
        manager.alive(lambda: not is_stuck(os.getpid()))

    job.on_tick = tell
