# SPDX-License-Identifier: Apache-2.0
"""Filters in great numbers, packets for them, and libpcap's own interpreter as the judge."""

from __future__ import annotations

import ctypes
import mmap
import random
from functools import cache

from scapy.all import (
    ARP,
    GRE,
    ICMP,
    IP,
    LLC,
    SCTP,
    SNAP,
    STP,
    TCP,
    UDP,
    Dot1AD,
    Dot1Q,
    Dot3,
    Ether,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PPPoE,
    Raw,
)
from scapy.contrib.mpls import MPLS

from uspnet.fastpath import ffi, lib
from uspnet.packets.filter import Step, compile_filter

_PROTOCOLS = (
    *("ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "igrp", "pim"),
    *("ah", "esp", "vrrp", "carp", "atalk", "aarp", "decnet", "iso", "stp", "ipx", "netbeui"),
    *("lat", "moprc", "mopdl", "sca", "mpls", "vlan", "pppoes", "pppoed", "ether multicast"),
)
_PORTS = tuple(
    f"{kind}{way}{what}"
    for kind in ("", "tcp ", "udp ", "sctp ")
    for way in ("", "src ", "dst ", "src or dst ", "src and dst ")
    for what in ("port 53", "portrange 50-90")
)
_ADDRESSES = tuple(
    f"{way}{what}"
    for way in ("", "src ", "dst ", "src or dst ", "src and dst ")
    for what in (
        *("host 10.1.2.3", "net 10.0.0.0/8", "net 192.168.0", "host 2001:db8::1"),
        *("net 2001:db8::/32", "net 10.1.2.0/23"),
    )
)
_ETHERNET = tuple(
    f"ether {way}{what}"
    for way in ("", "src ", "dst ")
    for what in ("host 2:0:0:0:0:1", "host ff:ff:ff:ff:ff:ff")
)
_OTHERS = """
ether broadcast; ip broadcast or ip multicast; ip6 multicast; broadcast; multicast
arp host 10.0.0.1; arp src net 10.0.0.0/8; arp net 10; rarp host 10.0.0.1
ip host 10.1.2.3; ip src 10.1.2.3; ip6 host 2001:db8::1; ip6 dst net 2001:db8::/33
ether proto 0x88b5; ether proto \\ip; ether proto 0x42; ether proto 1500; llc; not llc
ip proto 17; ip proto \\icmp; ip6 proto 58; ip6 proto 0; proto 6; proto 132
tcp or udp; tcp and not udp; not tcp; not (tcp or udp); not (not (ip and not tcp))
tcp port 80 and host 10.1.2.3; port 80 or port 443 or port 22 or net 10.0.0.0/30
not (tcp port 22 or arp or icmp6 or udp port 67 or udp port 68)
host 10.1.2.3 and tcp dst portrange 1024-65535; src net 10.0.0.0/8 and not dst net 10.0.0.0/8
vlan 7; vlan 7 and icmp; vlan and vlan; vlan 7 and vlan 8 and udp; not vlan; vlan and ip6
vlan and tcp port 80 or arp; mpls 100; mpls and ip; mpls and mpls and udp port 53; pppoes 17
pppoes and ip; pppoes and tcp port 80; geneve; geneve 5 and ip
less 60; greater 60; len > 50; len <= 100 and len != 64; len - 14 = ip[2:2]; len = 0
len > 50 and len < 60 or len = 118; ip[2:2] = len - 14; len * 2 > 150; len % 4 = 2; len & 1 != 0
tcp[tcpflags] & tcp-syn != 0; tcp[tcpflags] = tcp-syn; tcp[tcpflags] & (tcp-rst|tcp-fin) != 0
tcp[13] & 18 = 2; tcp[0:2] = 80; tcp[12] >> 4 > 5; tcp[(tcp[12] & 0xf0) >> 2] = 0
tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420; tcp[tcp[12] / 16 * 4 : 2] != 0
tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
ip[2:2] - ((ip[0]&0xf)<<2) > 100; ip[8] < 5; ip[6:2] & 0x1fff != 0; ip[6] & 0x40 != 0
ip[0] & 0xf != 5; ip[0] = 0x45; ip[9] = 17 and ip[20:2] = 53; ip[12:4] = 0x0a010203
ip[-1] = 0; ip[ip[1] : 4] = 1; ip[ip[0] & 15 * 4 : 2] > 100; ip[ip[2:2] - 1] = 0x78
ether[0] & 1 != 0; ether[0] * 2 % 7 = 4; ether[12:2] > 1500; ether[60] = 0; ether[14 + 20] = 0
ether[len - 1] = 0x78; ether[len - 4 : 4] = 0x78787878; ether[len] = 1; ether[65535] = 0
ether[ether[0]] = ether[ether[1]]; ether[0:4] = ether[6:4]; ether[0] = ether[1]
ether[0] = ether[1] and ether[20] = ether[59]; ether[12:2] = 0x0800 and ether[23] = 6
ip[2:2] / 7 > 5; ip[2:2] * 3 < 200; ip[2:2] % 11 = 3; (ip[0] ^ 0xff) | 1 > 3
ip[0] >> ip[1] = 69; ip[0] << ip[8] = 0; ip[0] >> ip[8] = 0; ip[2:2] << 4 = 928; -ip[0] + 70 = 1
len / (ip[1] + len - len) = 1; len % ip[1] = 0; ip[4:2] - ip[2:2] > 0x80000000; -len > 1
ip[0] + ip[1] - ip[2] * ip[3] / (ip[8] | 1) % 13 & 7 ^ 2 > 1; ip[8] << 31 > 0; 5 > 3 and ip
udp[4:2] > 20; udp[0:2] = udp[2:2]; udp[8] = 0x78; udp[8:4] = 0x78787878; udp[100] > 0
icmp[icmptype] = icmp-echo; icmp[0] = 8 or icmp[0] = 0; icmp[icmpcode] != 0; icmp6[0] = 128
icmp6[icmp6type] = icmp6-neighborsolicit; ip6[6] = 0; ip6[40] = 58; ip6[4:2] > 20
sctp[0:2] = 7; ip6 protochain 6; ip6 protochain 17; ip protochain 17; protochain 58
ip6 protochain 58 and len > 60; not ip6 protochain 6; ip6[0] & 0xf0 = 0x60; arp[6:2] = 1
arp[7] = 2; arp[24:4] = 0x0a000001
ip and (udp or tcp) and (port 53 or port 80) and not host 10.1.2.4
inbound or ip
"""


def _compiles(text: str) -> bool:
    try:
        compile_filter(text)
    except Exception:  # noqa: BLE001 - older versions of libpcap know less
        return False
    return True


@cache
def filters() -> tuple[str, ...]:
    """Return filters that this machine's libpcap compiles."""
    given = [text.strip() for line in _OTHERS.splitlines() for text in line.split(";")]
    named = [*_PROTOCOLS, *_PORTS, *_ADDRESSES, *_ETHERNET, *filter(None, given)]
    return tuple(text for text in dict.fromkeys(named) if _compiles(text))


def _ip(*layers, **fields):
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(**fields) / layers[0]


THERE = {"src": "10.1.2.3", "dst": "192.168.0.1"}
BACK = {"src": THERE["dst"], "dst": THERE["src"]}
SIX = IPv6(src="2001:db8::1", dst="2001:db8:8000::2")
SYN, GET = TCP(sport=1024, dport=80, flags="S"), TCP(sport=5000, dport=80, flags="PA") / "GET /"
INSIDE = IP(**THERE) / UDP(sport=53, dport=53) / ("x" * 20)
BROADCAST = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")


def _over_ip():
    return [
        Ether() / ARP(pdst="10.0.0.1"),
        BROADCAST / ARP(op=2, psrc="10.0.0.1", pdst="10.0.0.9"),
        Ether(type=0x8035) / ARP(op=3, psrc="10.0.0.1"),
        _ip(UDP(sport=53, dport=1024) / ("x" * 30), **THERE),
        _ip(UDP(sport=67, dport=68) / ("y" * 200), src="0.0.0.0", dst="255.255.255.255"),
        _ip(UDP(sport=60, dport=70), tos=8, **THERE),
        _ip(SYN, options=b"\1" * 8, **BACK),
        _ip(GET, flags="DF", **THERE),
        _ip(TCP(sport=80, dport=443, options=[("NOP", None)] * 8) / ("z" * 9), **BACK),
        _ip(TCP(sport=22, dport=22, flags="RA"), ttl=3, **THERE),
        _ip(Raw("y" * 20), dst="10.0.0.9", frag=100, proto=17),
        _ip(ICMP(), ttl=1, **THERE),
        _ip(ICMP(type=3, code=1) / IP(**BACK) / UDP(), **THERE),
        _ip(SCTP(sport=7, dport=53), **THERE),
        _ip(GRE() / INSIDE, **THERE),
        *(_ip(Raw("p" * 24), proto=n, **BACK) for n in (2, 9, 50, 51, 103, 112)),
        _ip(Raw(bytes([17, 4, 0, 0, *bytes(8)]) + bytes(UDP(dport=53))), proto=51, **THERE),
        Ether(dst="01:00:5e:00:00:fb") / IP(dst="224.0.0.251") / UDP(sport=5353, dport=5353),
    ]


def _others():
    return [
        Ether() / Dot1Q(vlan=7) / IP(ttl=1) / ICMP(),
        Ether() / Dot1Q(vlan=7) / Dot1Q(vlan=8) / INSIDE,
        Ether() / Dot1AD(vlan=7) / Dot1Q(vlan=9) / SIX / TCP(dport=80),
        Ether() / Dot1Q(vlan=3) / IP(**THERE) / SYN,
        Ether() / SIX / TCP(sport=443),
        Ether() / SIX / UDP(dport=53) / ("x" * 11),
        Ether() / SIX / ICMPv6EchoRequest(),
        Ether(dst="33:33:00:00:00:01") / IPv6(dst="ff02::1") / ICMPv6ND_NS(),
        Ether() / SIX / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(dport=80),
        Ether() / SIX / IPv6ExtHdrRouting() / IPv6ExtHdrFragment(m=1) / UDP(sport=53),
        Ether() / SIX / IPv6ExtHdrFragment(offset=10) / ("f" * 20),
        Ether() / MPLS(label=100, s=1) / INSIDE,
        Ether() / MPLS(label=100, s=0) / MPLS(label=7, s=1) / INSIDE,
        Ether() / PPPoE(sessionid=17) / Raw(b"\0\x21") / IP(**THERE) / SYN,
        Ether(type=0x8863) / Raw(bytes(20)),
        _ip(UDP(sport=9, dport=6081) / Raw(bytes([0, 0, 8, 0, 0, 0, 5, 0])) / INSIDE, **THERE),
        Dot3() / LLC() / STP(),
        Dot3() / LLC() / SNAP(code=0x809B) / Raw("a" * 20),
        Dot3() / LLC(dsap=0xFE, ssap=0xFE) / Raw("o" * 20),
        Dot3() / LLC(dsap=0xE0, ssap=0xE0) / Raw("i" * 20),
        *(Ether(type=n) / Raw("t" * 20) for n in (0x88B5, 0x8137, 0x80F3, 0x6003, 0x6004, 0x6001)),
    ]


@cache
def frames() -> tuple[bytes, ...]:
    """Return frames of the kinds that filters look for."""
    return tuple(bytes(each) for each in (*_over_ip(), *_others()))


class Judge:
    """libpcap's interpreter of a program."""

    def __init__(self, steps) -> None:
        self._steps = ffi.new("struct filter_step[]", list(steps))
        self._run = ctypes.CDLL("libpcap.so.0.8").bpf_filter
        self._run.restype = ctypes.c_uint
        self._run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self._at = int(ffi.cast("uintptr_t", self._steps))

    def __call__(self, address: int, length: int, wire: int) -> bool:
        """Return whether the program accepts the bytes at an address."""
        return bool(self._run(self._at, address, wire, length))


class Edge:
    """Memory for packets, each of which ends where nothing can be read any more."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 8 * mmap.PAGESIZE)
        self._start = ffi.cast("uint8_t *", ffi.from_buffer(self._map))
        self._end = 4 * mmap.PAGESIZE
        lib.memory_hide(self._start + self._end, self._end)

    def put(self, data: bytes):
        """Place a packet. Return its pointer for C, and its address."""
        start = self._start + self._end - len(data)
        ffi.memmove(start, data, len(data))
        return start, int(ffi.cast("uintptr_t", start))


def native(code):
    """Return machine code as a function that can be called."""
    return ffi.cast("uint32_t(*)(const uint8_t *, uint32_t, uint32_t)", code)


COMPUTE = (0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xA0)
LOADS = (0x00, 0x01, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x61, 0x80, 0x81, 0xB1)
VALUES = (0, 1, 2, 14, 31, 59, 60, 255, 0x7FFFFFFB, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _value(chance: random.Random) -> int:
    return chance.randrange(1, 70) if chance.random() < 0.8 else chance.choice(VALUES)


def drawn(chance: random.Random) -> list[Step]:
    """Return a valid program of any instructions but those that jump back, by chance; libpcap's
    interpreter does not set words of memory to 0, nor does it define shifts by more than 31.
    """
    n = chance.randrange(2, 30)
    steps: list[Step] = []
    for at in range(n):
        kind, value = chance.randrange(6), _value(chance)
        if kind <= 1:
            code = chance.choice(LOADS)
            steps.append(Step(code, 0, 0, value % 16 if code in {0x60, 0x61} else value))
        elif kind == 2:
            op, source = chance.choice(COMPUTE), chance.choice([0, 8])
            source = 0 if op == 0x80 else source
            value = value % 32 if op in {0x60, 0x70} else value or 1
            steps.append(Step(4 | op | source, 0, 0, value))
        elif kind == 3 and at < n - 1:
            most = min(n - at - 1, 255)
            code = 5 | chance.choice([0, 0x10, 0x20, 0x30, 0x40]) | chance.choice([0, 8])
            jumps = (chance.randrange(most), chance.randrange(most))
            steps.append(Step(5, 0, 0, jumps[0]) if code in {5, 13} else Step(code, *jumps, value))
        elif kind == 4:
            steps.append(Step(chance.choice([2, 3]), 0, 0, value % 16))
        else:
            steps.append(
                chance.choice([Step(7, 0, 0, 0), Step(0x87, 0, 0, 0), Step(6, 0, 0, value)])
            )
    words = [Step(2, 0, 0, word) for word in range(16)]
    return [*words, *steps, Step(0x16, 0, 0, 0)]
