# SPDX-License-Identifier: Apache-2.0
"""`pktgen` with several `--packet`: shares, order, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from scapy.layers.all import IP, TCP, UDP, Ether

from tests.support.captures import pcap_frames

IPV4 = "Ether()/IP(src='10.0.0.1',dst='10.0.0.2')"
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def words(*packets):
    return [word for packet in packets for word in ("--packet", packet)]


@pytest.fixture
def sent(uspnet, tmp_path):
    """Runs pktgen into a file; its frames."""

    def run(*arguments):
        file = tmp_path / "sent.pcap"
        result = uspnet("pktgen", f"pcap:out={file},format=pcap", *arguments)
        assert result.returncode == 0, result.stderr
        return pcap_frames(file)

    return run


@pytest.mark.parametrize("burst", ["1", "7", "32"])
def test_shares_are_exact_over_a_cycle(sent, burst):
    three, one = f"3:{IPV4}/UDP(sport=1,dport=[7,9])/('x'*20)", f"{IPV4}/TCP()/('y'*30)"
    frames = sent("-c", "80", "--burst", burst, *words(three, one))
    head = Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2")
    udp = [bytes(head / UDP(sport=1, dport=port) / ("x" * 20)) for port in (7, 9)]
    tcp = bytes(head / TCP() / ("y" * 30))
    assert Counter(frames) == {udp[0]: 30, udp[1]: 30, tcp: 20}
    assert frames[:8] * 10 == frames
    assert [frame for frame in frames if frame != tcp] == udp * 30
    assert all(frames[n : n + 4].count(tcp) == 1 for n in range(0, 80, 4))


def test_without_weights_they_alternate(sent):
    frames = sent("-c", "6", "--size", "90", *words(f"{IPV4}/UDP()", f"{IPV4}/TCP()"))
    assert [frame[23] for frame in frames] == [17, 6] * 3
    assert {len(frame) for frame in frames} == {90}


def test_a_field_that_all_have_varies_in_all(sent):
    frames = sent("-c", "30", "--vary", "ip.src=10.1.0.0/24",
                  *words(f"2:{IPV4}/UDP()/('x'*20)", f"{IPV4}/UDP(dport=9)/('y'*20)"))  # fmt: skip
    for number, frame in enumerate(frames):
        read = Ether(frame)
        assert read[IP].src == f"10.1.0.{number}"
        del read[IP].chksum, read[IP].payload.chksum
        assert bytes(read) == frame
    assert Counter(frame[-1:] for frame in frames) == {b"x": 20, b"y": 10}


def test_each_has_the_sizes_in_its_own_turn(sent):
    frames = sent("-c", "18", "--size", "100,200,300", *words(f"2:{IPV4}/UDP()", f"{IPV4}/TCP()"))
    assert [len(frame) for frame in frames if frame[23] == 17] == [100, 200, 300] * 4
    assert [len(frame) for frame in frames if frame[23] == 6] == [100, 200, 300] * 2


WRONG = [
    ([*words(f"{IPV4}/UDP()/('x'*20)", f"{IPV4}/TCP()"), "--vary", "udp.sport=1-9"],
     "the packet Ether/IP/TCP"),
    ([*words(f"{IPV4}/UDP()", "Ether()/ARP(psrc='10.0.0.1',pdst='10.0.0.2')"), "--vary",
      "ip.src=10.0.0.0/8"], "the packet Ether/ARP"),
    ([*words(f"{IPV4}/UDP()", f"0:{IPV4}/TCP()")], "0 is not a weight"),
    ([*words(f"{IPV4}/UDP()", "2:Ether()/Nothing()")], "--packet 2"),
    ([*words(f"{IPV4}/UDP(sport=RandShort())", f"{IPV4}/TCP()")], "--packet 2 draws other fields"),
    ([*words(f"{IPV4}/UDP()", f"{IPV4}/TCP()"), "--size", "50,60"], "more than --size 50"),
    ([*words(f"1000000:{IPV4}/UDP()", f"999999:{IPV4}/UDP(dport=(1,98))")], "is too long"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "told"), WRONG)
def test_what_makes_no_sense_is_refused(uspnet, arguments, told):
    result = uspnet("pktgen", "null:", "-c", "5", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert told in " ".join(result.stderr.split())
