# SPDX-License-Identifier: Apache-2.0
"""`uspnet demo`."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.errors import Usage, UspnetError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from uspnet.jobs.demo.result import DemoResult, NicHop

PACKETS = 500_000


def capture_file(option: typer.CallbackParam, value: str | None) -> str | None:
    """Return the name of the capture file. Raise Usage for `-`: the report goes to stdout."""
    if value == "-":
        raise Usage("demo: -w - would mix the capture with the report", "name a file: -w x.pcapng")
    return o.file_name(option, value)


@app.command()
def demo(
    write: Annotated[
        str | None,
        typer.Option(
            "-w",
            "--write",
            metavar="FILE",
            callback=capture_file,
            help="Keep the capture in FILE; otherwise it is removed at the end.",
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
    """Run the main job: pktgen, fwd and capture on software ports, then on two emulated NICs.

    No privilege is needed. Without QEMU there are no emulated NICs, and the command that installs
    it is shown.
    """
    from uspnet.cli.ending import ended_by_signals
    from uspnet.cli.views.console import plain_console, print_json
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


def show(console: Console, result: DemoResult) -> None:
    """Print the tables, the file that was kept, and the commands to run each step by hand."""
    console.print()
    console.print(format_hops(result), soft_wrap=True)
    console.print(f"lost: {result.lost:,} of {result.offered:,} packets", style="bold")
    for name in map(shlex.quote, result.files):
        console.print(f"file: {name}  (try: tshark -c 3 -r {name})", soft_wrap=True)
    console.print()
    show_nic(console, result.nic)
    console.print()
    console.print("by hand, each in a terminal of its own:", style="bold")
    for hop in reversed(result.hops):
        console.print("  " + shlex.join(by_hand(hop.command)), soft_wrap=True)
    if not result.nic.missing:
        console.print("and the emulated NICs, in one:", style="bold")
        console.print("  " + shlex.join(by_hand(result.nic.command)), soft_wrap=True)


def show_nic(console: Console, nic: NicHop) -> None:
    """Print the counts of the two emulated NICs, or why there are none."""
    from rich.table import Table

    from uspnet.cli.views.units import format_count, format_rate

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
    """Return a command of the demo as a user would type it: short names, and no timeouts."""
    names = {"a.sock": "/tmp/a.sock", "b.sock": "/tmp/b.sock"}  # noqa: S108 - for people to type
    command = ["demo.pcapng" if command[n - 1] == "-w" else word for n, word in enumerate(command)]

    def port(spec: str) -> str:
        path, *options = re.split(r"(?<!\\),", spec)
        kept = [option for option in options if not option.startswith("wait=")]
        return ",".join(["memif:" + names[path.rpartition("/")[2]], *kept])

    plain = [re.sub(r"wire=(\\,|[^,])+", "wire=lan", word) for word in command]
    return [port(word) if word.startswith("memif:") else word for word in plain]


def format_hops(result: DemoResult) -> Table:
    """Return a table with one row for each process of the chain."""
    from rich.table import Table

    from uspnet.cli.views.units import format_count, format_rate

    table = Table(title="pktgen → memif → fwd → memif → capture", box=None, title_justify="left")
    table.add_column("process")
    for name in ("packets", "rate"):
        table.add_column(name, justify="right")
    for hop in result.hops:
        rate = format_rate(hop.pps, "pps")
        table.add_row(hop.step, format_count(hop.packets), rate)
    return table
