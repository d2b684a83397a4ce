# SPDX-License-Identifier: Apache-2.0
"""Latencies by percentile, as HdrHistogram's plots have them: a logarithmic axis on which each nine
more takes as much room, so that the slowest of a million packets is as visible as the median.

SVG is written here, without a library; PNG by matplotlib, which is imported only then.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib import import_module
from types import ModuleType

from uspnet.errors import NotSupported

WIDTH, HEIGHT = 800, 450  # pixels
LEFT, RIGHT, TOP, BOTTOM = 70, 40, 50, 60  # around the axes
COLOURS = ("#1f5fa8", "#d1495b", "#2e8b57", "#8661c1", "#c07f00", "#3a9fbf", "#7a7a7a", "#b04a9c")
UNITS = (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000))
TICKS = 6  # along the latencies, at most
NEAR = 0.2  # pixels within which two points are one
NEEDS_LIBRARY = "run: pip install 'uspnet[plot]', or write an SVG: a file name that ends in .svg"
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Packets counted by latency: pairs of a latency in ns and a number, the lowest first."""

    name: str
    counts: Sequence[tuple[int, int]]

    @cached_property
    def total(self) -> int:
        """Return the number of packets."""
        return sum(count for _, count in self.counts)

    def points(self) -> Iterator[Point]:
        """Return the line's corners: 1 / (1 - share of the packets that were faster), and a latency
        in ns. With n packets, the slowest one is at n.
        """
        total, faster = self.total, 0
        for ns, count in self.counts:
            yield total / (total - faster), ns
            faster += count
            yield total / (total - faster + 1), ns


@dataclass(frozen=True)
class Plot:
    """Lines over one pair of axes."""

    title: str
    lines: Sequence[Line]

    @cached_property
    def nines(self) -> int:
        """Return up to which power of ten the percentiles go."""
        return max(math.ceil(math.log10(max([1, *(line.total for line in self.lines)]))), 1)

    @cached_property
    def unit(self) -> tuple[str, int]:
        """Return the unit of the latencies, and its length in ns."""
        return [each for each in UNITS if each[1] <= self.top_ns][-1]

    @cached_property
    def top_ns(self) -> int:
        """Return the longest latency in ns."""
        return max([1, *(ns for line in self.lines for ns, _ in line.counts)])

    def levels(self) -> list[float]:
        """Return the ticks along the latencies, in `unit`, the last one at the top or above."""
        top = self.top_ns / self.unit[1]
        rough = top / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
        return [step * number for number in range(math.ceil(top / step) + 1)]

    def shares(self) -> list[tuple[float, str]]:
        """Return the ticks along the percentiles: 1 / (1 - share), and the share as text."""
        nines = [
            (10.0**n, f"{100 - 100 / 10**n:.{max(n - 2, 0)}f} %") for n in range(self.nines + 1)
        ]
        return [nines[0], (2.0, "50 %"), *nines[1:]]

    # -- SVG -------------------------------------------------------------------------------------

    def svg(self) -> str:
        """Return the plot as an SVG image."""
        title = escape(self.title)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f"<title>{title}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            _text(WIDTH / 2, 24, title, anchor="middle", size=15),
            *self._grid(),
            *(part for number, line in enumerate(self.lines) for part in self._drawn(number, line)),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _x(self, value: float) -> float:
        return LEFT + math.log10(value) / self.nines * (WIDTH - LEFT - RIGHT)

    def _y(self, ns: float, top: float) -> float:
        """Return how far down a latency is. `top`: the latency in ns at the upper end."""
        return HEIGHT - BOTTOM - ns / top * (HEIGHT - TOP - BOTTOM)

    def _grid(self) -> Iterator[str]:
        levels, (unit, ns) = self.levels(), self.unit
        for value, text in self.shares():
            x = self._x(value)
            yield _rule((x, TOP), (x, HEIGHT - BOTTOM))
            yield _text(x, HEIGHT - BOTTOM + 18, text, anchor="middle")
        for level in levels:
            y = self._y(level * ns, levels[-1] * ns)
            yield _rule((LEFT, y), (WIDTH - RIGHT, y))
            yield _text(LEFT - 8, y + 4, f"{level:g}", anchor="end")
        yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "percentile", anchor="middle")
        yield _text(LEFT - 8, TOP - 12, unit, anchor="end")

    def _drawn(self, number: int, line: Line) -> Iterator[str]:
        top, colour = self.levels()[-1] * self.unit[1], COLOURS[number % len(COLOURS)]
        places = _thinned([(self._x(x), self._y(ns, top)) for x, ns in line.points()])
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        if path:
            yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        if len(self.lines) > 1:
            y = TOP + 16 + 18 * number
            yield _rule((LEFT + 12, y - 4), (LEFT + 32, y - 4), colour, 3)
            yield _text(LEFT + 38, y, escape(line.name))

    # -- PNG -------------------------------------------------------------------------------------

    def png(self) -> bytes:
        """Return the plot as a PNG image. Raises NotSupported without matplotlib."""
        figure_of = load_library().Figure
        figure = figure_of(figsize=(WIDTH / 100, HEIGHT / 100), dpi=150, layout="constrained")
        axes, (unit, ns), levels = figure.add_subplot(), self.unit, self.levels()
        for number, line in enumerate(self.lines):
            points = list(line.points())
            xs, ys = [x for x, _ in points], [y / ns for _, y in points]
            axes.plot(xs, ys, color=COLOURS[number % len(COLOURS)], label=f" {line.name}")
        ticks = self.shares()
        axes.set_xscale("log")
        axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_yticks(levels)
        axes.set(xlim=(1, 10**self.nines), ylim=(0, levels[-1]), xlabel="percentile", ylabel=unit)
        axes.set_title(self.title, parse_math=False)
        axes.grid(visible=True, color="#ddd")
        if len(self.lines) > 1:
            for text in axes.legend().get_texts():
                text.set_parse_math(False)
        made = io.BytesIO()
        figure.savefig(made, format="png")
        return made.getvalue()


def load_library() -> ModuleType:
    """Return matplotlib's figures. Raises NotSupported without matplotlib."""
    try:
        return import_module("matplotlib.figure")
    except ImportError:
        raise NotSupported("a PNG image needs matplotlib", NEEDS_LIBRARY) from None


def _thinned(places: list[Point]) -> list[Point]:
    """Leave out corners that can't be told from the one before. The last one stays."""
    kept = places[:1]
    for place in places[1:]:
        if place == places[-1] or math.dist(place, kept[-1]) >= NEAR:
            kept.append(place)
    return kept


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def _rule(start: Point, end: Point, colour: str = "#ddd", width: int = 1) -> str:
    (x1, y1), (x2, y2) = start, end
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'
