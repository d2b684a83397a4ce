# SPDX-License-Identifier: Apache-2.0
"""A run while it goes on: a live table on a terminal, plain lines elsewhere, JSON where asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.text import Text

from uspnet.answer import Json
from uspnet.cli.views.chart import latency_chart
from uspnet.cli.views.console import (
    chop,
    columns_of,
    join_phrases,
    plain_console,
    print_json,
    show_lines,
)
from uspnet.cli.views.modes import decided
from uspnet.cli.views.ports import Rates, Row, label, port_table
from uspnet.cli.views.returned import delays
from uspnet.cli.views.screen import Screen
from uspnet.cli.views.summary import asked_pps, dropped, format_summary, loss, played
from uspnet.cli.views.table import HEAD, fit
from uspnet.cli.views.units import format_count, format_rate, format_share, format_time
from uspnet.errors import Usage, UspnetError
from uspnet.jobs.job import AnyJob
from uspnet.jobs.result import PortResult, Result
from uspnet.text import printable

LIVE_S, LINE_S = 0.5, 1.0  # seconds between updates on a terminal, and elsewhere
DECIDED_SHOWN = 8  # lines of what a mode has decided, such as rules
DROPS_SHOWN = 2  # reasons, the most frequent ones
HOW_TO_STOP = "Ctrl-C stops and prints a summary"


@dataclass(frozen=True)
class Shown:
    """What people want to see of a run."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    interval: float | None = None  # seconds between reports; None: as the terminal has it
    bars: bool = False  # of latencies, in the summary, where no terminal shows it, too


class View:
    """Follows a job on the terminal or line by line, and prints its end. A context manager."""

    def __init__(self, job: AnyJob, shown: Shown) -> None:
        self.stdout_taken = any(port.takes_stdout for port in job.ports)
        if shown.as_json and self.stdout_taken:
            raise Usage(
                "packets and --json both write to stdout", "write to a file, or drop --json"
            )
        self.job, self.shown = job, shown
        self.console = plain_console(stderr=True)
        self.screen: Screen | None = None
        self.last: Sequence[PortResult] = ()
        self.last_at = 0.0
        self.passed: int | None = None  # bytes of records
        self.interval = shown.interval or (LIVE_S if self.console.is_terminal else LINE_S)

    def __enter__(self) -> Self:
        self.job.on_notice = self._notice
        if self.shown.verbose:
            self.job.on_detail = self._notice
        if self.shown.as_json:
            if self.shown.interval:
                self.last_at = time.monotonic()
                self.job.on_tick = self._tick_json
        elif not self.shown.quiet:
            self.job.on_tick = self._tick
            if self.console.is_terminal:
                self.screen = Screen(self.console)
                self.screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if self.screen:
            self.screen.close()
        if isinstance(error, UspnetError) and error.partial and not self.shown.as_json:
            self.finish(error.partial)

    def _notice(self, text: str) -> None:
        if not self.shown.quiet:
            self.console.print(text, soft_wrap=True)

    def _tick(self) -> None:
        at = time.monotonic()
        if at - self.last_at < self.interval:
            return
        result = self.job.result()
        now = self._rates(result, at - self.last_at)
        disk = self._to_disk(result, at - self.last_at)
        first, self.last_at = not self.last_at, at
        if self.screen:
            self.screen.show(format_live(result, now, self.screen.width, self.screen.height, disk))
        elif not first:
            for row, each in zip(result.ports, now, strict=True):
                line = f"{format_time(result.elapsed_s)}  {format_line(row, each)}"
                self.console.print(line, soft_wrap=True)

    def _to_disk(self, result: Result, seconds: float) -> float | None:
        """Return the bytes a second that left the buffer of a file since the look before."""
        buffer = getattr(result, "buffer", None)
        if buffer is None:
            return None
        before, self.passed = self.passed, int(buffer.passed_bytes)
        return None if before is None else (self.passed - before) / seconds

    def _tick_json(self) -> None:
        """Print the result so far, one object a line."""
        if (at := time.monotonic()) - self.last_at >= self.interval:
            self.last_at = at
            print_json(self.job.result().as_json())

    def _rates(self, result: Result, seconds: float) -> list[Rates]:
        """Compute each port's rates since the look before; at the first one, none is known."""
        before, self.last = self.last, result.ports
        if not before:
            return [Rates()] * len(result.ports)
        return [
            Rates.between(old, new, seconds) for old, new in zip(before, result.ports, strict=True)
        ]

    def finish(self, result: dict[str, Any]) -> None:
        """Print the end of the run: JSON, or the command's summary in a few lines."""
        if self.screen:
            self.screen.close()
        if self.shown.as_json:
            print_json(result)
        elif not self.shown.quiet:
            out = sys.stderr if self.stdout_taken else sys.stdout
            width = columns_of(out)
            shows = width or self.shown.bars
            bins = result.get("latency_histogram", []) if shows else []
            lines = format_summary(result, width, latency_chart(bins, width, out))
            show_lines(lines, file=out)


def format_live(
    result: Result, rates: Sequence[Rates], width: int, height: int, disk: float | None = None
) -> list[Text]:
    """Lay out a running job for a screen: its facts, its ports, and how to stop it. `disk`: bytes a
    second that go to its file.
    """
    facts = [*_facts(result, rates), *_file(result, disk)]
    title, *facts = (join_phrases(each, width) for each in facts)
    lines = [Text(line, style=HEAD) for line in title]
    lines += [Text(line) for fact in facts for line in fact]
    for name in result.as_json().get("files", []):
        lines += [Text(line) for line in chop(f"file {printable(name)}", width)]
    rows = [
        Row((label(port.port, width),), port, now, port.link_bps)
        for port, now in zip(result.ports, rates, strict=True)
    ]
    table = port_table(rows, ["port"], result.command)
    lines += fit(table, width, max(height - len(lines) - 1, 1))
    return [*lines, Text(HOW_TO_STOP, style="dim")]


def _facts(result: Result, rates: Sequence[Rates]) -> list[list[str]]:
    """Say what the job was asked for, how far it is, and what was lost."""
    told, asked = result.as_json(), result.asked
    until = f" of {format_time(asked.duration_s)}" if asked.duration_s else ""
    title = [f"uspnet {result.command}  {format_time(result.elapsed_s)}{until}"]
    if asked.count:
        title.append(f"at most {format_count(asked.count)} packets")
    facts = [title]
    if target_pps := asked_pps(told):
        target = f"target {format_rate(target_pps, 'pps')}"
        pps = sum(each.tx_pps or 0.0 for each in rates)
        known = any(each.tx_pps is not None for each in rates)
        facts.append([target, f"now {100 * pps / target_pps:.1f} %" if known else "now -"])
    facts += map(played, told.get("replayed", []))
    for second in told.get("seconds", [])[-1:]:
        facts += delays(second)
    return [*facts, *decided(told)[:DECIDED_SHOWN], [*loss(told), *_why(told)]]


def _why(told: Json) -> list[str]:
    """Say for which reasons most packets were dropped that were to be forwarded."""
    often = sorted(told["drops"].items(), key=lambda each: -each[1])[:DROPS_SHOWN]
    return dropped(told["dropped"], dict(often)) if often and "forwarded" in told else []


def _file(result: Result, disk: float | None) -> Iterator[list[str]]:
    """Say how full the buffer before a file is, and how fast it goes on from there."""
    if buffer := getattr(result, "buffer", None):
        yield [f"buffer {format_share(buffer.full, 1)} full", f"to file {format_rate(disk, 'B/s')}"]


def format_line(row: PortResult, rates: Rates) -> str:
    """Format one port in one line: rates now, and what was lost so far."""
    rx, tx = (format_rate(each, "pps") for each in (rates.rx_pps, rates.tx_pps))
    lost = f"missed {format_count(row.rx_missed_errors)}, dropped {format_count(row.dropped)}"
    return f"{row.port}  rx {rx}, tx {tx}, {lost}"
