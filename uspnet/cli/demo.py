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
from uspnet.jobs.choices import COUNT_MAX

if TYPE_CHECKING:
    from rich.console import Console

    from uspnet.cli.views.table import Table
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
            parser=units.whole(1, COUNT_MAX),
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
    show_table(console, "pktgen → memif → fwd → memif → capture", hop_table(result))
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
    if nic.missing:
        console.print(f"no emulated NIC: {nic.missing} ({nic.hint})", soft_wrap=True)
        return
    sender, receiver = nic_names(nic)
    title = f"pktgen → {sender} → cable → {receiver} → counted"
    show_table(console, title, nic_table(nic))
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


def show_table(console: Console, title: str, table: Table) -> None:
    """Print a table below its title, in the console's width."""
    from rich.text import Text

    from uspnet.cli.views.console import print_lines, wrap_words
    from uspnet.cli.views.table import fit

    print_lines(console, [Text(line, style="italic") for line in wrap_words(title, console.width)])
    print_lines(console, fit(table, console.width))


def hop_table(result: DemoResult) -> Table:
    """Return a table with one row for each process of the chain."""
    from uspnet.cli.views.table import Column, Table
    from uspnet.cli.views.units import format_count, format_rate

    heads = [Column("process"), *(Column(name, right=True) for name in ("packets", "rate"))]
    rows = [
        [hop.step, format_count(hop.packets), format_rate(hop.pps, "pps")] for hop in result.hops
    ]
    return Table(heads, rows)


def nic_names(nic: NicHop) -> list[str]:
    """Return the specs of the two emulated NICs, sender first, without their options."""
    return [word.partition(",")[0] for word in nic.command if "qemu:" in word]


def nic_table(nic: NicHop) -> Table:
    """Return a table of what one NIC sent and the other received."""
    from uspnet.cli.views.table import Column, Table
    from uspnet.cli.views.units import format_count, format_rate

    sender, receiver = nic_names(nic)
    numbers = [Column(name, right=True) for name in ("packets", "bytes", "rate")]
    rate = format_rate(nic.pps, "pps")
    rows = [
        [f"{sender} sent", format_count(nic.sent), format_count(nic.tx_bytes), rate],
        [f"{receiver} received", format_count(nic.received), format_count(nic.rx_bytes), rate],
    ]
    return Table([Column("driver, on QEMU's model"), *numbers], rows)
