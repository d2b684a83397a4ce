# SPDX-License-Identifier: Apache-2.0
"""Replay to two ports: what a filter accepts leaves by the first one, all else by the second."""

from __future__ import annotations

import subprocess

import pytest
from scapy.all import ARP, IP, TCP, UDP, Ether

from tests.fastpath.test_loops import Wire
from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.captures import pcap_frames
from tests.support.identity import ran
from tests.support.pcap_rig import classic, enhanced, interface, section
from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.plan import Limits
from uspnet.jobs.replay import Pace, Replaying, ReplayJob
from uspnet.packets.fields.rewrite import Rewrite
from uspnet.packets.filter import compile_filter
from uspnet.ports.pcap.port import Pcap
from uspnet.ports.registry import make_port

A, B = "10.0.0.1", "192.168.0.1"
PACKETS = [
    Ether() / (IP(src=A, dst=B) / UDP(sport=n) if n % 3 else IP(src=B, dst=A) / TCP(dport=n))
    for n in range(60)
]
FRAMES = [bytes(packet) for packet in [*PACKETS, Ether() / ARP(psrc=A, hwsrc="02:00:00:00:00:01")]]
OURS = [frame for n, frame in enumerate(FRAMES[:60]) if n % 3]
OTHERS = [frame for frame in FRAMES if frame not in OURS]
SPLIT = "ip and src net 10.0.0.0/8"


@pytest.fixture
def capture(tmp_path):
    """A capture of a conversation, of one packet each millisecond."""
    packets = [enhanced("<", 10**9 + n * 10**6, frame) for n, frame in enumerate(FRAMES)]
    (tmp_path / "in").write_bytes(section("<") + interface("<") + b"".join(packets))
    return tmp_path / "in"


def play(path, passes=1, pace=None, rewrite=(), only=None, timing=None, wires=None, **limits):
    first, second = wires or (Wire(), Wire())
    only = compile_filter(only) if only else None
    how = Replaying(passes, pace or Pace(), rewrite, only, compile_filter(SPLIT))
    files = [Pcap.make(path, timing=timing)]
    with ReplayJob(first, Limits(**limits), files, how, second) as job:
        return ran(job.run()), first.taken, second.taken


@pytest.mark.parametrize("burst", [1, 7, 64])
@pytest.mark.parametrize("how", [{}, {"pace": Pace(1e5)}, {"timing": True}])
def test_each_side_leaves_by_its_port_in_order(capture, burst, how):
    result, ours, others = play(capture, passes=2, burst=burst, **how)
    assert (ours, others) == (OURS * 2, OTHERS * 2)
    assert (result.offered, result.sent, result.unsent) == (122, 122, 0)
    assert result.asked.split_by == SPLIT
    assert [port.tx_packets for port in result.ports[:2]] == [len(ours), len(others)]


def test_both_sides_are_filtered_and_rewritten(capture):
    result, ours, others = play(capture, only="ip", rewrite=[Rewrite(dst_mac=bytes(6))])
    assert ours == [bytes(6) + frame[6:] for frame in OURS]
    assert others == [bytes(6) + frame[6:] for frame in OTHERS[:-1]]
    assert (result.sent, result.skipped) == (60, {"filtered": 1})


def test_a_count_is_of_both(capture):
    result, ours, others = play(capture, passes=None, count=31)
    assert (ours, others) == (OURS[:20], OTHERS[:11])
    assert (result.ended, result.offered, result.sent) == ("count", 31, 31)


def test_a_port_without_room_loses_nothing(capture):
    class Slow(Wire):
        def send(self, q, packets, n):
            return super().send(q, packets, min(n, 1))

    result, ours, others = play(capture, wires=(Wire(), Slow()))
    assert (ours, others) == (OURS, OTHERS)
    assert (result.sent, result.unsent) == (61, 0)


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
def test_it_goes_on_when_its_process_is_killed(capture, mortal):  # noqa: F811
    how = Replaying(None, Pace(1e5), split=compile_filter(SPLIT))
    ports = make_port("null:"), make_port("null:")
    with ReplayJob(ports[0], Limits(), [Pcap.make(capture)], how, ports[1]) as job:
        life = mortal(job)
        torment(life)
        life.live_until(lambda: all(row.tx_packets for row in job.port_rows()[:2]))
        result = ran(life.stop())
    assert all(port.tx_packets for port in result.ports[:2])
    lost = result.drops.get("worker_lost", 0) + result.skipped.get("worker_lost", 0)
    assert lost == life.lost <= 3 * 32 * life.kills


def test_ports_and_split_need_each_other(capture):
    for how, second in [(Replaying(split=compile_filter("ip")), None), (Replaying(), Wire())]:
        with pytest.raises(Usage, match="need each other"):
            ReplayJob(Wire(), Limits(), [Pcap.make(capture)], how, second)


def test_times_go_on_to_both_files(tmp_path):
    (tmp_path / "in").write_bytes(classic(magic=0xA1B23C4D))
    outs = [Pcap.make(out=tmp_path / name, format="nsecpcap") for name in "ab"]
    how = Replaying(split=compile_filter("greater 62"))
    with ReplayJob(outs[0], Limits(), [Pcap.make(tmp_path / "in")], how, outs[1]) as job:
        ran(job.run())
    merged = ["mergecap", "-F", "nsecpcap", "-w", tmp_path / "c", tmp_path / "a", tmp_path / "b"]
    subprocess.run(merged, check=True)
    assert (tmp_path / "c").read_bytes()[24:] == classic(magic=0xA1B23C4D)[24:]
    assert [len(pcap_frames(tmp_path / name)) for name in "ab"] == [3, 3]


def test_tcpprep_and_tcpreplay_send_the_same(namespace, capture, tmp_path):
    subprocess.run(["editcap", "-F", "pcap", capture, tmp_path / "x"], check=True)
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    receivers = [namespace.socket(name) for name in "bd"]

    def came():
        taken = []
        for each, n in zip(receivers, (len(OURS), len(OTHERS)), strict=True):
            taken.append([each.recv(2048) for _ in range(n)])
        return taken

    cache = ("--cidr=10.0.0.0/8", "-i", tmp_path / "x", "-o", tmp_path / "cache")
    subprocess.run(["tcpprep", *cache], check=True, capture_output=True)
    namespace.run("tcpreplay", "-c", tmp_path / "cache", "-i", "a", "-I", "c", tmp_path / "x")
    theirs = came()
    words = ("--split-by", SPLIT, "--second-port", "packet:c", "--replay", str(tmp_path / "x"))
    namespace.uspnet("pktgen", "packet:a", *words)
    assert came() == theirs == [OURS, OTHERS]
