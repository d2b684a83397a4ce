# SPDX-License-Identifier: Apache-2.0
"""`uspnet doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from uspnet.cli.views.table import Table
    from uspnet.jobs.doctor import Examination

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


@app.command()
def doctor(
    port: Annotated[
        str | None, typer.Argument(metavar="PORT", help="A port to check as well.")
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check what would stop uspnet from working here, and show the command that fixes it."""
    from uspnet.cli.views.console import plain_console, print_json, print_lines
    from uspnet.cli.views.table import fit
    from uspnet.jobs.doctor import examine

    result = examine(port)
    if json:
        print_json(result.as_json())
    else:
        console = plain_console()
        table = check_table(result, all_states=not quiet)
        print_lines(console, fit(table, console.width))
        if not quiet:
            count = result.problems
            console.print()
            console.print(f"{count or 'no'} problem{'' if count == 1 else 's'}")
    raise typer.Exit(1 if result.problems else 0)


def check_table(result: Examination, *, all_states: bool) -> Table:
    """Make a row a check; only problems unless `all_states`."""
    from uspnet.cli.views.table import Column, Table
    from uspnet.text import printable

    columns = [
        Column("", styles=STYLES),
        Column("check"),
        Column("found", prose=True),
        Column("fix"),
    ]
    rows = [
        [row.state, *map(printable, (row.check, row.found, row.mend))]
        for row in result.checks
        if all_states or row.state == "problem"
    ]
    return Table(columns, rows, names=2)
