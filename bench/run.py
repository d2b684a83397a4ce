# SPDX-License-Identifier: Apache-2.0
"""uspnet and DPDK's testpmd side by side. See README.md here; `make bench` calls this."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import CASES, SINK, SOURCE, Case, Sample
from ceiling import Ceiling
from costs import COSTS, Cost
from lab import ROOT, BenchError, Missing, facts, huge_pages, need
from report import format_case, format_cost, header

RESULTS = ROOT / "bench" / "results"
TRIES = 3  # of a round: a contestant may die


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    names = [case.name for case in CASES] + [cost.name for cost in COSTS]
    parser = argparse.ArgumentParser(description="uspnet beside DPDK's testpmd, alternating")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs a case (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (3)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--no-chart", action="store_true", help="draw nothing (no matplotlib)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and charts")
    given = parser.parse_args()
    if given.rounds < 1 or not 0 < given.seconds <= 60:
        parser.error("--rounds from 1, --seconds to 60")
    return given


def play(case: Case, number: int, seconds: float, ceiling: Ceiling) -> dict[str, Any]:
    """One round: every contestant once; who begins alternates."""
    seconds = min(seconds, case.most_s)
    order: list[tuple[str, Callable[[float], Sample]]]
    order = [("ours", case.ours), ("theirs", case.theirs)]
    if number % 2:
        order.reverse()
    samples = {name: asdict(measure(seconds)) for name, measure in order}
    ours, theirs = samples["ours"]["pps"], samples["theirs"]["pps"]
    row: dict[str, Any] = {**samples, "ratio": ours / theirs if theirs else None}
    if case.two_cores:
        row["ceiling"] = ceiling.measure(SOURCE, SINK, min(seconds, 1.0))
        row["share_of_ceiling"] = ours / row["ceiling"]
    row["also"] = {name: asdict(measure(seconds)) for name, measure in case.also.items()}
    return row


def play_again(
    case: Case, number: int, seconds: float, ceiling: Ceiling, lost: list[str]
) -> dict[str, Any] | None:
    """One round, tried again when a contestant dies; None when it can't be had. `lost`: why."""
    for _ in range(TRIES):
        try:
            return play(case, number, seconds, ceiling)
        except Missing as error:
            lost.append(str(error))
            break
        except BenchError as error:
            lost.append(str(error))
            print(f"bench: {case.name}: again, for {error}", file=sys.stderr)
    return None


def run_case(case: Case, rounds: int, seconds: float, ceiling: Ceiling) -> dict[str, Any]:
    """All rounds of one case, with medians; or why it could not be measured."""
    result: dict[str, Any] = {"name": case.name, "title": case.title, "target": case.target}
    result |= {"rival": case.rival, "rounds": []}
    result["lost_rounds"] = []
    for number in range(rounds):
        row = play_again(case, number, seconds, ceiling, result["lost_rounds"])
        result["rounds"] += [row] if row else []
        print(f"  {case.name} {number + 1}/{rounds}", end="\r", file=sys.stderr, flush=True)
    rows = result["rounds"]
    if not rows:
        result["failed"] = result["lost_rounds"][-1]
        return result
    result["uspnet"] = statistics.median(row["ours"]["pps"] for row in rows)
    result["yardstick"] = statistics.median(row["theirs"]["pps"] for row in rows)
    ratios = sorted(row["ratio"] for row in rows if row["ratio"])
    result["ratio"] = statistics.median(ratios) if ratios else None
    result["ratio_least"], result["ratio_most"] = (ratios[0], ratios[-1]) if ratios else (0, 0)
    if case.two_cores:
        result["ceiling"] = statistics.median(row["ceiling"] for row in rows)
        result["share_of_ceiling"] = statistics.median(row["share_of_ceiling"] for row in rows)
    result["also"] = {
        name: statistics.median(row["also"][name]["pps"] for row in rows) for name in case.also
    }
    return result


def run_cost(cost: Cost) -> dict[str, Any]:
    """One cost: smaller is better, at most its limit."""
    result: dict[str, Any] = {"name": cost.name, "title": cost.title, "unit": cost.unit}
    try:
        result["figures"] = [asdict(figure) for figure in cost.measure()]
    except BenchError as error:
        result["failed"] = str(error)
    return result


def main() -> int:
    """Run the chosen cases, print a line for each, and write the results as JSON and a chart."""
    given = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a run like Ctrl-C
    report: dict[str, Any] = {"rounds": given.rounds, "seconds": given.seconds}
    report |= {"cases": [], "costs": []}
    status = 0
    with ExitStack() as stack:
        try:
            need("dpdk-testpmd", "stdbuf", "taskset", "setpriv", "gcc")
            if len(os.sched_getaffinity(0)) < 2:
                raise BenchError("two cores are needed")
            report["facts"] = facts(stack.enter_context(huge_pages()))
            ceiling = stack.enter_context(Ceiling())
            print(header(report), flush=True)
            measure_all(given, report, ceiling)
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("bench: interrupted", file=sys.stderr)
            status = 130
    keep(report, given)
    return status


def measure_all(given: argparse.Namespace, report: dict[str, Any], ceiling: Ceiling) -> None:
    """Fill `report`, printing each result as it comes."""
    for case in CASES:
        if not given.only or case.name in given.only:
            report["cases"].append(run_case(case, given.rounds, given.seconds, ceiling))
            print(format_case(report["cases"][-1]), flush=True)
    for cost in COSTS:
        if not given.only or cost.name in given.only:
            report["costs"].append(run_cost(cost))
            print(format_cost(report["costs"][-1]), flush=True)


def keep(report: dict[str, Any], given: argparse.Namespace) -> None:
    """Write the JSON, and draw the chart unless told otherwise."""
    given.out.mkdir(parents=True, exist_ok=True)
    stem = given.out / time.strftime("%Y%m%d-%H%M%S")
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nkept as {stem}.json")
    if given.no_chart or not any("ratio" in case for case in report["cases"]):
        return
    try:
        from chart import draw  # noqa: PLC0415 - matplotlib is only needed here

        draw(report, stem)
        print(f"drawn as {stem}.png and .svg")
    except ImportError:
        print("no chart: pip install 'uspnet[bench]' brings matplotlib")


if __name__ == "__main__":
    sys.exit(main())
