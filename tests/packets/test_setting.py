# SPDX-License-Identifier: Apache-2.0
"""`--set`: packets are as Scapy makes them with the new values; and what is wrong in its text."""

from __future__ import annotations

import pytest
from scapy.all import IP, TCP, UDP, Dot1Q, Ether, IPv6

from tests.packets.test_rewrite import LOAD, MACS, STACKS, rewritten
from uspnet.errors import Usage
from uspnet.packets.setting import PLACES, read_rewrite

V4 = {"src": "10.1.2.3", "dst": "10.200.2.9"}
V6 = {"src": "2001:db8:7:1::5", "dst": "2001:db9::1"}
V4_NEW = {"src": "172.16.5.6", "dst": "198.51.2.9"}
V6_NEW = {"src": "fd00::7", "dst": "fd00:1:2:3::1"}
ADDRESSES = ["ip.src=172.16.5.6", "ip.dst=198.51.0.0/16", "ip6.src=fd00::7",
             "ip6.dst=fd00:1:2:3::/64", "tcp.sport=65535", "udp.sport=65535", "tcp.dport=0",
             "udp.dport=0", "mac.src=02:00:00:00:00:bb"]  # fmt: skip
VALUES = {  # a field, its value, and Scapy's: layer, name, value
    "ip.tos=0xb8": (IP, "tos", 0xB8),
    "ip.id=0": (IP, "id", 0),
    "ip.ttl=255": (IP, "ttl", 255),
    "ipv4.ttl=1": (IP, "ttl", 1),
    "ip6.tc=255": (IPv6, "tc", 255),
    "ipv6.fl=0xfffff": (IPv6, "fl", 0xFFFFF),
    "ip6.hlim=7": (IPv6, "hlim", 7),
    "tcp.seq=4294967295": (TCP, "seq", 0xFFFFFFFF),
    "tcp.ack=1": (TCP, "ack", 1),
    "tcp.window=77": (TCP, "window", 77),
    "udp.dport=4789": (UDP, "dport", 4789),
    "vlan.prio=5": (Dot1Q, "prio", 5),
    "vlan=4094": (Dot1Q, "vlan", 4094),
    "ether.dst=ff:ff:ff:ff:ff:ff": (Ether, "dst", "ff:ff:ff:ff:ff:ff"),
}
WRONG = {
    "ip.dst": "no value behind a =",
    "ip.dts=10.0.0.1": "there is no field 'ip.dts'",
    "ip=10.0.0.1": "there is no field 'ip'",
    "=5": "there is no field ''",
    "ip.dst=10.0.0.256": "not an IPv4 address",
    "ip.dst=10.0.0.1/8": "not an IPv4 address",
    "ip.dst=fd00::1": "not an IPv4 address",
    "ip6.dst=10.0.0.1": "not an IPv6 address",
    "mac.dst=02:00:00:00:00": "not a MAC address",
    "udp.dport=65536": "out of range",
    "udp.dport=-1": "out of range",
    "udp.dport=": "out of range",
    "vlan.prio=8": "out of range",
    "ip6.fl=0x100000": "out of range",
    "vlan=4095": "no VLAN ID",
    "vlan=": "no VLAN ID",
}


@pytest.mark.parametrize("name", STACKS)
def test_packets_are_what_scapy_makes_of_the_new_values(name):
    v4_new = V4 if name == "arp" else V4_NEW  # whose addresses are no fields of IP
    old = bytes(Ether(**MACS) / STACKS[name](V4, V6, 80, 53))
    new = bytes(
        Ether(**MACS | {"src": "02:00:00:00:00:bb"}) / STACKS[name](v4_new, V6_NEW, 65535, 0)
    )
    assert rewritten(read_rewrite(ADDRESSES), [old]) == [new]


@pytest.mark.parametrize("text", VALUES)
def test_each_field_gets_its_value_and_all_else_stays(text):
    layer, name, value = VALUES[text]
    tagged = Ether(**MACS) / Dot1Q(vlan=5, prio=2, id=1)
    stacks = [
        tagged / IP(**V4, tos=3, id=777) / UDP(sport=9) / LOAD,
        tagged / IPv6(**V6, tc=1, fl=3) / TCP(seq=5) / LOAD,
    ]
    old = [bytes(each) for each in stacks]
    had = [each for each in stacks if layer in each]
    for each in had:
        each[layer].setfieldval(name, value)
    field = read_rewrite([text])
    assert rewritten(field, old) == [bytes(each) for each in stacks]
    assert had


def test_every_field_is_tried():
    names = {text.partition("=")[0] for text in (*ADDRESSES, *VALUES)}
    known = {"ipv4": "ip", "ip6": "ipv6", "mac": "ether", "vlan": "dot1q"}
    tried = {
        ".".join([known.get(first, first), *rest]) for first, *rest in (n.split(".") for n in names)
    }
    assert tried - {"dot1q"} == set(PLACES)


def test_no_length_of_a_frame_is_written_behind():
    frame = bytes(Ether(**MACS) / Dot1Q() / IPv6(**V6) / TCP() / LOAD)
    field = read_rewrite([*ADDRESSES, "tcp.window=5", "vlan.prio=1", "ip6.fl=0"])
    for length in range(len(frame)):
        (done,) = rewritten(field, [frame[:length]])  # two bytes more are in the buffer
        assert len(done) == length


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named(text):
    with pytest.raises(Usage) as raised:
        read_rewrite([text])
    assert f"--set {text}: " in str(raised.value)
    assert WRONG[text] in str(raised.value)


def test_a_field_is_set_once():
    with pytest.raises(Usage, match=r"--set ip4\.dst=2\.2\.2\.2: ip4\.dst is set twice"):
        read_rewrite(["ip.dst=1.1.1.1", "ip4.dst=2.2.2.2"])
