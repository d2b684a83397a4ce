# SPDX-License-Identifier: Apache-2.0
"""Plots of latencies: their lines go where HdrHistogram has the percentiles."""

from __future__ import annotations

import random
import struct
import sys
from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from hdrh.histogram import HdrHistogram

from uspnet.errors import NotSupported
from uspnet.telemetry.hdr import DIGITS, HIGHEST, LOWEST
from uspnet.telemetry.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, Plot, load_library

SVG = "{http://www.w3.org/2000/svg}"
NINES = [0, 50, 90, 99, 99.9, 99.99]


def line(values, name=""):
    return Line(name, sorted(Counter(values).items()))


def at(points, share):
    """The latency at a percentile: that of the first corner at or behind it."""
    x = 1 / (1 - share / 100)
    return next(ns for place, ns in points if place >= x * (1 - 1e-9))


@pytest.mark.parametrize("count", [1, 2, 10, 20_000])
def test_a_line_goes_through_the_percentiles_of_hdrhistogram(count):
    source, theirs = random.Random(5), HdrHistogram(LOWEST, HIGHEST, DIGITS)
    values = [int(source.lognormvariate(10, 0.7)) for _ in range(count)]
    for value in values:
        theirs.record_value(value)
    exact = line(theirs.get_highest_equivalent_value(value) for value in values)
    points = list(exact.points())
    assert [ns for _, ns in points] == sorted(ns for _, ns in points)
    assert points[-1] == (count, theirs.get_highest_equivalent_value(theirs.get_max_value()))
    for share in (each for each in NINES if each <= 100 - 100 / count and each):
        at_most = theirs.get_value_at_percentile(share + 100 / count)
        assert theirs.get_value_at_percentile(share) <= at(points, share) <= at_most


def drawn(plot):
    """The texts of an SVG, and the corners of each of its lines."""
    root = ET.fromstring(plot.svg())
    lines = [
        [tuple(map(float, pair.split(","))) for pair in each.get("points").split()]
        for each in root.iter(f"{SVG}polyline")
    ]
    return [each.text for each in root.iter(f"{SVG}text")], lines


def test_an_svg_has_axes_with_units_and_lines_within_them():
    fast, slow = [1000 * n for n in range(1, 1001)], [5000] * 99 + [1_900_000]
    texts, lines = drawn(Plot("a run", [line(fast, "a"), line(slow, "b")]))
    assert texts[0] == "a run"
    assert {"0 %", "50 %", "90 %", "99 %", "99.9 %", "ms", "0.5", "2", "a", "b"} <= {*texts}
    assert "99.99 %" not in texts
    for each in lines:
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in each)
        assert each == sorted(each, key=lambda place: (place[0], -place[1]))
    (left, _), (right, top) = lines[1][0], lines[1][-1]
    assert (left, right) == (LEFT, pytest.approx(LEFT + 2 / 3 * (WIDTH - LEFT - RIGHT), abs=0.1))
    assert top == pytest.approx(HEIGHT - BOTTOM - 0.95 * (HEIGHT - TOP - BOTTOM), abs=0.1)


@pytest.mark.parametrize("values", [[], [0], [1], [1 << 40], [7] * 100_000], ids=len)
def test_a_plot_of_anything_is_drawn(values):
    texts, lines = drawn(Plot("", [line(values)]))
    assert {"0 %", "90 %"} <= {*texts}
    assert bool(lines[0]) if values else lines == []


def test_a_name_is_text_and_no_markup():
    texts, _ = drawn(Plot("<b>&\"'", [line([1], "</svg>"), line([2])]))
    assert texts[0] == "<b>&\"'"
    assert "</svg>" in texts


def test_an_svg_stays_small_however_many_packets_there_are():
    source = random.Random(6)
    values = [source.randrange(1 << 30) for _ in range(100_000)]
    assert len(Plot("", [line(values)]).svg()) < 100_000


def test_a_png_is_an_image_of_that_size():
    pytest.importorskip("matplotlib")
    image = Plot("$a run$ <b>", [line([1000, 2000, 90_000], "_a"), line([7], "b"), line([])]).png()
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack_from(">II", image, 16) == (1200, 675)


def test_without_the_library_an_svg_is_offered(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NotSupported, match="matplotlib") as refused:
        load_library()
    assert "pip install 'uspnet[plot]'" in refused.value.hint
    assert ".svg" in refused.value.hint
