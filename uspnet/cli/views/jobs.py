# SPDX-License-Identifier: Apache-2.0
"""The jobs of `uspnet run`, as a table that stays where it is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.text import Text

from uspnet.cli.views.screen import Screen
from uspnet.cli.views.table import HEAD, Column, Table, fit
from uspnet.jobs.supervise.supervised import Supervised

SHOW_S = 0.5  # between two updates
HOW_TO_STOP = "Ctrl-C ends the jobs, the last started first"
STYLES = {"ready": "green", "failed": "red", "restarting": "yellow"}


def format_jobs(jobs: Sequence[Supervised], width: int, height: int) -> list[Text]:
    """Lay out a row a job: what it runs, how it is, and why its last process ended."""
    columns = [
        Column("job"),
        Column("runs", always=True),
        Column("state", styles=STYLES, always=True),
        Column("pid", right=True),
        Column("restarts", right=True),
        Column("last end", prose=True),
    ]
    rows = [
        [
            job.entry.name,
            job.entry.command,
            job.state,
            str(job.child.pid) if job.child else "-",
            str(job.restarts),
            job.cause if job.exit_codes else "-",
        ]
        for job in jobs
    ]
    table = fit(Table(columns, rows), width, max(height - 2, 1))
    return [Text("uspnet run", style=HEAD), *table, Text(HOW_TO_STOP, style="dim")]


class JobsView:
    """Shows the table on a screen, now and then."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._shown_at = 0.0

    def tick(self, jobs: Sequence[Supervised]) -> None:
        """Show the table if it is time."""
        now = time.monotonic()
        if now - self._shown_at >= SHOW_S:
            self._shown_at = now
            self.screen.show(format_jobs(jobs, self.screen.width, self.screen.height))
