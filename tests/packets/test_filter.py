# SPDX-License-Identifier: Apache-2.0
"""Filters accept what libpcap's own interpreter accepts, of whole packets and of cut ones."""

from __future__ import annotations

import ctypes
import random
import re

import pytest
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import ffi, lib
from uspnet.jobs import doctor
from uspnet.packets.filter import Filter, Step, choose_by, compile_filter, libpcap

PACKETS = [
    Ether() / ARP(pdst="10.0.0.1"),
    Ether() / IP(src="10.1.2.3", dst="192.168.0.1") / UDP(sport=53, dport=1024) / ("x" * 30),
    Ether() / IP(src="192.168.0.1", dst="10.1.2.3", options=b"\1" * 8) / TCP(dport=80, flags="S"),
    Ether() / IP(dst="10.0.0.9", frag=100) / ("y" * 20),
    Ether() / Dot1Q(vlan=7) / IP(ttl=1) / ICMP(),
    Ether(dst="ff:ff:ff:ff:ff:ff") / IPv6(src="2001:db8::1") / TCP(sport=443),
    Ether() / IPv6() / UDP(dport=53),
]
FRAMES = [bytes(packet) for packet in PACKETS]
FILTERS = [
    "ip", "arp or ip6", "not ip", "tcp port 80", "udp port 53", "port 53 or port 443",
    "src net 10.0.0.0/8", "dst host 10.1.2.3", "vlan 7 and icmp", "vlan", "greater 70", "less 60",
    "tcp[tcpflags] & tcp-syn != 0", "ip[8] < 5", "ip[6:2] & 0x1fff != 0", "ether broadcast",
    "ip6 src net 2001:db8::/32", "len > 50 and len - 14 = ip[2:2]", "portrange 50-90",
    "ether[0] * 2 % 7 = 4", "ip[2:2] / 7 > 5", "(ip[0] ^ 0xff) | 1 > 3", "ip[0] >> ip[1] = 69",
    "ip[2:2] << 4 = 928", "len / (ip[1] + len - len) = 1", "-ip[0] + 70 = 1", "ip proto 17",
    "ip6 protochain 6",
    "icmp[icmptype] = icmp-echo", "tcp[(tcp[12] & 0xf0) >> 2] = 0", "ip[ip[1] : 4] = 1",
]  # fmt: skip
CASES = [(frame[:n], len(frame)) for frame in FRAMES for n in range(len(frame) + 1)]


class Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_uint), ("steps", ctypes.c_void_p))


def judged(program, data, wire):
    judge = ctypes.CDLL("libpcap.so.0.8").bpf_filter
    judge.restype = ctypes.c_uint
    return bool(judge(ctypes.c_void_p(program), data, wire, len(data)))


def verdicts(made, cases):
    c = made.make()
    steps = ffi.new("struct filter_step[]", made.steps)  # as large as it is, for the judge
    program = int(ffi.cast("uintptr_t", steps))
    found = [bool(lib.filter_accepts(c, data, len(data), wire)) for data, wire in cases]
    return found, [judged(program, data, wire) for data, wire in cases]


@pytest.mark.parametrize("text", FILTERS)
def test_filters_accept_what_libpcap_does(text):
    found, wanted = verdicts(compile_filter(text), CASES)
    assert found == wanted


def test_filters_tell_packets_apart():
    found = [sum(verdicts(compile_filter(text), CASES)[0]) for text in FILTERS]
    assert sum(0 < each < len(CASES) for each in found) > len(FILTERS) * 0.8


ALU = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xA0]
LOADS = [0x00, 0x01, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x61, 0x80, 0x81, 0xB1]


def drawn(chance):
    """A valid program of any instructions, by chance."""
    n = chance.randrange(2, 30)
    steps = []
    for at in range(n):
        kind, value = chance.randrange(5), chance.choice([chance.randrange(1, 70), 2**32 - 1])
        if kind == 0:
            code = chance.choice(LOADS)
            value = value % 16 if code in {0x60, 0x61} else value
            steps.append(Step(code, 0, 0, value))
        elif kind == 1:
            op, source = chance.choice(ALU), chance.choice([0, 8])
            if op in {0x60, 0x70, 0x80}:  # shifts by 32 or more are undefined; NEG has no operand
                source, value = 0, value % 32
            steps.append(Step(4 | op | source, 0, 0, value))
        elif kind == 2 and at < n - 1:
            most = min(n - at - 1, 255)
            code = 5 | chance.choice([0x10, 0x20, 0x30, 0x40]) | chance.choice([0, 8])
            steps.append(Step(code, chance.randrange(most), chance.randrange(most), value))
        elif kind == 3:
            steps.append(Step(chance.choice([2, 3]), 0, 0, value % 16))
        else:
            steps.append(Step(chance.choice([7, 0x87]), 0, 0, 0))
    words = [Step(2, 0, 0, at) for at in range(16)]  # which the judge leaves as they were
    return Filter("drawn", [*words, *steps, Step(0x16, 0, 0, 0)])


def test_any_program_does_what_libpcap_makes_of_it():
    chance = random.Random(7)
    accepted = 0
    for _ in range(3000):
        cases = chance.sample(CASES, 5)
        made = drawn(chance)
        found, wanted = verdicts(made, cases)
        assert found == wanted, made
        accepted += sum(found)
    assert 1000 < accepted < 14000


def test_no_program_reads_behind_a_packet_or_runs_on():
    chance = random.Random(8)
    for _ in range(2000):
        steps = [
            Step(chance.randrange(65536), chance.randrange(256), 255, chance.randrange(2**32))
            for _ in range(chance.randrange(1, 50))
        ]
        data = ffi.new("uint8_t[]", 20)
        assert lib.filter_accepts(Filter("", steps).make(), data, 20, 20) in {0, 1}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", Usage, "the filter is empty"),
        ("tcp port", Usage, "'tcp port': can't parse filter"),
        ("prot tcp", Usage, "'prot tcp'"),
        ("ip[", Usage, "syntax error"),
        ("port 70000", Usage, "70000"),
        ("a\0b", Usage, "NUL byte"),
        ("ip and arp", Usage, "rejects all packets"),
        ("inbound", Usage, "only the kernel knows direction"),
        ("udp or ifindex 3", Usage, "only the kernel knows direction"),
    ],
)
def test_wrong_filters_are_refused(text, kind, message):
    with pytest.raises(kind, match=message):
        choose_by(text)


def test_what_looks_like_them_is_not_refused():
    for text in ("vlan 5", "vlan and not pppoes", "ether[65535] = 1", "len > 4294963200"):
        choose_by(text)
    choose_by("inbound", 113)  # Linux cooked captures say it in their header


def test_doctor_names_libpcap_and_its_package(monkeypatch):
    assert re.search(r"libpcap version 1\.\d+", doctor.filters().found)
    monkeypatch.setattr(libpcap, "NAMES", ("libpcap.so.none",))
    row = doctor.filters()
    assert (row.state, row.mend) == ("note", "apt-get install libpcap0.8")
    with pytest.raises(NotSupported, match="libpcap is needed") as caught:
        compile_filter("ip")
    assert caught.value.hint == row.mend
