# SPDX-License-Identifier: Apache-2.0
"""`uspnet stats`: whose a job is, what it moves now, and nothing else of what boards say."""

from __future__ import annotations

import os
import time

import pytest

from tests.cli.test_signals import wait_for
from tests.support.identity import answer
from uspnet.cli.stats import rates
from uspnet.cli.views.ports import Rates, rate
from uspnet.telemetry import COUNTERS, Board, RunningJob, RunningPort
from uspnet.telemetry.stats import user_name


@pytest.fixture
def named():
    """Publishes a board of this process, with one port of a given name."""
    board = Board("test", 1)

    def publish(port):
        board.counters(number=0, port=port, driver="x", direction="rx", queue=0, unknown=[])
        board.publish(time.time_ns())

    yield publish
    board.close()


def test_once_shows_rates_and_whose_it_is(start, uspnet):
    process = start("pktgen", "null:", "--rate", "20k", "--poll", "sleep")
    wait_for(process)
    (row,) = [
        line.split()
        for line in uspnet("stats", str(process.pid), "--once").stdout.splitlines()
        if line.split()[1:2] == [str(process.pid)]
    ]
    assert row[:4] == ["pktgen", str(process.pid), user_name(os.geteuid()), "null:"]
    assert row[5] in {"pps", "kpps"}
    assert float(row[4]) > 0, "two looks tell what goes out"


def test_a_name_from_outside_shows_its_escapes(named, uspnet):
    name = "\x1b[2J\x1b]52;c;Y3VybCBldmls\x07\u202eevil\nroot: ok"
    named(name)
    shown = uspnet("stats", str(os.getpid()), "--once").stdout
    assert "".join(shown.split("\n")).isprintable()
    assert "\\x1b[2J" in shown
    found = uspnet("stats", str(os.getpid()), "--json").stdout
    assert found.isascii()
    (job,) = answer(found)["jobs"]
    assert job["ports"][0]["port"] == name
    assert (job["uid"], job["user"]) == (os.geteuid(), user_name(os.geteuid()))


def test_a_very_long_name_takes_one_line(named, uspnet):
    named("pcap:/" + "x" * 4000)
    shown = uspnet("stats", str(os.getpid()), "--once").stdout
    assert len(shown.splitlines()) == 2
    assert "…" in shown


def job(seen_at, started=1, **counters):
    port = RunningPort(
        port="p", driver="d", drops={}, sleeps=0, **{**dict.fromkeys(COUNTERS, 0), **counters}
    )
    return RunningJob(7, 0, seen_at, "test", started, [port])


def test_rates_come_from_the_time_that_has_passed():
    before, after = job(10.0, rx_packets=100), job(10.5, rx_packets=300, tx_packets=50)
    assert rates([before], [after]) == {((7, 1), 0): Rates(400.0, 100.0, 0.0, 0.0)}


def test_a_rate_is_unknown_until_there_are_two_looks_at_the_same_job():
    new = job(10.0, rx_packets=100)
    unknown = {((7, 1), 0): Rates()}
    assert rates([], [new]) == rates([new], [new]) == unknown
    assert rates([job(9.0, started=2)], [new]) == unknown, "another had that process id"
    assert rate(None, 5, 1.0) is None
    assert rate(5, None, 1.0) is None
    assert rate(5, 4, 1.0) is None
