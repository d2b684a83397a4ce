# SPDX-License-Identifier: Apache-2.0
"""Bars of latencies in the summary: as wide as the terminal, and plain where it has to be."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.cells import cell_len

from tests.support.identity import answer
from uspnet.cli.views.chart import ROWS, latency_chart
from uspnet.fastpath import lib
from uspnet.jobs.histogram import bins

UTF8 = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
ASCII = io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def rows(**slots):
    """The bins of a result with these counts, by slots such as `at7`."""
    counts = [0] * lib.HISTOGRAM_SLOTS
    for name, count in slots.items():
        counts[int(name[2:])] = count
    return [vars(each) for each in bins(counts)]


def test_bins_are_the_slots_of_the_histogram_and_have_no_gaps():
    found = rows(at0=1, at31=2, at32=3, at128=4, at4479=5)
    assert [each["packets"] for each in found if each["packets"]] == [3, 3, 4, 5]
    assert (found[0]["from_ns"], found[-1]["to_ns"]) == (0, (1 << 41) - 1)
    for before, each in itertools.pairwise(found):
        assert before["to_ns"] + 1 == each["from_ns"]
    assert rows() == []


@pytest.mark.parametrize("width", [42, 60, 80, 200, None])
@pytest.mark.parametrize("out", [UTF8, ASCII], ids=["utf-8", "ascii"])
def test_bars_fit_and_have_every_packet(width, out):
    for slots in ({"at200": 7}, {"at0": 1, "at4479": 1}, {f"at{n}": n for n in range(300, 2000)}):
        lines = latency_chart(rows(**slots), width, out)
        assert 1 <= len(lines) <= ROWS
        assert all(cell_len(line) <= (width or 80) for line in lines)
        told = [line.rpartition(" (")[0] or line for line in lines]
        assert sum(int(each.split()[-1].replace(",", "")) for each in told) == sum(slots.values())


def test_a_bar_is_as_long_as_its_share_and_never_empty():
    found = rows(at0=800, at40=400, at70=1)
    long, half, least = (line.split()[4] for line in latency_chart(found, 80, UTF8))
    assert len(half) in (len(long) // 2, len(long) // 2 + 1)
    assert least == "▏"
    assert {*long} == {"█"}
    plain = latency_chart(found, 80, ASCII)
    assert plain[2].split()[4] == "#"
    assert all("".join(line.split()[4:]).isascii() for line in plain)


def test_without_room_there_is_no_chart():
    assert latency_chart(rows(at3=5), 30, UTF8) == []


def test_a_summary_has_bars_where_they_are_asked_for(uspnet, qemu):
    port = "qemu:e1000e,loop=on"
    words = ("pktgen", port, "--rx-port", port, "--rate", "1k", "-c", "200")
    shown = uspnet(*words, "--plot", "-")
    assert "  up to " in shown.stdout, shown.stderr
    assert "  up to " not in uspnet(*words).stdout
    found = answer(uspnet(*words, "--plot", "-", "--json").stdout)
    assert sum(each["packets"] for each in found["latency_histogram"]) == found["received"]
    assert found["latency_histogram"][0]["from_ns"] <= found["latency_ns"]["min"]
    assert found["latency_histogram"][-1]["to_ns"] >= found["latency_ns"]["max"]
