# SPDX-License-Identifier: Apache-2.0
"""What people and programs see of a run: live table, plain lines, summary, JSON."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from uspnet import __version__
from uspnet.errors import Usage
from uspnet.jobs.job import SIGNALS, Job

Summary = Callable[[dict[str, Any]], list[str]]

LIVE_S, LINE_S = 0.5, 1.0  # seconds between updates on a terminal, and elsewhere
PLAIN_WIDTH = 200  # columns of a table, where no terminal sets them
PORT_COLUMNS = ("rx_packets", "tx_packets", "rx_errors", "rx_dropped", "tx_errors", "tx_dropped")


def plain_console(*, stderr: bool = False) -> Console:
    """Rich's console for texts that users chose: paths and port specs are neither markup nor emoji.

    Print lines with `soft_wrap=True`: whoever reads them decides where they break.
    """
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def format_count(value: float | None) -> str:
    """A number of packets with thousands separated; a dash for what can't be known."""
    return "-" if value is None else f"{value:,.0f}"


def format_rate(value: float, unit: str) -> str:
    """`9.53 Mpps`: three digits and a power of a thousand."""
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.2f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def format_table(result: dict[str, Any], rates: list[tuple[float, float]]) -> Table:
    """One row a port: rates now, and its counters. `rates`: (rx pps, tx pps) of each."""
    table = Table(title=f"uspnet {result['command']}  {result['elapsed_s']:.1f} s", box=None)
    table.add_column("port")
    for name in ("rx now", "tx now", *PORT_COLUMNS):
        table.add_column(name, justify="right")
    for row, now in zip(result["ports"], rates, strict=True):
        table.add_row(
            row["port"],
            *(format_rate(rate, "pps") for rate in now),
            *(format_count(row[name]) for name in PORT_COLUMNS),
        )
    return table


class View:
    """Follows a job on the terminal or line by line, and prints its end. A context manager."""

    def __init__(self, job: Job, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        if as_json and job.stdout_taken:
            raise Usage("packets and --json both want stdout", "write to a file, or drop --json")
        self.job, self.as_json, self.quiet, self.verbose = job, as_json, quiet, verbose
        self.console = plain_console(stderr=True)
        self.live: Live | None = None
        self.last: list[tuple[int, int]] = []
        self.last_at = 0.0

    def __enter__(self) -> Self:
        self.job.on_notice = self._notice
        if self.verbose:
            self.job.on_detail = self._notice
        if not self.quiet and not self.as_json:
            self.job.on_tick = self._tick
            if self.console.is_terminal:
                self.live = Live(console=self.console, transient=True, auto_refresh=False)
                self.live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live:
            self.live.stop()

    def _notice(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, soft_wrap=True)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self.last_at < (LIVE_S if self.live else LINE_S):
            return
        result = self.job.result()
        rates = self._rates(result, now - self.last_at if self.last_at else 0.0)
        first, self.last_at = not self.last_at, now
        if self.live:
            self.live.update(format_table(result, rates), refresh=True)
        elif not first:
            for row, (rx, tx) in zip(result["ports"], rates, strict=True):
                text = f"{row['port']}: rx {format_rate(rx, 'pps')}, tx {format_rate(tx, 'pps')}"
                line = f"{result['elapsed_s']:.0f} s  {text}"
                self.console.print(line, soft_wrap=True)

    def _rates(self, result: dict[str, Any], seconds: float) -> list[tuple[float, float]]:
        counts = [(row["rx_packets"], row["tx_packets"]) for row in result["ports"]]
        before, self.last = self.last or counts, counts
        if not seconds:
            return [(0.0, 0.0)] * len(counts)
        return [
            ((rx - old_rx) / seconds, (tx - old_tx) / seconds)
            for (rx, tx), (old_rx, old_tx) in zip(counts, before, strict=True)
        ]

    def finish(self, result: dict[str, Any], summary: Summary) -> None:
        """Prints the end of the run: JSON, or the command's summary in a few lines."""
        if self.live:
            self.live.stop()
        if self.as_json:
            print_json(result)
        elif not self.quiet:
            out = sys.stderr if self.job.stdout_taken else sys.stdout
            for line in summary(result):
                print(line, file=out)


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """A signal ends what is inside, in good order."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_json(result: dict[str, Any]) -> None:
    """The one JSON object of a run, on stdout."""
    print(json.dumps({"uspnet": __version__, **result}))


def format_ports(result: dict[str, Any]) -> list[str]:
    """One line a port, with every counter that is not zero."""
    lines = []
    for row in result["ports"]:
        counts = [f"{name} {format_count(value)}" for name, value in row.items()
                  if isinstance(value, int) and value]
        lines.append(f"{row['port']}: " + (", ".join(counts) or "no packets"))
    return lines
