# SPDX-License-Identifier: Apache-2.0
"""`uspnet unbind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from uspnet.binding.unbind import Outcome


@app.command()
def unbind(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDR", help="A NIC: 0000:03:00.0 or 03:00.0.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All NICs that uspnet bound.")] = False,
    allow: Annotated[
        str | None,
        typer.Option(metavar="REASONS", help="unsaved: also unbind NICs without saved state."),
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Give NICs back to the kernel as they were: driver, name, MTU, addresses, routes."""
    from uspnet.binding.machine import this_machine
    from uspnet.binding.unbind import unbind as give_back
    from uspnet.errors import Usage

    if bool(addresses) == everything:
        raise Usage("name the NICs, or give --all", "see: uspnet devices")
    names = frozenset(name.strip() for name in (allow or "").split(",") if name.strip())
    outcomes = give_back(this_machine(), addresses or (), everything=everything, allow=names)
    show_outcomes("unbind", outcomes, json, quiet)


def show_outcomes(command: str, outcomes: list[Outcome], json: bool, quiet: bool) -> None:
    """Show what was done with each function."""
    from uspnet.binding.answer import OutcomesAnswer
    from uspnet.cli.views.console import print_json, show_prose

    if json:
        print_json(OutcomesAnswer(command=command, devices=tuple(outcomes)).as_json())
    elif not quiet:
        lines = [f"{outcome.address}: {outcome.text}" for outcome in outcomes]
        show_prose(lines or ["nothing is bound"])
