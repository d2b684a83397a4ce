# SPDX-License-Identifier: Apache-2.0
"""Results as lines of text."""

from __future__ import annotations

from typing import Any

COLUMNS = f"{'case':17} {'uspnet':>9} {'DPDK':>9} {'ratio':>7}  {'min - max':13} {'target':>7}"


def header(report: dict[str, Any]) -> str:
    """Return a description of the machine, and the columns."""
    facts = report["facts"]
    machine = f"{facts['cpu']} ({facts['cpus']} CPUs), Linux {facts['kernel']}"
    tools = f"{facts['dpdk']}, {facts['compiler']}, Python {facts['python']}"
    pages = f"{facts['huge_pages_2m']} huge pages of 2 MiB, load {facts['load_before']:.1f}"
    how = f"medians of {report['rounds']} alternating rounds of {report['seconds']:g} s, in Mpps"
    return f"{machine}\n{tools}\n{pages}\n{how}\n\n{COLUMNS}"


def format_case(case: dict[str, Any]) -> str:
    """One case: its row, and below it what else was seen."""
    if "failed" in case:
        return f"{case['name']:17} not measured: {first_line(case['failed'])}"
    ratio = case["ratio"] or 0
    spread = f"{case['ratio_least']:.2f} - {case['ratio_most']:.2f}"
    row = f"{case['name']:17} {mpps(case['uspnet'])} {mpps(case['yardstick'])} {ratio:6.2f}x"
    row += f"  {spread:13} {case['target']:>5g}x  {'met' if ratio >= case['target'] else 'MISSED'}"
    notes = [f"beside {case['rival']}: {case['title']}"]
    if "ceiling" in case:
        share = f"{case['share_of_ceiling']:.0%}"
        notes.append(f"bare two-core ceiling {mpps(case['ceiling']).strip()}: uspnet at {share}")
    notes += [f"{name} {mpps(pps).strip()}" for name, pps in case["also"].items()]
    if case["lost_rounds"]:
        notes.append(f"{len(case['lost_rounds'])} rounds failed and were played again")
    for side, whose in (("ours", "uspnet"), ("theirs", case["rival"])):
        for name in case["rounds"][0][side]["more"]:
            values = sorted(round_[side]["more"][name] for round_ in case["rounds"])
            middle = values[len(values) // 2]
            shown = f"{middle:.2%}" if name.endswith("share") else f"{middle:,.0f}"
            notes.append(f"{whose}: {name} {shown}")
    return "\n".join([row, *(f"    {note}" for note in notes)])


def format_cost(cost: dict[str, Any]) -> str:
    """One cost: a row for each figure."""
    if "failed" in cost:
        return f"{cost['name']:17} not measured: {first_line(cost['failed'])}"
    lines = [f"{cost['name']}: {cost['title']}, {cost['unit']}"]
    for figure in cost["figures"]:
        limit = figure["limit"]
        met = "" if limit is None else "  met" if figure["value"] <= limit else "  MISSED"
        bound = "" if limit is None else f"  at most {limit:g}"
        lines.append(f"    {figure['name']:40} {figure['value']:8.1f}{bound}{met}")
    return "\n".join(lines)


def mpps(pps: float) -> str:
    """Format a rate in millions, in nine columns."""
    return f"{pps / 1e6:9.2f}"


def first_line(text: str) -> str:
    """Enough of an error for a row."""
    return text.strip().splitlines()[0]
