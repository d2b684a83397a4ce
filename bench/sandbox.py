# SPDX-License-Identifier: Apache-2.0
"""What the worker process and its sandbox cost: the same commands with and without.

Rates: both run on the same cores at the same time, but only one of them at any moment: the other
is stopped by SIGSTOP. They take turns every few hundredths of a second, so what else the machine
does falls on both alike. A round's ratio is that of the packets moved while each had its turns.
Start: the time that a command with one packet takes, alternating.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tool
from cases import SETTLE_S, SINK, SOURCE
from lab import ROOT, BenchError, place, veth
from recovery import wait_for

from uspnet.telemetry import look

WITHOUT = {"sandbox": ["--no-sandbox"], "process and sandbox": ["--in-process"]}
BUSY = ("--poll", "busy")
TURN_S = 0.03  # well below the second after which a worker is said to hang


class Contestant:
    """Commands of which the last one's packets count. They run only while it is their turn."""

    def __init__(self, commands: list[tool.Uspnet]) -> None:
        self.jobs = [command.child.pid for command in commands]
        for job in self.jobs:
            wait_for(lambda job=job: look(job).jobs, "a command did not start")
        wait_for(self.packets, "no packet came")
        time.sleep(SETTLE_S)
        self.processes = [pid for job in self.jobs for pid in (job, *children(job))]
        self.seconds = 0.0
        self.send(signal.SIGSTOP)
        self.before = self.packets()

    def packets(self) -> int:
        """How many the last command has moved since it began."""
        return sum(port.rx_packets + port.tx_packets for port in look(self.jobs[-1]).jobs[0].ports)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for pid in self.processes:
            os.kill(pid, number)

    def turn(self) -> None:
        """Let it run for a while."""
        began = time.monotonic()
        self.send(signal.SIGCONT)
        time.sleep(TURN_S)
        self.send(signal.SIGSTOP)
        self.seconds += time.monotonic() - began

    def rate(self) -> float:
        """Packets a second of its turns."""
        return (self.packets() - self.before) / self.seconds


def children(pid: int) -> list[int]:
    """Return the processes that a process has made."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def memif(more: list[str]) -> Iterator[Contestant]:
    """Start a generator and a counter, both with the same options."""
    with place("m") as path:
        server = ("capture", f"memif:{path},role=server", *BUSY, *more)
        client = ("pktgen", f"memif:{path}", *BUSY, *more)
        with tool.Uspnet(*server, core=SINK) as sink, tool.Uspnet(*client, core=SOURCE) as source:
            yield from running([source, sink])


@contextlib.contextmanager
def packet(more: list[str]) -> Iterator[Contestant]:
    """Start a generator that sends by AF_PACKET."""
    with veth("-without" if more else "-with") as netns:
        words = ("pktgen", "packet:b0", *BUSY, *more)
        with tool.Uspnet(*words, core=SOURCE, netns=netns) as source:
            yield from running([source])


def running(commands: list[tool.Uspnet]) -> Iterator[Contestant]:
    """Give these as a contestant; afterwards let them run again, and end them."""
    contestant = Contestant(commands)
    try:
        yield contestant
    finally:
        contestant.send(signal.SIGCONT)
        for command in commands:
            command.stop()


def start(more: list[str]) -> float:
    """Milliseconds that a command takes whose job is one packet."""
    command = [sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--count", "1", "--quiet"]
    began = time.monotonic()
    subprocess.run([*command, *more], check=True, cwd=ROOT)
    return 1000 * (time.monotonic() - began)


WORKS: dict[str, Callable[[list[str]], contextlib.AbstractContextManager[Contestant]]] = {
    each.__name__: each for each in (memif, packet)
}


def once(work: str, more: list[str], seconds: float) -> tuple[float, float]:
    """Return the rates with and without of commands that take turns."""
    with WORKS[work]([]) as ours, WORKS[work](more) as theirs:
        for number in range(round(seconds / TURN_S)):
            for each in (ours, theirs) if number % 2 else (theirs, ours):
                each.turn()
        return ours.rate(), theirs.rate()


def compare(work: str, more: list[str], rounds: int, seconds: float) -> dict[str, float]:
    """Return medians with and without, and of their ratios."""
    pairs = [once(work, more, seconds) for _ in range(rounds)]
    ours, others = zip(*pairs, strict=True)
    ratios = sorted(a / b for a, b in pairs)
    return {
        "with": statistics.median(ours),
        "without": statistics.median(others),
        "ratio": statistics.median(ratios),
        "min": ratios[0],
        "max": ratios[-1],
    }


def starts(more: list[str], rounds: int) -> dict[str, float]:
    """Return medians with and without in milliseconds, and of their differences."""
    pairs = []
    for number in range(rounds):
        order = ([], more) if number % 2 else (more, [])
        took = {bool(each): start(each) for each in order}
        pairs.append((took[False], took[True]))
    ours, others = zip(*pairs, strict=True)
    more_ms = statistics.median(a - b for a, b in pairs)
    medians = {"with": statistics.median(ours), "without": statistics.median(others)}
    return {**medians, "more_ms": more_ms}


def main() -> None:
    """Print one JSON object a comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5, help="of turns, for each")
    parser.add_argument("--only", nargs="+", choices=[*WORKS, "start"])
    options = parser.parse_args()
    for work in options.only or [*WORKS, "start"]:
        for name, more in WITHOUT.items():
            if work == "start":
                found = starts(more, options.rounds)
            else:
                found = compare(work, more, options.rounds, options.seconds)
            print(json.dumps({"work": work, "against": name, **found}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"sandbox: {error}")
