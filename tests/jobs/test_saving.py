# SPDX-License-Identifier: Apache-2.0
"""Latencies in a file, as HdrHistogram's own reader has them."""

from __future__ import annotations

import random
import subprocess
from xml.etree import ElementTree as ET

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from tests.support.identity import answer
from uspnet.fastpath import lib
from uspnet.jobs.histogram import percentiles
from uspnet.telemetry.hdr import DIGITS, HIGHEST, LOWEST, encode, log_head, log_line

EDGES = [0, 1, 127, 128, 255, 256, 257, 1000, 12_345_678, (1 << 40) - 1, 1 << 40]


def read(path):
    """All intervals of a log, added up, and how many there were."""
    total = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    reader, count = HistogramLogReader(str(path), total), 0
    while reader.add_next_interval_histogram():
        count += 1
    reader.input_file.close()
    return total, count


def counts_of(values):
    """What the fast path's slots hold after these values, by the smallest value of each slot."""
    floors = [lib.histogram_floor(slot) for slot in range(lib.HISTOGRAM_SLOTS)]
    counts = [0] * lib.HISTOGRAM_SLOTS
    for value in values:
        counts[max(slot for slot, floor in enumerate(floors) if floor <= value)] += 1
    return counts


def recorded(values):
    """HdrHistogram's own histogram of these values."""
    made = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for value in values:
        assert made.record_value(value)
    return made


def test_slots_are_those_of_hdrhistogram():
    theirs = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    assert theirs.counts_len == lib.HISTOGRAM_SLOTS
    ours = [lib.histogram_floor(slot) for slot in range(lib.HISTOGRAM_SLOTS)]
    assert ours == [theirs.get_value_from_index(slot) for slot in range(lib.HISTOGRAM_SLOTS)]


@pytest.mark.parametrize("values", [[], EDGES, EDGES[:1], EDGES[-1:], [7] * 1000])
def test_what_is_encoded_is_what_hdrhistogram_has_counted(values):
    theirs = HdrHistogram.decode(encode(counts_of(values)))
    assert theirs.equals(recorded(values))
    assert theirs.get_total_count() == len(values)


@pytest.mark.parametrize("count", [1, 63, 64, 8191, 8192, 1 << 31, 1 << 40, (1 << 62) - 1])
def test_counts_of_any_size_are_encoded(count):
    made = HdrHistogram.decode(encode([0] * 1000 + [count]))
    assert [made.get_count_at_index(slot) for slot in (999, 1000, 1001)] == [0, count, 0]


def test_a_log_of_two_runs_is_that_of_one(tmp_path):
    source = random.Random(3)
    values = [int(source.expovariate(1e-5)) for _ in range(1000)]
    whole, halves = counts_of(values), [counts_of(values[:300]), counts_of(values[300:])]
    for name, parts in (("one", [whole]), ("two", halves)):
        text = "".join(log_head(1e9) + log_line(1e9, 1.5, 7, each) for each in parts)
        (tmp_path / name).write_text(text)
    (one, n), (two, m) = read(tmp_path / "one"), read(tmp_path / "two")
    assert (n, m) == (1, 2)
    assert one.equals(two)
    assert one.equals(recorded(values))
    told = percentiles(whole)
    names = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}
    assert told == {
        "min": one.get_min_value(),
        **{name: one.get_value_at_percentile(share) for name, share in names.items()},
        "max": one.get_max_value(),
    }


@pytest.fixture
def pktgen(namespace, tmp_path):
    """Runs pktgen over a cable."""
    namespace.veth("a", "b")

    def run(*arguments):
        return namespace.uspnet("pktgen", "packet:a", "-c", 500, *arguments, "--json")

    return run


def test_pktgen_saves_its_latencies(pktgen, tmp_path):
    file, files = tmp_path / "run.hdr", []
    for _ in range(2):
        file.unlink(missing_ok=True)
        result = answer(pktgen("--rx-port", "packet:b", "--save", file).stdout)
        got, intervals = read(file)
        assert (got.get_total_count(), intervals) == (result["received"], 1)
        assert result["received"] == 500
        assert got.get_max_value() == result["latency_ns"]["max"]
        assert got.get_min_value() == result["latency_ns"]["min"]
        files.append(file.read_text())
    (tmp_path / "both.hdr").write_text("".join(files))
    both, intervals = read(tmp_path / "both.hdr")
    assert (both.get_total_count(), intervals) == (1000, 2)


def test_each_second_is_an_interval(pktgen, tmp_path):
    file = tmp_path / "run.hdr"
    result = answer(pktgen("--rx-port", "packet:b", "--save", file, "--rate", "200").stdout)
    total, intervals = read(file)
    assert intervals == len(result["seconds"]) >= 2
    assert total.get_total_count() == result["received"] == 500
    lines = [line.split(",") for line in file.read_text().splitlines() if line[0].isdigit()]
    begins = [float(line[0]) - float(lines[0][0]) for line in lines]
    counted = [HdrHistogram.decode(line[3]).get_total_count() for line in lines]
    assert sum(counted) == sum(row["received"] for row in result["seconds"]) == 500
    for number, row in enumerate(result["seconds"]):
        assert abs(begins[number] - row["begins_s"]) < 0.002, "it is written in ms"
        assert abs(float(lines[number][1]) - (row["ends_s"] - row["begins_s"])) < 0.002
        assert abs(counted[number] - row["received"]) <= 100, "bursts come between two readings"


def test_pktgen_plots_its_latencies(pktgen, tmp_path):
    file = tmp_path / "run.svg"
    file.write_text("x" * 100_000)
    result = answer(pktgen("--rx-port", "packet:b", "--plot", file).stdout)
    texts = [each.text for each in ET.parse(file).iter() if each.text]
    assert any("pktgen packet:a, 500 packets in " in text for text in texts)
    assert result["received"] == 500


def test_what_the_file_held_is_replaced(pktgen, tmp_path):
    file = tmp_path / "run.hdr"
    file.write_text("x" * 100_000)
    pktgen("--rx-port", "packet:b", "--save", file)
    assert read(file)[0].get_total_count() == 500
    assert file.read_text().startswith("#[Histogram log format version 1.3]\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--save", "x.hdr"], 2, "--rx-port"),
        (["--rx-port", "packet:b", "--no-sequence", "--save", "x.hdr"], 2, "--no-sequence"),
        (["--rx-port", "packet:b", "--save", "/dev/null"], 2, "not a file"),
        (["--rx-port", "packet:b", "--save", "-"], 2, "name one"),
        (["--rx-port", "packet:b", "--save", "/nowhere/x.hdr"], 1, "/nowhere/x.hdr"),
        (["--rx-port", "packet:nothing", "--save", "/nowhere/x.hdr"], 1, "/nowhere/x.hdr"),
        (["--rx-port", "packet:nothing", "--save", "x.hdr"], 1, "nothing"),
        (["--plot", "x.svg"], 2, "--rx-port"),
        (["--rx-port", "packet:b", "--no-sequence", "--plot", "x.svg"], 2, "--no-sequence"),
        (["--rx-port", "packet:b", "--plot", "x.pdf"], 2, ".svg or .png"),
        (["--rx-port", "packet:b", "--plot", "/nowhere/x.svg"], 1, "/nowhere/x.svg"),
        (["--rx-port", "packet:b", "--dry-run", "-w", "/dev/null", "--plot", "x.svg"], 2, "drop"),
    ],
)
def test_where_nothing_can_be_saved_it_says_so(pktgen, tmp_path, arguments, code, text):
    words = [str(tmp_path / each) if each[:2] == "x." else each for each in arguments]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        pktgen(*words)
    run = failed.value
    assert run.returncode == code, run.stdout + run.stderr
    assert text in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert not list(tmp_path.glob("x.*"))
