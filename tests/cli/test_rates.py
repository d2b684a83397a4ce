# SPDX-License-Identifier: Apache-2.0
"""`pktgen --rate`, `--ramp`, `--burst-size` and `--poisson` as their users meet them."""

from __future__ import annotations

import os

import pytest

from tests.support.identity import answer

LATE = {"min", "p50", "p90", "p99", "p999", "max"}


def found(uspnet, *words):
    """The result of a run on a port that takes everything."""
    result = uspnet("pktgen", "null:", *words, "--json")
    assert result.returncode == 0, result.stderr + result.stdout
    return answer(result.stdout)


SHAPES = [
    (["--rate", "10k", "--burst-size", "10", "--duration", "0.2"], 2000),
    (["--rate", "10k", "--burst-size", "300", "--duration", "0.2"], 1800),
    (["--burst-size", "5", "--burst-gap", "10ms", "--duration", "0.1"], 50),
    (["--ramp", "1k:3k:1k/100ms"], 600),
    (["--ramp", "3k:1k:1k/100ms"], 600),
    (["--ramp", "1k:3k:1k/100ms", "--duration", "0.5"], 1200),
    (["--ramp", "1k:3k:1k/100ms", "--duration", "0.15"], 200),
    (["--ramp", "1k:3k:1k/100ms", "--burst-size", "10"], 600),
    (["--rate", "8.4Mbps:l1", "--duration", "0.2"], 2500),  # 84 bytes a packet
    (["--rate", "8.4M:l1", "--size", "144", "--duration", "0.2"], 1250),
    (["--ramp", "0.1%:0.3%:0.1%/100ms", "--link", "100M"], 89),  # 14.88, 29.76 and 44.64
    (["--ramp", "500:1500:1/1ms"], 1001),
    (["--ramp", "999:1:1/1ms"], 499),
    (["--rate", "1000", "--burst-size", "150", "--duration", "0.2"], 150),
]


@pytest.mark.parametrize(("words", "packets"), SHAPES)
def test_every_packet_that_is_due_is_offered(uspnet, words, packets):
    result = found(uspnet, *words)
    assert result["offered"] == packets
    assert result["ended"] == "duration"
    assert result["pacing"]["asked_pps"] > 0


def test_a_ramp_of_very_many_packets(uspnet):
    result = found(uspnet, "--ramp", "100Gpps:1000Gpps:0.1Gpps/100000s", "-c", "10")
    assert (result["offered"], result["ended"]) == (10, "count")


@pytest.mark.parametrize("words", [["--rate", "20k"], ["--ramp", "10k:30k:10k/100ms"]])
def test_workers_share_a_rate(uspnet, words):
    cores = sorted(os.sched_getaffinity(0))[:2]
    result = uspnet("pktgen", "null:queues=2", *words, "--duration", "0.3", "--json",
                    "--cores", ",".join(map(str, cores)), "--burst-size", "7")  # fmt: skip
    assert answer(result.stdout)["offered"] == 6000 // 7 * 7


def test_random_gaps_follow_from_the_seed(uspnet):
    words = ("--rate", "20k", "--poisson", "--duration", "0.2")
    one, same, other = (found(uspnet, *words, "--seed", seed) for seed in ("1", "1", "2"))
    assert one["offered"] == same["offered"] != other["offered"]
    assert one["offered"] == pytest.approx(4000, rel=0.1)
    assert (one["asked"]["poisson"], one["asked"]["seed"]) == (True, 1)


def test_a_result_says_how_well_a_rate_was_kept(uspnet):
    result = found(uspnet, "--rate", "10k", "-c", "1000")
    pacing = result["pacing"]
    assert pacing["asked_pps"] == pytest.approx(10_000)
    assert pacing["error_percent"] == pytest.approx(100 * (result["pps"] / 10_000 - 1), abs=0.01)
    late = pacing["late_ns"]
    assert set(late) == LATE
    assert 0 <= late["min"] <= late["p50"] <= late["p99"] <= late["max"]
    assert 0 <= pacing["longest_stall_s"] <= pacing["stalled_s"]


def test_the_summary_says_how_late_packets_were(uspnet):
    result = uspnet("pktgen", "null:", "--ramp", "1k:2k:1k/50ms", "--burst-size", "10")
    assert result.returncode == 0, result.stderr
    assert " of the 1.50 kpps asked for" in result.stdout
    assert "late by p50 " in result.stdout
    assert "no CPU for " in result.stdout


def test_without_a_rate_nothing_is_late(uspnet):
    assert found(uspnet, "-c", "100")["pacing"] is None


def test_a_result_says_what_was_asked_for(uspnet):
    asked = found(uspnet, "--ramp", "1k:2k:500pps/50ms", "--burst-size", "10")["asked"]
    assert (asked["ramp"], asked["burst_size"], asked["rate_pps"]) == (
        "1000:2000:500/0.05s",
        10,
        None,
    )
    assert asked["duration_s"] == pytest.approx(0.15)
    assert (asked["poisson"], asked["seed"]) == (False, None)
