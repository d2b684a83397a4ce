# SPDX-License-Identifier: Apache-2.0
"""`uspnet extcap`: uspnet's ports in Wireshark."""

from __future__ import annotations

from typing import Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.errors import Usage


@app.command()
def extcap(
    install: Annotated[
        bool,
        typer.Option("--install", help="Put a program that starts uspnet where Wireshark looks."),
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it again.")] = False,
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            callback=o.file_name,
            help="That folder, instead of the one that tshark -G folders names.",
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Show uspnet's ports in Wireshark and tshark, which capture from them.

    Without --install, list what they would be shown: NICs that the kernel has given away, sockets
    of memif, running jobs, and any port that the options of the interface name.
    """
    from uspnet.cli.views.console import print_json, show_lines
    from uspnet.extcap import places

    if install and remove:
        raise Usage("--install and --remove: which?", "drop one of them")
    if folder is not None and not (install or remove):
        raise Usage("--folder needs --install or --remove", "add --install, or drop --folder")
    file = places.install(folder) if install else places.remove(folder) if remove else None
    done = places.answer(file)
    if json:
        print_json(done.as_json())
        return
    if file:
        show_lines([f"{'wrote' if install else 'removed'} {file}"])
    if not remove:
        show_lines(f"{each.port}  {each.display}" for each in done.interfaces)
