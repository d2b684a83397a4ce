# SPDX-License-Identifier: Apache-2.0
"""fwd's modes on the command line: their options, what they say, and what is wrong."""

from __future__ import annotations

import os
import signal

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.fastpath.test_switch import EVERYBODY, frame, mac
from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.waiting import until

NULLS = ("null:", "null:", "null:")
WRONG = [  # words, and what the answer names
    ((), "mode io takes 2 ports, and 3 are given", "for 3 ports: --mode"),
    (("--mode", "switch", "--age", "0"), "--age", "10s"),
    (("--mode", "switch", "--macs", "0"), "--macs", "at least 1"),
    (("--mode", "switch", "--storm-limit", "10%"), "packets a second", "10k"),
    (("--mode", "filter"), "no rule", "--rule 'drop udp port 53'"),
    (("--mode", "filter", "--rule", "drop tcp prot 80"), "\n        ^~~~\n", "man pcap-filter"),
    (("--mode", "filter", "--rule", "to:9"), "no such port", "to:1 to to:3"),
    (("--mode", "route"), "no routes", "--routes FILE"),
    (("--mode", "route", *2 * ["--routes", "x"]), "--routes is given twice", "of both into one"),
    (("--mode", "route", "--routes", "/dev/null"), "/dev/null has no route", "via ADDRESS"),
    (("--mode", "balance", "--loss", "1%"), "mode balance has no --loss", "--mode impair"),
    (("--mode", "impair"), "takes 2 ports, and 3 are given", "for 3 ports: --mode"),
    (("--mode", "balance", "--mirror", "pcap:/dev/null"), "sends nothing", "pcap:out=FILE"),
    (("--mode", "switch", *["null:"] * 14), "takes 2 to 16 ports, and 17 are given", "--help"),
]


@pytest.mark.parametrize(("words", "what", "hint"), WRONG)
def test_what_is_wrong_is_named(uspnet, words, what, hint):
    done = uspnet("fwd", *NULLS, *words)
    assert done.returncode == 2
    assert what in done.stderr
    assert hint in done.stderr


def test_an_option_of_another_mode_is_refused(uspnet):
    done = uspnet("fwd", "null:", "null:", "--age", "10")
    assert done.returncode == 2
    assert "mode io has no --age" in done.stderr
    assert "add: --mode switch" in done.stderr


def test_a_switch_says_what_it_knows(uspnet, tmp_path):
    frames = [frame(EVERYBODY, mac(number % 50), number) for number in range(200)]
    frames += [frame(mac(1), mac(2), 0)] * 10
    write_pcap(tmp_path / "in.pcap", frames)
    words = ("fwd", f"pcap:{tmp_path}/in.pcap", *NULLS[:2], "--mode", "switch", "--macs", "1k")
    words = (*words, "--count", "210")  # null: ports are sources without end
    result = answer(uspnet(*words, "--json").stdout)
    assert result["switch"]["macs"] <= 50
    assert result["received"] == 210
    said = uspnet(*words).stdout
    assert "MAC addresses" in said
    assert "flooded" in said


def test_a_router_says_what_its_table_has_and_which_neighbors_it_misses(uspnet, tmp_path):
    frames = [b"\2\0\0\0\0\1" + bytes(6) + b"\x08\0" + bytes(IP(dst=to) / UDP())
              for to in ("10.0.0.1", "10.1.0.1", "11.0.0.1")]  # fmt: skip
    write_pcap(tmp_path / "in.pcap", frames)
    lines = ["10.0.0.0/8 via 192.0.2.1 port 2 mac 02:00:00:00:00:09", "10.1.0.0/16 via 192.0.2.2",
             "192.0.2.0/24 port 2"]  # fmt: skip
    (tmp_path / "routes").write_text("\n".join(lines))
    out = f"pcap:out={tmp_path}/out.pcap,format=pcap"
    words = ("fwd", f"pcap:{tmp_path}/in.pcap", out, "--mode", "route", "--routes",
             f"{tmp_path}/routes")  # fmt: skip
    done = uspnet(*words, "--json")
    result = answer(done.stdout)
    assert (result["forwarded"], result["drops"]) == (1, {"no_neighbor": 1, "no_route": 1})
    assert (result["route"]["ipv4"], result["route"]["next_hops"]) == (3, 3)
    (sent,) = pcap_frames(tmp_path / "out.pcap")
    assert Ether(sent).dst == "02:00:00:00:00:09"
    done = uspnet(*words)
    assert "the MAC address of 192.0.2.2 is not known" in done.stderr
    assert "routes IPv4 3, IPv6 0, next hops 3, tables 0.1 MiB" in done.stdout


def test_rules_are_told_with_what_they_decided_on(uspnet, tmp_path):
    write_pcap(tmp_path / "in.pcap", [frame(EVERYBODY, mac(1), 1, tag) for tag in (None, 5, 5)])
    words = ("fwd", f"pcap:{tmp_path}/in.pcap", f"pcap:out={tmp_path}/out.pcap", "--mode", "filter")
    rules = ("--rule", "drop vlan 5", "--rule", "drop vlan 5", "--rule", "pass")
    done = uspnet(*words, *rules, "--json")
    result = answer(done.stdout)
    assert [each["packets"] for each in result["rules"]] == [2, 0, 1]
    assert (result["forwarded"], result["drops"]) == (1, {"filtered": 2})
    done = uspnet(*words, *rules, "--mirror", f"pcap:out={tmp_path}/all.pcap,format=pcap")
    assert pcap_frames(tmp_path / "all.pcap") == pcap_frames(tmp_path / "in.pcap")
    assert "rule 'drop vlan 5' is never reached: 'drop vlan 5' comes before it" in done.stderr
    assert "rule drop vlan 5, 2 packets" in done.stdout


def test_a_bottleneck_says_what_it_dropped_and_a_wrong_line_of_a_trace_is_named(uspnet, tmp_path):
    (tmp_path / "link").write_text("1\n2\n4\n")
    words = ("fwd", "null:", "null:", "--mode", "impair", "--link-trace", f"{tmp_path}/link")
    done = uspnet(*words, "--queue", "codel:1ms,20ms", "--duration", "1", "--json")
    result = answer(done.stdout)
    assert set(result["drops"]) == {"queue_full", "codel", "ended"}
    assert result["impaired"]["most_queued"] == 1000
    (tmp_path / "link").write_text("1\n2\n0\n")
    done = uspnet(*words)
    assert done.returncode == 2
    assert "/link, line 3: 0 comes after 2" in done.stderr
    done = uspnet("fwd", "null:", "null:", "--mode", "impair", "--loss", "gemodel:1%,2", "--json")
    assert "--loss 'gemodel:1%,2'" in done.stdout


BOTTLENECK = ("--rate", "100Mbit/s", "--queue", "codel:5ms,100ms", "--loss", "gemodel:1%,10%")


@pytest.mark.parametrize("more", [("--loss", "10%"), BOTTLENECK])
def test_packets_that_wait_in_a_worker_process_that_dies_are_counted(started, tmp_path, more):
    write_pcap(tmp_path / "in.pcap", [frame(EVERYBODY, mac(1), 1)] * 100)
    words = ("--mode", "impair", "--delay", "200ms", "--jitter", "10ms", *more)
    job = started("fwd", f"pcap:{tmp_path}/in.pcap,loop=on", "null:", *words, "--limit", "1k")
    job.wait()
    until(lambda: job.count("tx_packets"))
    (worker,) = children_named(job.process.pid, "uspnet-worker")
    os.kill(worker, signal.SIGKILL)
    job.hears("a new one goes on")
    sent = job.count("tx_packets")
    until(lambda: job.count("tx_packets") > sent)
    result = job.end()
    assert result["restarts"] == 1
    assert 0 < result["drops"]["worker_lost"] <= 1000 + 64
    assert set(result["drops"]) <= {"worker_lost", "loss", "ended", "codel"}
    assert 900 < result["impaired"]["most_waiting"] <= 1000
