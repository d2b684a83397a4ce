# SPDX-License-Identifier: Apache-2.0
"""`uspnet doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

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
    from uspnet.cli.show import plain_console, print_json
    from uspnet.jobs.doctor import examine

    result = examine(port)
    if json:
        print_json(result.as_json())
    else:
        console = plain_console()
        table = format_checks(result, all_states=not quiet)
        if table.row_count:
            console.print(table)
        if not quiet:
            count = result.problems
            console.print()
            console.print(f"{count or 'no'} problem{'' if count == 1 else 's'}")
    raise typer.Exit(1 if result.problems else 0)


def format_checks(result: Examination, *, all_states: bool) -> Table:
    """One row a check; only problems unless `all_states`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in ("", "check", "found", "fix"):
        table.add_column(name, overflow="fold")
    for row in result.checks:
        if all_states or row.state == "problem":
            state = Text(row.state, style=STYLES[row.state])
            table.add_row(state, row.check, row.found, row.mend)
    return table
