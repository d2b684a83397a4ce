# SPDX-License-Identifier: Apache-2.0
"""What the worker process and its sandbox cost: the same commands with and without, alternating.

Rates: ratio of each round's rate with to its neighbour's without. Start: the time that a command
with one packet takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import tool
from cases import SINK, SOURCE, arriving, wait_for_traffic
from lab import ROOT, BenchError, place, veth

WITHOUT = {"sandbox": ["--no-sandbox"], "process and sandbox": ["--in-process"]}
BUSY = ("--poll", "busy")


def memif(more: list[str], seconds: float) -> float:
    """Packets a second from a generator to a counter, both with the same options."""
    with place("m") as path:
        server = ("capture", f"memif:{path},role=server", *BUSY, *more)
        with tool.Uspnet(*server, core=SINK) as sink:
            tool.run("pktgen", f"memif:{path}", *BUSY, *more, seconds=seconds, core=SOURCE)
            result = sink.stop()
    return float(result["received"] / result["active_s"])


def packet(more: list[str], seconds: float) -> float:
    """Packets a second that a generator sends by AF_PACKET."""
    with veth() as netns:
        words = ("pktgen", "packet:b0", *BUSY, *more, "--duration", seconds + tool.END_S)
        with tool.Uspnet(*words, core=SOURCE, netns=netns) as source:
            wait_for_traffic(netns)
            rate = arriving(netns, seconds)
            source.stop()
    return rate


def start(more: list[str], _seconds: float) -> float:
    """Milliseconds that a command takes whose job is one packet."""
    command = [sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--count", "1", "--quiet"]
    began = time.monotonic()
    subprocess.run([*command, *more], check=True, cwd=ROOT)
    return 1000 * (time.monotonic() - began)


WORKS: dict[str, Callable[[list[str], float], float]] = {
    each.__name__: each for each in (memif, packet, start)
}


def compare(work: str, more: list[str], rounds: int, seconds: float) -> dict[str, float]:
    """Return medians with and without, and of their ratios (of a start: the difference)."""
    pairs = []
    for number in range(rounds):
        order = ([], more) if number % 2 else (more, [])
        measured = {bool(each): WORKS[work](each, seconds) for each in order}
        pairs.append((measured[False], measured[True]))
    ours, others = zip(*pairs, strict=True)
    result = {"with": statistics.median(ours), "without": statistics.median(others)}
    if work == "start":
        return {**result, "more_ms": statistics.median(a - b for a, b in pairs)}
    ratios = sorted(a / b for a, b in pairs)
    return {**result, "ratio": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]}


def main() -> None:
    """Print one JSON object a comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    options = parser.parse_args()
    for work in options.only:
        for name, more in WITHOUT.items():
            found = compare(work, more, options.rounds, options.seconds)
            print(json.dumps({"work": work, "against": name, **found}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"sandbox: {error}")
