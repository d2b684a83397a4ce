# SPDX-License-Identifier: Apache-2.0
"""`uspnet upgrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.cli.stats import process_id

if TYPE_CHECKING:
    from uspnet.jobs.upgrade import Upgraded


@app.command()
def upgrade(
    job: Annotated[
        int, typer.Argument(metavar="JOB", parser=process_id, help="A job's process id.")
    ],
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
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Replace the code that moves a running job's packets, without losing one.

    Devices and peers notice nothing. If the new code fails within a second, the old code goes on.
    """
    from uspnet.cli.views.console import print_json, show_prose
    from uspnet.jobs.orders import upgrade as order

    done = order(job, other)
    if json:
        print_json(done.as_json())
    elif not quiet:
        show_prose([summary(done), *lacking(done)])


def summary(done: Upgraded) -> str:
    """Say what was done."""
    versions = f"job {done.pid}: uspnet {done.before} → {done.after}, {done.kind}"
    if done.gap_us is None:
        return f"{versions}; it waits for a peer, no loop ran yet"
    return f"{versions}, gap {done.gap_us:,.0f} µs, {done.dropped:,} packets dropped"


def lacking(done: Upgraded) -> list[str]:
    """Say what the sandbox of the new loops lacks."""
    return [f"their sandbox lacks: {', '.join(done.missing)}"] if done.missing else []
