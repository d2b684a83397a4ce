# SPDX-License-Identifier: Apache-2.0
"""`uspnet demo`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

PACKETS = 500_000


@app.command()
def demo(
    write: Annotated[
        str | None,
        typer.Option(
            "-w", "--write", metavar="FILE", help="Capture file; a temporary one otherwise."
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-c", metavar="N", min=1, help="Packets to send.")
    ] = PACKETS,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Run the main job on software ports: pktgen, fwd and capture, without any privilege."""
    from uspnet.cli.show import plain_console, print_json
    from uspnet.errors import UspnetError
    from uspnet.jobs.demo import Demo

    console = plain_console()
    with Demo(count, write) as run:
        if not json and not quiet:
            run.on_notice = lambda text: console.print(text, soft_wrap=True)
        result = run.execute()
    if result["complete"] and result["lost"]:
        raise UspnetError(f"{result['lost']:,} packets did not arrive", "see: uspnet doctor")
    if json:
        print_json(result)
    elif result["complete"] and not quiet:
        show(console, result)


def show(console: Any, result: dict[str, Any]) -> None:
    """The run for people: a table, the file, and the commands to do each step by hand."""
    file = shlex.quote(result["files"][0])
    console.print()
    console.print(format_hops(result), soft_wrap=True)
    console.print(f"\nlost: {result['lost']:,} of {result['offered']:,} packets", style="bold")
    console.print(f"file: {file}  (try: tshark -c 3 -r {file})", soft_wrap=True)
    console.print("\nby hand, each in a terminal of its own:", style="bold")
    for hop in reversed(result["hops"]):
        console.print("  " + shlex.join(by_hand(hop["command"])), soft_wrap=True)


def by_hand(command: list[str]) -> list[str]:
    """The command with sockets that stay, and without the waiting that only a script needs."""
    names = {"a.sock": "/tmp/a.sock", "b.sock": "/tmp/b.sock"}  # noqa: S108 - for people to type

    def port(spec: str) -> str:
        path, *options = spec.split(",")
        kept = [option for option in options if not option.startswith("wait=")]
        return ",".join(["memif:" + names[path.rpartition("/")[2]], *kept])

    return [port(word) if word.startswith("memif:") else word for word in command]


def format_hops(result: dict[str, Any]) -> Table:
    """One row a process of the chain."""
    from rich.table import Table

    from uspnet.cli.show import format_count, format_rate

    table = Table(title="pktgen → memif → fwd → memif → capture", box=None, title_justify="left")
    table.add_column("process")
    for name in ("packets", "rate"):
        table.add_column(name, justify="right")
    for hop in result["hops"]:
        rate = format_rate(hop["pps"], "pps")
        table.add_row(hop["step"], format_count(hop["packets"]), rate)
    return table
