# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd --set-rules FILE JOB`: what a running job decides by is set anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from uspnet.cli import options as o
from uspnet.cli.trial import is_on_trial
from uspnet.errors import Usage

if TYPE_CHECKING:
    from uspnet.jobs.change import Changed, TableName

BESIDE = ("ports", "json", "quiet")  # what may be given beside it
OF: dict[str, TableName] = {"set_rules": "rules", "set_routes": "routes"}


def asked_for(context: typer.Context) -> str | None:
    """Return the parameter that names such a file; None: the command runs a job of its own. Raises
    Usage for two, and for other options beside it.
    """
    given = [name for name in OF if o.was_given(context, name)]
    if not given:
        return None
    option = "--" + given[0].replace("_", "-")
    others = [
        each
        for each in context.params
        if o.was_given(context, each) and each not in (*BESIDE, given[0])
    ]
    if others:
        other = "--" + others[0].strip("_").replace("_", "-")
        text = f"{option} changes a job that runs, and takes no {other}"
        raise Usage(text, f"write: uspnet fwd {option} FILE JOB")
    if is_on_trial():
        raise Usage(f"{option} changes a job that runs, and is none", "leave it out")
    return given[0]


def set_table(jobs: Sequence[str], which: str, name: str, *, json: bool, quiet: bool) -> None:
    """Have the one job that is named go by a file, and say so."""
    from uspnet.cli.views.console import print_json, show_prose
    from uspnet.jobs import orders

    option = "--" + which.replace("_", "-")
    if len(jobs) != 1 or not jobs[0]:
        hint = "name its process id, as in: uspnet stats --once; or the path of its --control"
        raise Usage(f"{option} takes one job", hint)
    done = orders.set_table(jobs[0], OF[which], name)
    if json:
        print_json(done.as_json())
    elif not quiet:
        show_prose([summary(done), *done.notices])


def summary(done: Changed) -> str:
    """Say what was done."""
    text = f"job {done.pid}: {done.entries:,} {done.table} instead of {done.before:,}"
    if done.gap_us is None:
        return f"{text}; no loop ran: the job waits for its peer, or its run is over"
    return f"{text}, gap {done.gap_us:,.0f} µs, {done.dropped:,} packets dropped"
