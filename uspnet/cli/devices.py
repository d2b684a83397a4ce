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
    from rich.text import Text

    from uspnet.binding.inventory import Nic
    from uspnet.cli.views.table import Table

COLUMNS = ("address", "model", "numa", "kernel", "interface", "xdp", "group", "uspnet", "state")
STYLES = {"free": "green", "bound": "cyan", "in use": "red", "shared": "yellow"}


@app.command()
def devices(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="ADDR", help="Only these NICs.")
    ] = None,
    json: o.Json = False,
) -> None:
    """List NICs: address, model, drivers, interface, XDP mode, IOMMU group, and which are free."""
    from uspnet.binding.inventory import DevicesAnswer, inventory
    from uspnet.binding.machine import this_machine
    from uspnet.cli.views.console import plain_console, print_json, print_lines

    nics = inventory(this_machine(), which or ())
    if json:
        print_json(DevicesAnswer(command="devices", devices=tuple(nics)).as_json())
    elif not nics:
        print("no PCI network card")
    else:
        console = plain_console()
        print_lines(console, lay_out(nics, console.width))
        if os.geteuid():
            console.print(
                "without root, a NIC that another user's program uses may be shown as free"
            )


def lay_out(nics: list[Nic], width: int) -> list[Text]:
    """Lay out the table, and why each NIC is in its state."""
    from rich.text import Text

    from uspnet.cli.views.console import wrap_words
    from uspnet.cli.views.table import fit

    reasons = [f"{nic.address} is {nic.state}: {nic.why}" for nic in nics if nic.why]
    told = [Text(line) for text in reasons for line in wrap_words(printable(text), width)]
    return [*fit(nic_table(nics), width), *told]


def nic_table(nics: list[Nic]) -> Table:
    """Make a row a NIC. Both drivers' columns are headed by whose they are."""
    from uspnet.cli.views.table import Column, Table

    columns = [
        Column(name, prose=name in {"model", "group"}, styles=STYLES if name == "state" else {})
        for name in COLUMNS
    ]
    return Table(columns, [cells(nic) for nic in nics])


def cells(nic: Nic) -> list[str]:
    """Return the cells of a NIC's row."""
    members = f" with {', '.join(nic.group_members)}" if nic.group_members else ""
    return [
        nic.address,
        printable(nic.model),
        "-" if nic.numa is None else str(nic.numa),
        nic.kernel_driver or "-",
        "\n".join(map(printable, (*nic.interfaces, *nic.addresses))) or "-",
        nic.xdp or "-",
        f"{nic.iommu_group}{members}" if nic.iommu_group else "-",
        nic.uspnet_driver or "-",
        nic.state,
    ]
