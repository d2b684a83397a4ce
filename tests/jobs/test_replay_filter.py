# SPDX-License-Identifier: Apache-2.0
"""Replay of the packets that a filter accepts: those that tcpdump would write, and no others."""

from __future__ import annotations

import subprocess

import pytest
from scapy.all import IP, TCP, UDP, Ether

from tests.fastpath.test_loops import Wire
from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.captures import pcap_frames
from tests.support.identity import ran
from tests.support.pcap_rig import enhanced, interface, section
from uspnet.fastpath import lib
from uspnet.jobs.plan import Limits
from uspnet.jobs.replay import Pace, Replaying, ReplayJob
from uspnet.packets.fields.rewrite import Rewrite
from uspnet.packets.filter import compile_filter
from uspnet.ports.pcap.port import Pcap
from uspnet.ports.registry import make_port

PACKETS = [
    Ether() / IP(src=f"10.0.{n % 3}.{n}") / (UDP if n % 2 else TCP)(dport=n) / bytes(n)
    for n in range(100)
]
FRAMES = [bytes(packet) for packet in PACKETS]
UDPS = FRAMES[1::2]


@pytest.fixture
def capture(tmp_path):
    """A capture of 100 packets, of which every second one is UDP, 1 ms apart."""
    packets = [enhanced("<", 10**9 + n * 10**6, frame) for n, frame in enumerate(FRAMES)]
    (tmp_path / "in.pcapng").write_bytes(section("<") + interface("<") + b"".join(packets))
    return tmp_path / "in.pcapng"


def play(path, text, passes=1, pace=None, rewrite=(), timing=None, **limits):
    wire = Wire()
    how = Replaying(passes, pace or Pace(), rewrite, compile_filter(text))
    with ReplayJob(wire, Limits(**limits), [Pcap.make(path, timing=timing)], how) as job:
        return ran(job.run()), wire.taken


@pytest.mark.parametrize("burst", [1, 7, 64])
@pytest.mark.parametrize("pace", [Pace(), Pace(1e5)])
def test_only_what_is_accepted_leaves(capture, pace, burst):
    result, taken = play(capture, "udp", passes=3, pace=pace, burst=burst)
    assert taken == UDPS * 3
    assert (result.offered, result.sent, result.skipped) == (150, 150, {"filtered": 150})
    assert (result.replayed[0].packets, result.asked.filter) == (150, "udp")
    assert result.ports[1].rx_bytes == 3 * sum(map(len, UDPS))


@pytest.mark.parametrize("text", ["udp dst portrange 10-20", "src net 10.0.1.0/24", "greater 100"])
def test_tcpdump_would_choose_the_same(capture, tmp_path, text):
    result, taken = play(capture, text)
    subprocess.run(["tcpdump", "-r", capture, "-w", tmp_path / "out", text],
                   check=True, capture_output=True)  # fmt: skip
    assert 0 < len(taken) < 100
    assert taken == pcap_frames(tmp_path / "out")
    assert result.skipped == {"filtered": 100 - len(taken)}


def test_lengths_are_those_on_the_wire(tmp_path):
    packets = [enhanced("<", 0, bytes(60), wire=wire) for wire in (60, 100)]
    (tmp_path / "x").write_bytes(section("<") + interface("<") + b"".join(packets))
    result, taken = play(tmp_path / "x", "greater 100")
    assert (taken, result.replayed[0].truncated) == ([bytes(60)], 1)


def test_a_count_is_of_what_is_sent(capture):
    result, taken = play(capture, "udp", passes=None, count=60)
    assert taken == (UDPS * 2)[:60]
    assert (result.ended, result.offered) == ("count", 60)


def test_a_filter_sees_packets_as_they_were(capture):
    _, taken = play(capture, "udp and not vlan", rewrite=[Rewrite(vlan=7)])
    assert taken == [frame[:12] + b"\x81\0\0\x07" + frame[12:] for frame in UDPS]


@pytest.mark.parametrize("passes", [1, None])
def test_a_filter_that_accepts_nothing_ends_even_without_end(capture, passes):
    result, taken = play(capture, "vlan", passes=passes)
    assert (taken, result.ended, result.offered) == ([], "source", 0)
    assert result.skipped["filtered"] >= 100


def test_gaps_stay_as_they_were(capture):
    result, taken = play(capture, "udp dst port 1 or udp dst port 99", timing=True)
    assert len(taken) == 2
    assert result.elapsed_s >= 0.098 * 0.99


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
def test_it_goes_on_when_its_process_is_killed(capture, mortal):  # noqa: F811
    how = Replaying(None, Pace(1e5), only=compile_filter("udp"))
    with ReplayJob(make_port("null:"), Limits(), [Pcap.make(capture)], how) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.stop())
    assert result.sent > 0
    assert abs(result.offered - result.skipped["filtered"]) < 200 + 64 * life.kills
    assert result.drops.keys() <= {"worker_lost"}
