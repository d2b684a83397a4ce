# SPDX-License-Identifier: Apache-2.0
"""`uspnet devices`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from uspnet.binding.inventory import Nic

COLUMNS = ("address", "model", "numa", "kernel", "interface", "group", "uspnet", "state")
STYLES = {"free": "green", "bound": "cyan", "in use": "red", "shared": "yellow"}


@app.command()
def devices(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="ADDR", help="Only these NICs.")
    ] = None,
    json: o.Json = False,
) -> None:
    """List NICs: address, model, drivers, interface, IOMMU group, and whether each is free."""
    from uspnet.binding.inventory import DevicesAnswer, inventory
    from uspnet.binding.machine import this_machine
    from uspnet.cli.show import plain_console, print_json

    nics = inventory(this_machine(), which or ())
    if json:
        print_json(DevicesAnswer(command="devices", devices=tuple(nics)).as_json())
    elif not nics:
        print("no PCI network card")
    else:
        console = plain_console()
        console.print(format_nics(nics))
        for nic in nics:
            if nic.why:
                console.print(f"{nic.address} is {nic.state}: {nic.why}", soft_wrap=True)
        if os.geteuid():
            console.print(
                "without root, a NIC that another user's program uses may be shown as free"
            )


def format_nics(nics: list[Nic]) -> Table:
    """One row a NIC. Both drivers' columns are headed by whose they are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in COLUMNS:
        table.add_column(name, no_wrap=name in {"address", "state"})
    for nic in nics:
        members = f" with {', '.join(nic.group_members)}" if nic.group_members else ""
        cells = (
            nic.address,
            nic.model,
            "-" if nic.numa is None else str(nic.numa),
            nic.kernel_driver or "-",
            lines((*nic.interfaces, *nic.addresses)),
            f"{nic.iommu_group}{members}" if nic.iommu_group else "-",
            nic.uspnet_driver or "-",
        )
        state = Text(nic.state, style=STYLES[nic.state])
        table.add_row(*cells, state)
    return table


def lines(names: tuple[str, ...]) -> Text:
    """Each on a line of its own."""
    from rich.text import Text

    return Text("\n".join(map(printable, names)) or "-")
