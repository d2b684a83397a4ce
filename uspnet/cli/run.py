# SPDX-License-Identifier: Apache-2.0
"""Run a job on a terminal: signals end it, a view follows it, its result is printed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TypeVar

from uspnet.cli import again
from uspnet.cli.checks import Check, check_all
from uspnet.cli.confirm import tell_of_endless_run
from uspnet.cli.ending import ended_by_signals
from uspnet.cli.suspending import suspended_by_signals
from uspnet.cli.trial import is_on_trial, note
from uspnet.cli.views.live import Shown, View
from uspnet.errors import UspnetError
from uspnet.jobs.job import Job
from uspnet.jobs.result import Result
from uspnet.system.kept import State
from uspnet.system.notify import Notifier
from uspnet.system.processes import is_stuck
from uspnet.text import printable

LINK_S = 5.0  # so long a NIC's link may take to come back, which is part of an upgrade's gap
R = TypeVar("R", bound=Result)
Leaving = tuple[State, list[str]]  # the program that goes on with it


def run(job: Job[R], shown: Shown, checks: Sequence[Check] = ()) -> None:
    """Run a job to its end and show its result. `checks` raise what makes it a failure."""
    if is_on_trial():
        View(job, shown)  # which refuses what it can't show
        note(job)
        return
    manager = Notifier()
    try:
        leaving = _run(job, shown, checks, manager)
    except UspnetError as error:
        if again.fail(error) and error.partial and not shown.as_json:
            View(job, shown).finish(error.partial)
        raise
    if leaving:
        why = again.leave(*leaving, manager.variables)
        manager.close()
        os.environ.update(manager.variables)  # for this version's next run, which goes on with it
        print(f"uspnet: not upgraded: {printable(why.message)}", file=sys.stderr, flush=True)


def _run(job: Job[R], shown: Shown, checks: Sequence[Check], manager: Notifier) -> Leaving | None:
    """Do it. Returns with what another version goes on; None: it is over."""

    def stop(number: int) -> None:
        if again.holds(number):
            return
        manager.stopping()
        job.stop("signal", hurry=number == signal.SIGTERM)  # which does not wait for peers

    if not shown.quiet:
        tell_of_endless_run(job)
    with (
        ended_by_signals(stop),
        again.signals_let(),
        job,
        View(job, shown) as view,
        suspended_by_signals(job, view),
    ):
        report(job, manager)
        job.run()
        again.hold_signals()
        if leaving := job.hand_over():
            return leaving
        again.let_signals()
        result = job.result()
        if not manager.is_stopping:
            manager.ready()  # a short run, of which there was no tick
        manager.stopping()
        again.arrive(job)
        check_all(checks, result, job.on_notice)
        view.finish(result.as_json())
    return None


def report(job: Job[R], manager: Notifier) -> None:
    """Have the thread that waits for the job tell the service manager that it runs, and who has
    asked for this version. A job that waits for its peer is alive, and not ready.
    """
    tick = job.on_tick

    def live() -> None:
        # While new loops are on trial, the process of the old ones is stopped.
        manager.alive(lambda: not is_stuck(os.getpid()) or job.crew.upgrades.on_trial())

    def wait(seconds: float) -> None:
        if seconds > LINK_S:
            again.arrive(job)
        live()

    def tell() -> None:
        tick()
        again.arrive(job)
        manager.ready()
        live()

    job.on_tick, job.on_wait = tell, wait
