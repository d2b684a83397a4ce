# SPDX-License-Identifier: Apache-2.0
"""`--json`: exactly one object on stdout, with the promised names, and sums that hold."""

from __future__ import annotations

import pytest

from tests.support.identity import answer
from uspnet import __version__
from uspnet.telemetry import COUNTERS


def only_object(result):
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    found = answer(result.stdout)
    assert found["uspnet"] == __version__
    return found


RUNS = {
    "pktgen": (["null:", "--count", "1000"], {"offered", "sent", "unsent", "pps", "bps"}),
    "capture": (["null:", "--count", "1000"], {"received", "filtered", "written", "dropped"}),
    "reflect": (["null:", "--count", "1000"], {"received", "reflected", "dropped"}),
    "fwd": (["null:", "null:", "--count", "1000"], {"forwarded", "dropped", "pps"}),
}


@pytest.mark.parametrize("command", RUNS)
def test_a_run(uspnet, command):
    arguments, names = RUNS[command]
    found = only_object(uspnet(command, *arguments, "--json"))
    assert found["command"] == command
    assert found["elapsed_s"] > 0
    assert names <= set(found)
    for port in found["ports"]:
        assert {"port", "driver", *COUNTERS} <= set(port)


def test_pktgen_sends_what_it_is_told(uspnet):
    found = only_object(uspnet("pktgen", "null:", "--count", "1000", "--size", "100", "--json"))
    assert (found["offered"], found["sent"], found["unsent"]) == (1000, 1000, 0)
    assert found["ports"][0]["tx_packets"] == 1000
    assert found["ports"][0]["tx_bytes"] == 100_000


def test_a_rate_is_offered_in_full(uspnet):
    found = only_object(
        uspnet("pktgen", "null:", "--rate", "10kpps", "--duration", "0.5", "--json")
    )
    assert found["offered"] == found["sent"] + found["unsent"]
    assert found["offered"] == 5000, "the rate times the duration, however late the end was"


def test_capture_accounts_for_every_packet(uspnet):
    found = only_object(uspnet("capture", "null:", "--count", "777", "--json"))
    assert found["received"] == 777
    assert found["received"] == found["filtered"] + found["written"] + found["dropped"] + 777
    assert found["files"] == []


def test_counters_that_cannot_be_known_are_null(uspnet, tmp_path):
    port = f"memif:{tmp_path}/m.sock,role=server"
    found = only_object(uspnet("capture", port, "--duration", "0.2", "--json"))
    assert found["ports"][0]["rx_missed_errors"] is None


def test_stats_and_doctor_print_one_object_too(uspnet):
    assert only_object(uspnet("stats", "--json"))["command"] == "stats"
    doctor = only_object(uspnet("doctor", "null:", "--json"))
    assert doctor["problems"] == 0
    assert {row["state"] for row in doctor["checks"]} <= {"ok", "note", "problem"}


def test_quiet_prints_nothing(uspnet):
    result = uspnet("pktgen", "null:", "--count", "10", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_verbose_tells_how_the_run_is_set_up(uspnet):
    result = uspnet("pktgen", "null:", "--count", "10", "-v")
    assert "pool: " in result.stderr
    assert "poll adaptive" in result.stderr
