# SPDX-License-Identifier: Apache-2.0
"""Rows of what was sent and came back in each second."""

from __future__ import annotations

import itertools

from tests.support.identity import answer
from uspnet.fastpath import lib
from uspnet.jobs.jitter import Jitter
from uspnet.jobs.seconds import ROWS, Seconds, Totals


def counts(**slots):
    """A histogram with these counts, by slots such as `at7`."""
    made = [0] * lib.HISTOGRAM_SLOTS
    for name, count in slots.items():
        made[int(name[2:])] = count
    return made


def test_a_row_has_what_its_second_adds():
    seconds = Seconds()
    assert (seconds.due(0.99), seconds.due(1.0)) == (False, True)
    seconds.add(Totals(1.02, 100, 90, 10, counts(at7=90), Jitter(3, 890, 99, 89)))
    assert (seconds.due(2.01), seconds.due(2.03)) == (False, True)
    seconds.add(Totals(2.03, 150, 145, 5, counts(at7=91, at9=54), Jitter(3, 890, 99, 89)))
    seconds.add(Totals(2.5, 150, 145, 5, counts(at7=91, at9=54)))
    rows = [(r.begins_s, r.ends_s, r.sent, r.received, r.lost) for r in seconds.rows]
    assert rows == [(0, 1.02, 100, 90, 10), (1.02, 2.03, 50, 55, -5), (2.03, 2.5, 0, 0, 0)]
    assert [row.jitter_ns for row in seconds.rows] == [{"rfc3550": 3, "mean": 10}, None, None]
    latencies = [row.latency_ns for row in seconds.rows]
    assert latencies == [{"p50": 7, "p99": 7, "max": 7}, {"p50": 9, "p99": 9, "max": 9}, None]


def test_only_the_latest_rows_are_kept():
    seconds = Seconds()
    for number in range(1, ROWS + 11):
        seconds.add(Totals(number, sent=number))
    assert len(seconds.rows) == ROWS
    assert (seconds.rows[0].ends_s, seconds.rows[-1].ends_s) == (11, ROWS + 10)


def test_rows_add_up_to_the_result(namespace):
    namespace.veth("a", "b")
    words = ("--rx-port", "packet:b", "--rate", "1000", "--duration", "2.5", "--json")
    result = answer(namespace.uspnet("pktgen", "packet:a", *words).stdout)
    rows = result["seconds"]
    assert len(rows) >= 2
    for name in ("sent", "received", "lost"):
        assert sum(row[name] for row in rows) == result[name]
    assert rows[0]["begins_s"] == 0
    for before, row in itertools.pairwise(rows):
        assert before["ends_s"] == row["begins_s"]
    jitters = [row["jitter_ns"] for row in rows if row["jitter_ns"]]
    assert jitters[-1]["rfc3550"] == result["jitter_ns"]["rfc3550"]
    assert min(each["mean"] for each in jitters) <= result["jitter_ns"]["mean"]
    tops = [row["latency_ns"]["max"] for row in rows if row["latency_ns"]]
    assert max(tops) == result["latency_ns"]["max"]
