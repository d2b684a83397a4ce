# SPDX-License-Identifier: Apache-2.0
"""What people and programs see of a run: live table, plain lines, summary, JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from uspnet import __version__
from uspnet.errors import Usage, UspnetError
from uspnet.jobs.job import Job
from uspnet.jobs.result import Result
from uspnet.telemetry import PortCounters, reasons_text
from uspnet.text import printable

Summary = Callable[[dict[str, Any]], list[str]]
Rates = tuple[float | None, float | None]  # packets a second received and sent; None: not known

LIVE_S, LINE_S = 0.5, 1.0  # seconds between updates on a terminal, and elsewhere
PLAIN_WIDTH = 200  # columns of a table, where no terminal sets them
PORT_COLUMNS = ("rx packets", "tx packets", "missed", "dropped")
REMEDIES = {
    "joined": "frames that the kernel joined can't be cut up inside of a tunnel, or beyond 64 KiB: "
    "ethtool -K IFNAME gro off, and at the sender tso off gso off",
    "too_long": "frames longer than a port takes: raise its MTU, or its mtu= or frame= option;"
    " beyond 9,728 bytes, lower the sender's MTU",
}


class PrintableConsole(Console):
    """Shows control characters in texts and in cells of tables instead of obeying them: each is
    one line. A `Text` is taken as it is.
    """

    def render_str(self, text: str, **how: Any) -> Text:
        """The text, printable."""
        return super().render_str(printable(text), **how)

    def on_broken_pipe(self) -> None:
        """Leaves it to whoever turns errors into exit codes."""
        raise  # noqa: PLE0704 - Rich calls this where it has caught one


def plain_console(*, stderr: bool = False) -> Console:
    """Rich's console for texts that users chose: paths and port specs are neither markup nor emoji.

    Print lines with `soft_wrap=True`: whoever reads them decides where they break.
    """
    console = PrintableConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def format_count(value: float | None) -> str:
    """A number of packets with thousands separated; a dash for what can't be known."""
    return "-" if value is None else f"{value:,.0f}"


def format_rate(value: float | None, unit: str) -> str:
    """`9.53 Mpps`: three digits and a power of a thousand; a dash for what isn't known yet."""
    if value is None:
        return "-"
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.2f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def port_cells(row: PortCounters) -> list[str]:
    """A port's counters for the columns PORT_COLUMNS. `dropped`: on both sides, for any reason."""
    counts = (row.rx_packets, row.tx_packets, row.rx_missed_errors, row.dropped)
    return [format_count(count) for count in counts]


def format_table(result: Result, rates: list[Rates]) -> Table:
    """One row a port: rates now, and its counters. `rates`: (rx pps, tx pps) of each."""
    table = Table(title=f"uspnet {result.command}  {result.elapsed_s:.1f} s", box=None)
    table.add_column("port")
    for name in ("rx now", "tx now", *PORT_COLUMNS):
        table.add_column(name, justify="right")
    for row, now in zip(result.ports, rates, strict=True):
        table.add_row(row.port, *(format_rate(rate, "pps") for rate in now), *port_cells(row))
    return table


def format_line(row: PortCounters, rates: Rates) -> str:
    """One port in one line: rates now, and what was lost so far."""
    rx, tx = (format_rate(rate, "pps") for rate in rates)
    losses = [("missed", row.rx_missed_errors), ("dropped", row.dropped)]
    lost = "".join(f", {name} {format_count(count)}" for name, count in losses if count)
    return f"{row.port}: rx {rx}, tx {tx}{lost}"


@dataclass(frozen=True)
class Shown:
    """What people want to see of a run."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    interval: float | None = None  # seconds between reports; None: as the terminal has it


class View:
    """Follows a job on the terminal or line by line, and prints its end. A context manager."""

    def __init__(self, job: Job[Any], summary: Summary, shown: Shown) -> None:
        self.stdout_taken = any(port.takes_stdout for port in job.ports)
        if shown.as_json and self.stdout_taken:
            raise Usage("packets and --json both want stdout", "write to a file, or drop --json")
        self.job, self.summary = job, summary
        self.as_json, self.quiet, self.verbose = shown.as_json, shown.quiet, shown.verbose
        self.interval = shown.interval
        self.console = plain_console(stderr=True)
        self.live: Live | None = None
        self.last: list[tuple[int, int]] = []
        self.last_at = 0.0

    def __enter__(self) -> Self:
        self.job.on_notice = self._notice
        if self.verbose:
            self.job.on_detail = self._notice
        if self.as_json:
            if self.interval:
                self.last_at = time.monotonic()
                self.job.on_tick = self._tick_json
        elif not self.quiet:
            self.job.on_tick = self._tick
            if self.console.is_terminal:
                self.live = Live(console=self.console, transient=True, auto_refresh=False)
                self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if self.live:
            self.live.stop()
        if isinstance(error, UspnetError) and error.partial and not self.as_json:
            self.finish(error.partial)

    def _notice(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, soft_wrap=True)

    def _tick(self) -> None:
        at = time.monotonic()
        if at - self.last_at < (self.interval or (LIVE_S if self.live else LINE_S)):
            return
        result = self.job.result()
        rates = self._rates(result, at - self.last_at if self.last_at else 0.0)
        first, self.last_at = not self.last_at, at
        if self.live:
            self.live.update(format_table(result, rates), refresh=True)
        elif not first:
            for row, now in zip(result.ports, rates, strict=True):
                line = f"{result.elapsed_s:.0f} s  {format_line(row, now)}"
                self.console.print(line, soft_wrap=True)

    def _tick_json(self) -> None:
        """Print the result so far, one object a line."""
        if (at := time.monotonic()) - self.last_at >= (self.interval or 0.0):
            self.last_at = at
            print_json(self.job.result().as_json())

    def _rates(self, result: Result, seconds: float) -> list[Rates]:
        counts = [(row.rx_packets or 0, row.tx_packets or 0) for row in result.ports]
        before, self.last = self.last or counts, counts
        if not seconds:
            return [(None, None)] * len(counts)
        return [
            ((rx - old_rx) / seconds, (tx - old_tx) / seconds)
            for (rx, tx), (old_rx, old_tx) in zip(counts, before, strict=True)
        ]

    def finish(self, result: dict[str, Any]) -> None:
        """Prints the end of the run: JSON, or the command's summary in a few lines."""
        if self.live:
            self.live.stop()
        if self.as_json:
            print_json(result)
        elif not self.quiet:
            out = sys.stderr if self.stdout_taken else sys.stdout
            show_lines(self.summary(result), file=out)


def show_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Prints each on a line of its own, whatever is in it."""
    for line in lines:
        print(printable(line), file=file)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on a line of stdout."""
    print(json.dumps({"uspnet": __version__, **result}), flush=True)


def format_loss(result: dict[str, Any]) -> str:
    """`, lost 49,000 (98.0 %)`: the share of all packets that were meant for us; "" for none."""
    lost = result["dropped"] + (result["missed"] or 0)
    share = 100 * lost / (result["received"] + (result["missed"] or 0)) if lost else 0.0
    return f", lost {lost:,} ({share:.1f} %)" if lost else ""


def format_drops(result: dict[str, Any]) -> str:
    """`dropped 12: too long 8, no room 4`, and what was missed, where anybody knows."""
    reasons = reasons_text(result["drops"])
    text = f"dropped {format_count(result['dropped'])}"
    missed = f"missed {format_count(result['missed'])}; " if result["missed"] else ""
    return missed + text + (f": {reasons}" if reasons else "")


def format_remedies(result: dict[str, Any]) -> list[str]:
    """What to do about the packets that were dropped, a line a reason."""
    return [f"  hint: {REMEDIES[name]}" for name in result["drops"] if name in REMEDIES]


def format_ports(result: dict[str, Any]) -> list[str]:
    """One line a port, with every counter that is not zero."""
    lines = []
    for row in result["ports"]:
        counts = [
            f"{name} {format_count(value)}"
            for name, value in row.items()
            if isinstance(value, int) and value
        ]
        lines.append(f"{row['port']}: " + (", ".join(counts) or "no packets"))
    return lines
