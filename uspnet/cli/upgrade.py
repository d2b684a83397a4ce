# SPDX-License-Identifier: Apache-2.0
"""`uspnet upgrade`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.cli.stats import JOB, job_name

if TYPE_CHECKING:
    from uspnet.errors import Incompatible
    from uspnet.jobs.cold import Planned
    from uspnet.jobs.upgrade import Upgraded


@app.command()
def upgrade(
    job: Annotated[str, typer.Argument(metavar="JOB", parser=job_name, help=JOB)],
    other: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="PATH",
            callback=o.file_name,
            help="Another installation: a virtual environment's folder, its interpreter, or its "
            "program uspnet. Default: the one that the job runs, as it is on disk now.",
        ),
    ] = None,
    cold: Annotated[
        bool,
        typer.Option(
            "--cold",
            help="Replace the whole program, not only the code that moves packets: the job stops "
            "for a moment, and goes on with what its ports hold.",
        ),
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Replace the code that moves a running job's packets, without losing one.

    Devices and peers notice nothing. If the new code fails within a second, the old code goes on.

    A version that can't work on the same memory, and the job's own process, are replaced with
    --cold: packets that come meanwhile are lost. On a terminal you are asked.
    """
    from uspnet.cli.views.console import print_json, show_prose
    from uspnet.errors import Incompatible
    from uspnet.jobs import orders

    try:
        done = None if cold else orders.upgrade(job, other)
    except Incompatible as error:
        done = None
        ask_for_cold(orders.plan(job, other), error)
    if cold and not quiet:
        print(f"uspnet: {announced(orders.plan(job, other))}", file=sys.stderr, flush=True)
    done = done or orders.upgrade_cold(job, other)
    if json:
        print_json(done.as_json())
    elif not quiet:
        show_prose([summary(done), *lacking(done)])


def announced(plan: Planned) -> str:
    """Say what a cold upgrade will do."""
    from uspnet.cli.views.units import format_time

    gap = format_time(plan.expected_us / 1e6)
    return f"uspnet {plan.before} → {plan.after}, cold: the job stops for about {gap}"


def ask_for_cold(plan: Planned, error: Incompatible) -> None:
    """Ask whether a job is to be upgraded cold. Raise Incompatible on a no, and where nobody can be
    asked.
    """
    from uspnet.cli.confirm import is_agreed
    from uspnet.errors import Incompatible
    from uspnet.text import printable

    if not is_agreed(f"{printable(error.message)}. {announced(plan)}. Go on?"):
        raise Incompatible(f"{error.message}; {announced(plan)}", error.hint)


def summary(done: Upgraded) -> str:
    """Say what was done."""
    versions = f"job {done.pid}: uspnet {done.before} → {done.after}, {done.kind}"
    if done.gap_us is None and done.kind == "cold":
        return f"{versions}; it waits for its peer, no loop ran yet"
    if done.gap_us is None:
        return f"{versions}; no loop ran: the job waits for its peer, or its run is over"
    from uspnet.cli.views.units import format_time

    gap = f"{done.gap_us:,.0f} µs" if done.kind == "warm" else format_time(done.gap_us / 1e6)
    return f"{versions}, gap {gap}, {done.dropped:,} packets dropped"


def lacking(done: Upgraded) -> list[str]:
    """Say what the sandbox of the new loops lacks."""
    return [f"their sandbox lacks: {', '.join(done.missing)}"] if done.missing else []
