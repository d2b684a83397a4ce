# SPDX-License-Identifier: Apache-2.0
"""The report as a bar chart: each case's ratio to DPDK, its spread and its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OURS, MISSED, INK = "#2a6f97", "#c8553d", "#333333"


def draw(report: dict[str, Any], stem: Path) -> None:
    """Write stem.png and stem.svg. Import matplotlib here: that takes a second."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    cases = [case for case in report["cases"] if case.get("ratio")][::-1]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.62 * len(cases)), layout="constrained")
    for y, case in enumerate(cases):
        ratio, met = case["ratio"], case["ratio"] >= case["target"]
        error = [[ratio - case["ratio_least"]], [case["ratio_most"] - ratio]]
        axes.barh(y, ratio, 0.6, color=OURS if met else MISSED, xerr=error, ecolor=INK, capsize=3)
        axes.plot([case["target"]] * 2, [y - 0.4, y + 0.4], color=INK, linestyle=":")
        rates = f"{case['uspnet'] / 1e6:.3g} : {case['yardstick'] / 1e6:.3g} Mpps"
        axes.annotate(
            f"{ratio:.2f}x   {rates}",
            (case["ratio_most"], y),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    names = [f"{case['name']}\nbeside {case['rival']}" for case in cases]
    axes.set_yticks(range(len(cases)), names, fontsize=8)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xlim(0, 1.35 * max(case["ratio_most"] for case in cases))
    axes.set_xlabel("times the yardstick's rate (line: 1x; dotted: target; whiskers: min to max)")
    facts = report["facts"]
    rounds = f"{report['rounds']} rounds of {report['seconds']:g} s"
    axes.set_title(f"64-byte frames, {facts['cpu']}, {rounds}", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    for kind in ("png", "svg"):
        figure.savefig(stem.with_suffix(f".{kind}"), dpi=150)
    plt.close(figure)
