# SPDX-License-Identifier: Apache-2.0
"""`uspnet regs`."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text

    from uspnet.cli.views.table import Table
    from uspnet.jobs.registers import Registers, Sample


@app.command()
def regs(
    port: Annotated[
        str, typer.Argument(metavar="PORT", help="A NIC: 0000:03:00.0, or qemu:e1000e.")
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="A register: CTRL, RDT[0], or a pattern: 'R*'."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read repeatedly, and mark what changes.")
    ] = False,
    interval: o.Interval = 1.0,
    json: o.Json = False,
    verbose: o.Verbose = 0,  # noqa: ARG001 - its callback does it
) -> None:
    """Show a device's registers by name, decoded.

    No register is written. VFIO resets a function when it is opened, so a NIC in a slot shows the
    state after that reset; a qemu: port shows the state of a new machine.

    Registers that clear on read (counters, interrupt causes) are read only when their full name is
    given; semaphore registers, which a read acquires, are never read. Ctrl-C ends --watch.
    """
    from uspnet.cli.ending import until_interrupted
    from uspnet.cli.views.console import print_json
    from uspnet.errors import Usage
    from uspnet.jobs.registers import Registers
    from uspnet.ports.registry import make_port
    from uspnet.system.privileges import drop

    if watch and json:
        raise Usage("--watch and --json exclude each other", "drop one of them")
    with until_interrupted(), Registers(make_port(port), names or ()) as job:
        drop(job.port.keeps)
        if watch:
            follow(job, interval)
        elif json:
            print_json(job.answer(job.sample()).as_json())
        else:
            show(job, job.sample())
        return
    if not watch:
        raise typer.Exit(130)


def head(job: Registers) -> list[str]:
    """Return the port, the NIC and the state it was found in, as phrases."""
    how = [job.port.how] if job.port.how else []
    return [f"{job.port.name}: {job.nic.title}", *how, job.nic.transport.found]


def show(job: Registers, samples: list[Sample]) -> None:
    """Show all of it, once: a table on a terminal, else one line a register."""
    from uspnet.cli.views.console import plain_console, print_lines

    console = plain_console()
    if console.is_terminal:
        print_lines(console, lay_out(job, samples, set(), console.width))
        return
    console.print(", ".join(head(job)), soft_wrap=True)
    found = list(rows(samples, set()))
    width = max(len(row[0]) for row in found)
    for name, where, text in found:
        console.print(f"{name:<{width}}  {where}  {text}", soft_wrap=True)


def rows(samples: list[Sample], moved: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, offset and value; equal neighbours of an array share a row, unless `moved`
    names them.
    """
    several = len({each.register.table for each in samples}) > 1

    def alike(each: Sample) -> Any:
        alone = each.register.name in moved
        return each.register.row.name, each.value, each.register.index if alone else -1

    for _, some in groupby(samples, alike):
        first, *others = some
        name = first.register.name
        if others:
            name = name.replace("]", f"-{others[-1].register.index}]")
        place = f"{type(first.register.table).__name__}+" if several else ""
        text = first.why if first.value is None else str(first.value)
        yield name, f"{place}{first.register.offset:#07x}", text


def register_table(samples: list[Sample], moved: set[str]) -> Table:
    """Make a row a register; those that `moved` come first, in a colour of their own."""
    from uspnet.cli.views.table import Column, Table

    found = sorted(rows(samples, moved), key=lambda row: row[0] not in moved)
    columns = [Column("register"), Column("offset"), Column("value", prose=True)]
    styles = ["bold yellow" if row[0] in moved else "" for row in found]

    def more(start: int) -> list[str]:
        return [f"and {len(found) - start} more", "", ""]

    return Table(columns, list(map(list, found)), 2, styles, more)


def lay_out(
    job: Registers, samples: list[Sample], moved: set[str], width: int, height: int | None = None
) -> list[Text]:
    """Lay out all of it in lines for a terminal; in `height` lines, where that is given."""
    from rich.text import Text

    from uspnet.cli.views.console import join_phrases
    from uspnet.cli.views.table import fit

    lines = [Text(line) for line in join_phrases(list(map(printable, head(job))), width)]
    room = None if height is None else height - len(lines)
    return [*lines, *fit(register_table(samples, moved), width, room)]


def changes(before: list[Sample], after: list[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Yield pairs of samples of registers whose value changed."""
    for was, now in zip(before, after, strict=True):
        if was.value != now.value:
            yield was, now


def follow(job: Registers, interval: float) -> None:
    """Sample the registers until a signal comes."""
    from uspnet.cli.views.console import plain_console

    console = plain_console()
    (watch_live if console.is_terminal else watch_lines)(console, job, interval)


def watch_live(console: Console, job: Registers, interval: float) -> None:
    """Show a table that stays where it is."""
    from uspnet.cli.ending import signals_held
    from uspnet.cli.views.screen import Screen

    samples, moved = job.sample(), set[str]()
    with signals_held() as interrupted, Screen(console) as screen:
        while True:
            screen.show(lay_out(job, samples, moved, screen.width, screen.height))
            if interrupted(interval):
                return
            before, samples = samples, job.sample()
            moved = {now.register.name for _, now in changes(before, samples)}


def watch_lines(console: Console, job: Registers, interval: float) -> None:
    """Show all registers, then a line for each change."""
    started = time.monotonic()
    samples = job.sample()
    show(job, samples)
    while True:
        time.sleep(interval)
        before, samples = samples, job.sample()
        for was, now in changes(before, samples):
            at = time.monotonic() - started
            text = f"{at:.1f} s  {now.register.name}  {was.value} → {now.value}"
            console.print(text, soft_wrap=True)
