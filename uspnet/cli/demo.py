# SPDX-License-Identifier: Apache-2.0
"""`uspnet demo`."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from uspnet.jobs.demo.result import DemoResult, NicHop

PACKETS = 500_000


@app.command()
def demo(
    write: Annotated[
        str | None,
        typer.Option(
            "-w",
            "--write",
            metavar="FILE",
            callback=o.file_name,
            help="Capture file; a temporary one otherwise.",
        ),
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--count",
            "-c",
            metavar="N",
            parser=units.whole(1, o.COUNT_MAX),
            help="Packets to send: 1000, 1k, 1M or 1e6.",
        ),
    ] = PACKETS,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Run the main job: pktgen, fwd and capture on software ports, then an emulated NIC.

    No privilege is needed. Without QEMU there is no emulated NIC, and the command that installs it
    is shown.
    """
    from uspnet.cli.ending import ended_by_signals
    from uspnet.cli.show import plain_console, print_json
    from uspnet.errors import UspnetError
    from uspnet.jobs.demo.job import Demo

    console = plain_console()
    run = Demo(count, write)
    with ended_by_signals(lambda _: run.stop()), run:
        if not json and not quiet:
            run.on_notice = lambda text: console.print(text, soft_wrap=True)
        result = run.run()
    lost = result.lost + (result.nic.lost or 0)
    if result.complete and lost:
        raise UspnetError(f"{lost:,} packets did not arrive", "see: uspnet doctor")
    if json:
        print_json(result.as_json())
    elif result.complete and not quiet:
        show(console, result)


def show(console: Any, result: DemoResult) -> None:
    """The run for people: a table, the file, and the commands to do each step by hand."""
    file = shlex.quote(result.files[0])
    console.print()
    console.print(format_hops(result), soft_wrap=True)
    console.print(f"lost: {result.lost:,} of {result.offered:,} packets", style="bold")
    console.print(f"file: {file}  (try: tshark -c 3 -r {file})", soft_wrap=True)
    console.print()
    show_nic(console, result.nic)
    console.print()
    console.print("by hand, each in a terminal of its own:", style="bold")
    for hop in reversed(result.hops):
        console.print("  " + shlex.join(by_hand(hop.command)), soft_wrap=True)
    if not result.nic.missing:
        console.print("and the emulated NICs, in one:", style="bold")
        console.print("  " + shlex.join(by_hand(result.nic.command)), soft_wrap=True)


def show_nic(console: Any, nic: NicHop) -> None:
    """What two emulated NICs did, or the one line that says why there are none."""
    from rich.table import Table

    from uspnet.cli.show import format_count, format_rate

    if nic.missing:
        console.print(f"no emulated NIC: {nic.missing} ({nic.hint})", soft_wrap=True)
        return
    sender, receiver = (word.partition(",")[0] for word in nic.command if "qemu:" in word)
    title = f"pktgen → {sender} → cable → {receiver} → counted"
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("driver, on QEMU's model")
    for name in ("packets", "bytes", "rate"):
        table.add_column(name, justify="right")
    for name, packets, octets in (
        (f"{sender} sent", nic.sent, nic.tx_bytes),
        (f"{receiver} received", nic.received, nic.rx_bytes),
    ):
        rate = format_rate(nic.pps, "pps")
        table.add_row(name, format_count(packets), format_count(octets), rate)
    console.print(table, soft_wrap=True)
    console.print(f"lost: {nic.lost:,} of {nic.offered:,} packets", style="bold")


def by_hand(command: list[str]) -> list[str]:
    """The command with names that stay, and without the waiting that only a script needs."""
    names = {"a.sock": "/tmp/a.sock", "b.sock": "/tmp/b.sock"}  # noqa: S108 - for people to type

    def port(spec: str) -> str:
        path, *options = re.split(r"(?<!\\),", spec)
        kept = [option for option in options if not option.startswith("wait=")]
        return ",".join(["memif:" + names[path.rpartition("/")[2]], *kept])

    plain = [re.sub(r"wire=(\\,|[^,])+", "wire=lan", word) for word in command]
    return [port(word) if word.startswith("memif:") else word for word in plain]


def format_hops(result: DemoResult) -> Table:
    """One row a process of the chain."""
    from rich.table import Table

    from uspnet.cli.show import format_count, format_rate

    table = Table(title="pktgen → memif → fwd → memif → capture", box=None, title_justify="left")
    table.add_column("process")
    for name in ("packets", "rate"):
        table.add_column(name, justify="right")
    for hop in result.hops:
        rate = format_rate(hop.pps, "pps")
        table.add_row(hop.step, format_count(hop.packets), rate)
    return table
