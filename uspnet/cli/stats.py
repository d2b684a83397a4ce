# SPDX-License-Identifier: Apache-2.0
"""`uspnet stats`: the counters of running jobs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from uspnet.telemetry import Boards, RunningJob

Key = tuple[int, int]  # a process id and when its job started
Rates = dict[tuple[Key, int], tuple[float | None, float | None]]  # of each job's ports

LOOK_S = 0.5  # between the two looks that --once takes: one alone shows no rates
NAME_WIDTH = 100  # characters of a port's name; --json has all of it


@app.command()
def stats(
    context: typer.Context,
    job: Annotated[
        int | None,
        typer.Argument(metavar="JOB", parser=units.count, help="A job's process id."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show the counters once.")] = False,
    interval: o.Interval = 1.0,
    json: o.Json = False,
) -> None:
    """Counters of running jobs, live or once.

    --json prints one object, and with --interval one a line until Ctrl-C, or the end of JOB.
    """
    from rich.live import Live

    from uspnet.cli.ending import until_interrupted
    from uspnet.cli.show import plain_console, print_json
    from uspnet.telemetry.stats import answer

    seen = find(job)
    if json:
        print_json(answer(seen).as_json())
        if o.was_given(context, "interval") and not once:
            follow_json(job, interval)
        return
    console = plain_console()
    if once or not console.is_terminal:
        show_once(console, seen)
        return
    with until_interrupted(), Live(console=console, auto_refresh=False) as live:
        live.update(format_jobs(seen, {}), refresh=True)
        while True:
            time.sleep(interval)
            before, seen = seen, find(job)
            live.update(format_jobs(seen, rates(before.jobs, seen.jobs)), refresh=True)


def find(pid: int | None) -> Boards:
    """All jobs, or the one with this process id. Raises NoDevice when it isn't running."""
    from uspnet.errors import NoDevice
    from uspnet.telemetry import look

    found = look(pid)
    if pid is not None and not found.jobs:
        raise NoDevice(f"no job of yours has process id {pid}", "see: uspnet stats --once")
    return found


def follow_json(pid: int | None, interval: float) -> None:
    """Print one object a line until a signal comes, or the job has ended."""
    from uspnet.cli.ending import until_interrupted
    from uspnet.cli.show import print_json
    from uspnet.telemetry import look
    from uspnet.telemetry.stats import answer

    with until_interrupted():
        while True:
            time.sleep(interval)
            seen = look(pid)
            if pid is not None and not seen.jobs:
                return
            print_json(answer(seen).as_json())


def key(job: RunningJob) -> Key:
    """What tells jobs apart: a process id may be given to another."""
    return job.pid, job.started_ns


def show_once(console: Any, first: Boards) -> None:
    """The jobs of one look, with rates from a second one. Those that end meanwhile stay as seen."""
    from uspnet.telemetry import look

    now: Rates = {}
    if first.jobs:
        time.sleep(LOOK_S)
        later = {key(job): job for job in look().jobs}
        before = list(first.jobs)
        first.jobs = [later.get(key(job), job) for job in before]
        now = rates(before, first.jobs)
    if first.jobs or first.unreadable:
        console.print(format_jobs(first, now))
    if not first.jobs:
        whose = "is running" if os.geteuid() == 0 else "of yours is running"
        console.print(f"no job {whose}")


def rates(before: list[RunningJob], after: list[RunningJob]) -> Rates:
    """Packets a second, received and sent, of each port since the look before; None: not known."""
    old = {key(job): job for job in before}
    found: Rates = {}
    for job in after:
        was = old.get(key(job), job)
        seconds = job.seen_at - was.seen_at
        for n, (past, port) in enumerate(zip(was.ports, job.ports, strict=False)):
            found[key(job), n] = (
                rate(past.rx_packets, port.rx_packets, seconds),
                rate(past.tx_packets, port.tx_packets, seconds),
            )
    return found


def rate(past: int | None, now: int | None, seconds: float) -> float | None:
    """What a counter gained a second; None where that can't be told."""
    if past is None or now is None or now < past or seconds <= 0:
        return None
    return (now - past) / seconds


def format_jobs(seen: Boards, now: Rates) -> Table:
    """One row a port of each job."""
    from rich.table import Table

    from uspnet.cli.show import PORT_COLUMNS, format_rate, port_cells
    from uspnet.telemetry.stats import user_name
    from uspnet.text import printable

    table = Table(title="uspnet stats", box=None, caption_justify="left")
    if count := seen.unreadable:
        what = "1 board" if count == 1 else f"{count} boards"
        table.caption = f"{what} could not be read: of another version of uspnet, or forged"
    for name in ("job", "pid", "user", "port"):
        table.add_column(name)
    for name in ("rx now", "tx now", *PORT_COLUMNS):
        table.add_column(name, justify="right")
    for job in seen.jobs:
        whose = (job.command, str(job.pid), user_name(job.uid))
        for n, port in enumerate(job.ports):
            pair = now.get((key(job), n), (None, None))
            cells = (format_rate(each, "pps") for each in pair)
            name = printable(port.port, NAME_WIDTH)
            table.add_row(*whose, name, *cells, *port_cells(port))
    return table
