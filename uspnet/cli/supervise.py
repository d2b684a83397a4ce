# SPDX-License-Identifier: Apache-2.0
"""`uspnet run`: the jobs of a file, supervised."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uspnet.answer import Json
from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.cli.ending import handled
from uspnet.cli.logs import LogLevel

if TYPE_CHECKING:
    from uspnet.cli.logs import Log
    from uspnet.jobs.supervise.supervisor import Supervisor


@app.command(name="run")
def run_jobs(
    context: typer.Context,
    jobs_file: Annotated[
        str, typer.Argument(metavar="JOBS.yaml", help="The file of jobs; - is stdin.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Check the file, and start nothing.")
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="The least important lines to log.")
    ] = LogLevel.info,
    json: o.Json = False,
) -> None:
    """Start the jobs of a file, watch them, and start them again when they fail.

    Each job is a process of its own. The file, YAML or JSON, has the key jobs, and below it a name
    for each job, with its command and that command's options by their long names:

        jobs:
          edge:
            fwd: ["memif:/run/a.sock,role=server", "packet:eth1"]
            mode: macswap
            cores: [1]
            restart: on-failure      # no (the default), on-failure, always
            restart-delay: 1s        # doubles each time, up to a minute
            restart-limit: 5 in 10m  # after which the job has failed
          record:
            capture: packet:eth2
            write: /var/tmp/x.pcapng
            after: [edge]            # start when edge is ready

    A job that ended with 2 or 3, wrong usage or a refusal, is not started again. A number for
    restart is the command's own --restart; restart: [on-failure, 3] is both. Paths are as on
    the command line: relative to the current folder.

    SIGINT (Ctrl-C) and SIGTERM end the jobs gracefully, the last started first; a second one ends
    all at once. SIGHUP reads the file again: jobs whose entry changed begin anew, new ones start,
    those that are gone end; a wrong file changes nothing. A terminal that is closed ends the jobs.
    When run itself is killed, so are they.

    The log goes to stderr: time, level, job and text or, under systemd, priority, level, job and
    text. It is a service of Type=notify: uspnet.service, in share/doc/uspnet below the prefix, is a
    unit. --json prints one object at the end.
    """
    from uspnet.cli.jobs_file.entries import read_entries
    from uspnet.cli.logs import Log
    from uspnet.cli.views.console import print_json
    from uspnet.jobs.supervise.supervisor import Supervisor
    from uspnet.system.notify import Notifier

    group: Any = context.find_root().command
    entries = read_entries(jobs_file, group)
    if check:
        show_checked(jobs_file, [entry.name for entry in entries], as_json=json)
        return
    log = Log(log_level)
    reread = None if jobs_file == "-" else lambda: read_entries(jobs_file, group)
    supervisor = Supervisor(entries, Notifier(), log, reread)
    supervisor.on_result = lambda name, result: log_result(log, name, result)
    with signals_passed(supervisor), shown(supervisor, log, as_json=json):
        result = supervisor.run()
    if error := supervisor.failure():
        raise error
    if json:
        print_json(result.as_json())


def show_checked(name: str, jobs: list[str], *, as_json: bool) -> None:
    """Say that nothing is wrong with a file."""
    from uspnet.cli.views.console import print_json, show_lines
    from uspnet.jobs.supervise.result import RunChecked

    if as_json:
        print_json(RunChecked(command="run", file=name, jobs=jobs).as_json())
    else:
        count = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
        show_lines([f"{name}: {count}, nothing is wrong: {', '.join(jobs)}"])


def signals_passed(supervisor: Supervisor) -> AbstractContextManager[None]:
    """Pass signals on: SIGINT and SIGTERM end the jobs, SIGHUP has the file read again, or ends the
    jobs when it says that the terminal is gone.
    """
    terminals = {fd for fd in range(3) if os.isatty(fd)}

    def hang_up(_number: int) -> None:
        if all(map(os.isatty, terminals)):
            supervisor.reload()
        else:
            supervisor.stop(signal.SIGTERM)

    stop = supervisor.stop
    return handled({signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: hang_up})


@contextlib.contextmanager
def shown(supervisor: Supervisor, log: Log, *, as_json: bool) -> Iterator[None]:
    """Show a table of the jobs below the log, on a terminal."""
    from uspnet.cli.views.console import plain_console
    from uspnet.cli.views.jobs import JobsView
    from uspnet.cli.views.screen import Screen

    console = plain_console(stderr=True)
    if as_json or not console.is_terminal:
        yield
        return
    with Screen(console) as screen:
        view = JobsView(screen)
        supervisor.on_tick = lambda: view.tick(supervisor.jobs)
        log.print = lambda line: console.print(line, soft_wrap=True)
        yield


def log_result(log: Log, name: str, result: Json) -> None:
    """Log a job's summary, at its end or so far."""
    from uspnet.cli.views.summary import format_summary
    from uspnet.jobs.supervise.entry import Level

    for line in format_summary(result, None):
        log(Level.info, name, line)
