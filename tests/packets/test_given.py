# SPDX-License-Identifier: Apache-2.0
"""Frames that exist already, as templates: the same bytes, and right ones when they change."""

from __future__ import annotations

import pytest
from scapy.layers.all import ARP, DNS, DNSQR, ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6
from scapy.layers.vxlan import VXLAN
from scapy.packet import Padding, Raw

from uspnet.errors import Usage
from uspnet.packets.given import Given, templates_of

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
ETHER = Ether(**MACS)
PACKETS = {
    "udp": ETHER / IP() / UDP(sport=1024, dport=9) / ("x" * 20),
    "padded": ETHER / IP() / UDP(sport=1024, dport=9) / Raw(b"a") / Padding(bytes(17)),
    "arp": Ether(**MACS) / ARP(psrc="10.0.0.1", hwsrc=MACS["src"]) / Padding(bytes(18)),
    "tcp6": ETHER / IPv6() / TCP(options=[("MSS", 1460)]) / b"hello",
    "tagged": ETHER / Dot1Q(vlan=5) / IP() / ICMP() / ("1234567890" * 4),
    "dns": ETHER / IP() / UDP(sport=53) / DNS(qd=[DNSQR(qname="a.example.com")]),
    "inner": ETHER / IP() / UDP(sport=1024, dport=4789) / VXLAN() / Ether(**MACS) / IP() / TCP(),
    "wrong": ETHER / IP() / UDP(sport=1024, dport=9, chksum=5) / ("y" * 30),
    "short": ETHER / IP(len=200) / UDP(sport=1024, dport=9) / ("y" * 30),
}
FRAMES = {name: bytes(packet) for name, packet in PACKETS.items()}
FRAMES |= {
    "cut": FRAMES["dns"][:-3],
    "zeros": bytes(60),
    "802.3": b"\xff" * 12 + b"\x00\x2e" + bytes(range(46)),
    "header": FRAMES["udp"][:14],
}
CHECKED = ["udp", "padded", "tcp6", "tagged", "dns", "inner"]


@pytest.mark.parametrize("alike", [False, True])
def test_they_are_sent_as_they_are(alike):
    made = templates_of(Given("x", list(FRAMES.values())), None, alike=alike)
    assert [each.frame for each in made] == list(FRAMES.values())


@pytest.mark.parametrize("name", FRAMES)
def test_their_bytes_come_back_when_nothing_changes(name):
    (made,) = templates_of(Given("x", [FRAMES[name]]), None)
    if made.payload >= 2:
        at = len(made.frame) - 2
        assert made.rebuild(at, made.frame[at:]) == made.frame


@pytest.mark.parametrize("name", CHECKED)
def test_lengths_and_checksums_follow_their_size(name):
    (made,) = templates_of(Given("x", [FRAMES[name]]), 200)
    read = Ether(made.frame)
    assert len(made.frame) == 200
    for layer in read.iterpayloads():
        for field in ("len", "plen", "chksum"):
            if field in layer.fields:
                del layer.fields[field]
    read.clear_cache()
    assert bytes(read) == made.frame
    assert not isinstance(read.lastlayer(), Padding)


@pytest.mark.parametrize(
    ("name", "layer", "field"), [("wrong", UDP, "chksum"), ("short", IP, "len")]
)
def test_what_is_wrong_in_them_stays(name, layer, field):
    (made,) = templates_of(Given("x", [FRAMES[name]]), 120)
    assert getattr(Ether(made.frame)[layer], field) == getattr(PACKETS[name][layer], field)
    assert len(made.frame) == 120


@pytest.mark.parametrize("frame", [bytes(13), bytes(9729)])
def test_a_frame_that_no_port_sends_is_named(frame):
    with pytest.raises(Usage, match=r"x\.pcap: packet 2: [0-9,]+ bytes is not a frame"):
        templates_of(Given("x.pcap", [bytes(60), frame]), None)


def test_a_size_below_theirs_is_refused():
    with pytest.raises(Usage, match=r"x\.pcap: packet 1 makes 62 bytes, more than --size 61"):
        templates_of(Given("x.pcap", [FRAMES["udp"]]), 61)
