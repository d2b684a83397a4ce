# SPDX-License-Identifier: Apache-2.0
"""Reports while a command runs, why it ended, and the packets that it had to handle."""

from __future__ import annotations

import os
import signal

import pytest

from tests.cli.test_signals import wait_for
from tests.support.identity import answer
from tests.support.waiting import scaled

RUNS = {
    "pktgen": ["pktgen", "null:", "--rate", "10k"],
    "capture": ["capture", "null:"],
    "fwd": ["fwd", "null:", "null:"],
}
FEW = {
    "pktgen": (["pktgen", "null:", "--rate", "1k", "--duration", "0.1"], "sent 100 packets"),
    "capture": (["capture", "pcap:{pcap}"], "received 3 packets"),
    "fwd": (["fwd", "pcap:{pcap}", "null:"], "forwarded 3 packets"),
}


@pytest.fixture
def three(tmp_path, uspnet):
    """A capture file of three packets."""
    path = tmp_path / "three.pcap"
    done = uspnet("pktgen", f"pcap:out={path}", "--count", "3", "--quiet")
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("command", RUNS)
def test_an_interval_prints_one_object_a_line_and_the_last_is_final(command, uspnet):
    done = uspnet(*RUNS[command], "--duration", "1", "--json", "--interval", "0.1")
    assert done.returncode == 0, done.stderr
    *so_far, last = map(answer, done.stdout.splitlines())
    assert so_far, "the run takes several intervals"
    assert {each["ended"] for each in so_far} == {None}
    assert last["ended"] == "duration"
    for each in (*so_far, last):
        assert set(each) == set(last)
        assert each["asked"]["duration_s"] == 1
    times = [each["elapsed_s"] for each in so_far]
    assert times == sorted(times)
    assert last["elapsed_s"] > 0, "by the loops' own clocks: they end it a bit earlier than we see"


def test_stats_prints_one_object_a_line_until_its_job_has_ended(start):
    job = start("pktgen", "null:", "--rate", "1k", "--poll", "sleep")
    wait_for(job)
    stats = start("stats", str(job.pid), "--json", "--interval", "0.1")
    lines = [answer(stats.stdout.readline()) for _ in range(3)]
    job.send_signal(signal.SIGINT)
    rest, err = stats.communicate(timeout=scaled(60))
    assert stats.returncode == 0, err
    lines += map(answer, rest.splitlines())
    sent = [line["jobs"][0]["ports"][0]["tx_packets"] for line in lines]
    assert sent == sorted(sent)


@pytest.mark.parametrize("command", FEW)
def test_fewer_packets_than_required_fail_with_the_result_beside_the_error(command, uspnet, three):
    arguments, text = FEW[command]
    arguments = [word.format(pcap=three) for word in arguments]
    done = uspnet(*arguments, "--require", "101", "--json")
    assert done.returncode == 1
    found = answer(done.stdout)
    assert found["error"] == "TooFew"
    assert found["message"] == f"{text}, and --require asks for 101"
    assert found["command"] == command
    assert found["ended"] in {"duration", "source"}
    assert uspnet(*arguments, "--require", "3").returncode == 0


def test_a_requirement_that_the_count_forbids_is_refused(uspnet):
    done = uspnet("capture", "null:", "--count", "5", "--require", "6")
    assert done.returncode == 2
    assert "--count 5 ends the run below --require 6" in done.stderr


ENDS = {
    "count": ["capture", "null:", "--count", "10"],
    "duration": ["fwd", "null:", "null:", "--duration", "0.1"],
    "source": ["capture", "pcap:{pcap}"],
}


@pytest.mark.parametrize("reason", ENDS)
def test_why_a_run_ended(reason, uspnet, three):
    arguments = [word.format(pcap=three) for word in ENDS[reason]]
    assert answer(uspnet(*arguments, "--json").stdout)["ended"] == reason


@pytest.mark.parametrize("command", RUNS)
def test_a_signal_ended_it(command, start):
    process = start(*RUNS[command], "--json")
    wait_for(process)
    os.kill(process.pid, signal.SIGINT)
    found = answer(process.communicate()[0])
    assert found["ended"] == "signal"
    assert found["asked"]["rate_pps"] == (10_000 if command == "pktgen" else None)


def test_an_error_ended_it(uspnet, three):
    three.write_bytes(three.read_bytes()[:-3])  # of the statistics at its end
    done = uspnet("capture", f"pcap:{three}", "--json")
    assert done.returncode == 1
    found = answer(done.stdout)
    assert (found["error"], found["ended"], found["discarded"]) == ("Malformed", "error", 3)
