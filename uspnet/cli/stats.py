# SPDX-License-Identifier: Apache-2.0
"""`uspnet stats`: the counters of running jobs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from uspnet.cli.views.ports import Rates
    from uspnet.telemetry import Boards, RunningJob

Key = tuple[int, int]  # a process id and when its job started
Now = dict[tuple[Key, int], "Rates"]  # of each job's ports

LOOK_S = 0.5  # between the two looks that --once takes: one alone shows no rates
NAME_WIDTH = 100  # characters of a port's name; --json has all of it
PATIENCE_S = 10.0  # of a job that is busy
JOB = "A job's process id, or the path of its --control."


def job_name(text: str) -> str:
    """Read what names a job: its process id, or a path with a /. Raise Unreadable."""
    from uspnet.telemetry.reaching import is_process_id

    if "/" not in text and not is_process_id(text):
        hint = "see: uspnet stats --once; or name the path of its --control"
        raise units.Unreadable("not a process id, nor a path", hint)
    return text


def pid_of(job: str) -> int:
    """Return a job's process id. Raise as `connect_at` for a path."""
    from uspnet.telemetry.reaching import connect_at, is_process_id

    if is_process_id(job):
        return int(job)
    connection, pid = connect_at(job, PATIENCE_S)
    connection.close()
    return pid


@app.command()
def stats(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", parser=job_name, help=JOB),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show the counters once.")] = False,
    interval: o.Interval = 1.0,
    json: o.Json = False,
) -> None:
    """Show counters of running jobs, live or once.

    --json prints one object, and with --interval one a line until Ctrl-C, or the end of JOB.
    """
    from uspnet.cli.views.console import plain_console, print_json
    from uspnet.telemetry.stats import answer

    pid = None if job is None else pid_of(job)
    seen = find(pid)
    if json:
        print_json(answer(seen).as_json())
        if o.was_given(context, "interval") and not once:
            follow_json(pid, interval)
        return
    console = plain_console()
    if once or not console.is_terminal:
        show_once(console, seen)
    else:
        watch(console, seen, pid, interval)


def find(pid: int | None) -> Boards:
    """Return all jobs, or the one with this process id. Raise NoDevice when it isn't running."""
    from uspnet.errors import NoDevice
    from uspnet.telemetry import look

    found = look(pid)
    if pid is not None and not found.jobs:
        raise NoDevice(f"no job of yours has process id {pid}", "see: uspnet stats --once")
    return found


def watch(console: Console, seen: Boards, pid: int | None, interval: float) -> None:
    """Show a table that stays where it is until a signal comes, or the job has ended."""
    from uspnet.cli.ending import signals_held
    from uspnet.cli.views.screen import Screen
    from uspnet.telemetry import look

    now: Now = {}
    with signals_held() as interrupted, Screen(console) as screen:
        while seen.jobs or pid is None:
            screen.show(format_screen(seen, now, screen.width, screen.height))
            if interrupted(interval):
                return
            before, seen = seen, look(pid)
            now = rates(before.jobs, seen.jobs)


def format_screen(seen: Boards, now: Now, width: int, height: int) -> list[Text]:
    """Lay out all jobs for a screen, and how to leave it."""
    from rich.text import Text

    from uspnet.cli.views.table import HEAD

    lines = format_jobs(seen, now, width, height - 2) if seen.jobs else [Text(no_job())]
    return [
        Text("uspnet stats", HEAD),
        *lines,
        Text("Ctrl-C quits; jobs keep running", style="dim"),
    ]


def no_job() -> str:
    """Say that no job can be seen."""
    return f"no job {'' if os.geteuid() == 0 else 'of yours '}is running"


def follow_json(pid: int | None, interval: float) -> None:
    """Print one object a line until a signal comes, or the job has ended."""
    from uspnet.cli.ending import signals_held
    from uspnet.cli.views.console import print_json
    from uspnet.telemetry import look
    from uspnet.telemetry.stats import answer

    with signals_held() as interrupted:
        while not interrupted(interval):
            seen = look(pid)
            if pid is not None and not seen.jobs:
                return
            print_json(answer(seen).as_json())


def key(job: RunningJob) -> Key:
    """Return what identifies a job: its process id alone may be reused."""
    return job.pid, job.started_ns


def show_once(console: Console, first: Boards) -> None:
    """Show the jobs of one look, with rates from a second one. Those that end meanwhile stay."""
    from uspnet.cli.views.console import print_lines
    from uspnet.telemetry import look

    now: Now = {}
    if first.jobs:
        time.sleep(LOOK_S)
        later = {key(job): job for job in look().jobs}
        before = list(first.jobs)
        first.jobs = [later.get(key(job), job) for job in before]
        now = rates(before, first.jobs)
    if first.jobs or first.unreadable:
        print_lines(console, format_jobs(first, now, console.width))
    if not first.jobs:
        console.print(no_job())


def rates(before: list[RunningJob], after: list[RunningJob]) -> Now:
    """Compute the rates of each port since the look before."""
    from uspnet.cli.views.ports import Rates

    old = {key(job): job for job in before}
    found: Now = {}
    for job in after:
        was = old.get(key(job), job)
        seconds = job.seen_at - was.seen_at
        for n, (past, port) in enumerate(zip(was.ports, job.ports, strict=False)):
            found[key(job), n] = Rates.between(past, port, seconds)
    return found


def format_notes(job: RunningJob, width: int) -> list[str]:
    """Say what is enforced on a job's loops, how often they were replaced, and what the kernel
    counts of its ports besides.
    """
    from uspnet.cli.views.console import join_phrases
    from uspnet.cli.views.ports import format_statistics
    from uspnet.text import printable

    lines = []
    if job.sandbox:
        enforced = f"{job.pid}: loops have {printable(str(job.sandbox))}"
        lines += join_phrases(enforced.split(", "), width)
    if job.upgrades or job.restarts:
        counts = [f"{job.pid}: upgrades {job.upgrades:,}", f"restarts {job.restarts:,}"]
        lines += join_phrases(counts, width)
    for port in job.ports:
        if counts := format_statistics(port.statistics):
            counts[0] = f"{job.pid}: {printable(port.port, min(width, NAME_WIDTH))}  {counts[0]}"
            lines += join_phrases(counts, width)
    return lines


def format_jobs(seen: Boards, now: Now, width: int, height: int | None = None) -> list[Text]:
    """Lay out a row a port of each job."""
    from rich.text import Text

    from uspnet.cli.views.console import join_phrases
    from uspnet.cli.views.ports import Rates, Row, label, port_table
    from uspnet.cli.views.table import fit
    from uspnet.telemetry.stats import user_name
    from uspnet.text import printable

    lines = []
    if count := seen.unreadable:
        boards = f"{count} board{'' if count == 1 else 's'} could not be read"
        lines = join_phrases([f"{boards}: of another version of uspnet", "or corrupted"], width)
    notes = [line for job in seen.jobs for line in format_notes(job, width)]
    if height is not None and len(notes) > height // 2:
        notes = join_phrases(["sandboxes, upgrades, kernel counts: see uspnet stats --once"], width)
    lines += notes
    rows = [
        Row(
            (
                printable(job.command),
                str(job.pid),
                printable(user_name(job.uid)),
                label(port.port, min(width, NAME_WIDTH)),
            ),
            port,
            now.get((key(job), n), Rates()),
        )
        for job in seen.jobs
        for n, port in enumerate(job.ports)
    ]
    commands = {job.command for job in seen.jobs}
    command = commands.pop() if len(commands) == 1 else "all"
    table = port_table(rows, ("job", "pid", "user", "port"), command)
    room = None if height is None else height - len(lines)
    return [*fit(table, width, room), *map(Text, lines)]
