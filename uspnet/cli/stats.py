# SPDX-License-Identifier: Apache-2.0
"""`uspnet stats`: the counters of running jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from uspnet.telemetry import RunningJob

Rates = dict[tuple[int, int], tuple[float, float]]


@app.command()
def stats(
    job: Annotated[int | None, typer.Argument(metavar="JOB", help="A job's process id.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show the counters once.")] = False,
    interval: o.Interval = 1.0,
    json: o.Json = False,
) -> None:
    """Counters of running jobs, live or once."""
    from rich.live import Live

    from uspnet.cli.show import plain_console, print_json, until_interrupted

    jobs = find(job)
    if json:
        rows = [{"pid": j.pid, "job": j.command, "ports": j.ports} for j in jobs]
        print_json({"command": "stats", "jobs": rows})
        return
    console = plain_console()
    if once or not console.is_terminal:
        console.print(format_jobs(jobs, {}) if jobs else "no job is running")
        return
    with until_interrupted(), Live(console=console, auto_refresh=False) as live:
        while True:
            before, jobs = jobs, find(job)
            live.update(format_jobs(jobs, rates(before, jobs, interval)), refresh=True)
            time.sleep(interval)


def find(pid: int | None) -> list[RunningJob]:
    """All jobs, or the one with this process id. Raises NoDevice when it isn't running."""
    from uspnet.errors import NoDevice
    from uspnet.telemetry import running_jobs

    jobs = [job for job in running_jobs() if pid in (None, job.pid)]
    if pid is not None and not jobs:
        raise NoDevice(f"no job of yours has process id {pid}", "see: uspnet stats --once")
    return jobs


def rates(before: list[RunningJob], after: list[RunningJob], seconds: float) -> Rates:
    """Packets a second, received and sent, of each port since the look before."""
    old = {(job.pid, n): port for job in before for n, port in enumerate(job.ports)}
    found: Rates = {}
    for job in after:
        for n, port in enumerate(job.ports):
            was = old.get((job.pid, n), port)
            found[job.pid, n] = (
                (port["rx_packets"] - was["rx_packets"]) / seconds,
                (port["tx_packets"] - was["tx_packets"]) / seconds,
            )
    return found


def format_jobs(jobs: list[RunningJob], now: Rates) -> Table:
    """One row a port of each job."""
    from rich.table import Table

    from uspnet.cli.show import PORT_COLUMNS, format_rate, port_cells

    table = Table(title="uspnet stats", box=None)
    for name in ("job", "pid", "port"):
        table.add_column(name)
    for name in ("rx now", "tx now", *PORT_COLUMNS):
        table.add_column(name, justify="right")
    for job in jobs:
        for n, port in enumerate(job.ports):
            pair = now.get((job.pid, n), (0.0, 0.0))
            cells = [format_rate(rate, "pps") for rate in pair]
            table.add_row(job.command, str(job.pid), port["port"], *cells, *port_cells(port))
    return table
