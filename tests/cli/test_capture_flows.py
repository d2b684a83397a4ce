# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture --first` on captures that are all unlike: flows are what tshark says they are."""

from __future__ import annotations

import random
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPerror6,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from tests.cli.test_capture_less import first, sessions
from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.mixture import MACS
from tests.support.tiers import by_tier

SEEDS = range(by_tier(2, 50))
EACH = ("-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE")  # packet by itself
EXTENSIONS = {"0": "ipv6.hopopts.nxt", "44": "ipv6.fraghdr.nxt", "60": "ipv6.dstopts.nxt"}
STREAMS = {"6": "tcp.stream", "17": "udp.stream"}
FIELDS = (
    *("eth.src", "eth.dst", "eth.type", "vlan.etype", *STREAMS.values()),
    *("ip.src", "ip.dst", "ip.proto", "ip.flags.mf", "ip.frag_offset"),
    *("ipv6.src", "ipv6.dst", "ipv6.nxt", *EXTENSIONS.values()),
    *("sctp.srcport", "sctp.dstport"),
)
TAGS = [
    Ether(**MACS),
    Ether(**MACS) / Dot1Q(vlan=7),
    Ether(**MACS, type=0x88A8) / Dot1Q(vlan=8) / Dot1Q(vlan=9),
]


# -- packets ---------------------------------------------------------------------------------------


def headers(ip, x, y):
    """All that is behind a packet's addresses, each as one or more packets."""
    udp, later = UDP(sport=x, dport=y), Raw(bytes(40))
    yield [ip / TCP(sport=x, dport=y, flags="A")]
    yield [ip / udp]
    yield [ip / SCTP(sport=x, dport=y)]
    if isinstance(ip, IP):
        yield [ip / ICMP(), ip / ICMP(type=0)]
        quoted = IPerror(src=ip.dst, dst=ip.src) / UDPerror(sport=y, dport=x)
        yield [ip / ICMP(type=3, code=3) / quoted]
        yield [IP(src=ip.src, dst=ip.dst, options=b"\1" * 12) / udp]
        yield [IP(src=ip.src, dst=ip.dst, proto=253) / later]
        yield [IP(src=ip.src, dst=ip.dst, flags="MF") / udp / later,
               IP(src=ip.src, dst=ip.dst, frag=6, proto=17) / later]  # fmt: skip
        return
    yield [ip / ICMPv6EchoRequest()]
    quoted = IPerror6(src=ip.dst, dst=ip.src) / UDPerror(sport=y, dport=x)
    yield [ip / ICMPv6DestUnreach(code=4) / quoted]
    yield [ip / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / udp]
    yield [IPv6(src=ip.src, dst=ip.dst, nh=253) / later]
    yield [ip / IPv6ExtHdrFragment(m=1) / udp / later,
           ip / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(nh=17, offset=6) / later]  # fmt: skip
    yield [ip / IPv6ExtHdrFragment() / udp]  # a datagram in a single part


def one_flow(dice, hosts, ports):
    """The frames of a flow, in both directions."""
    ends, (x, y), tags = dice.sample(hosts, 2), dice.choices(ports, k=2), dice.choice(TAGS)
    six, which = dice.random() < 0.4, dice.random()
    for (a, b), (sport, dport) in ((ends, (x, y)), (ends[::-1], (y, x))):
        ip = IPv6(src=f"fd00::{a}", dst=f"fd00::{b}") if six else IP(
            src=f"10.0.0.{a}", dst=f"10.0.0.{b}")  # fmt: skip
        known = [*headers(ip, sport, dport)]
        yield from (bytes(tags / packet) for packet in known[int(which * len(known))])


def shape(dice):
    """The frames of a capture."""
    hosts = dice.sample(range(1, 250), dice.randint(2, 9))
    ports = dice.sample(range(1, 65536), dice.randint(1, 6))
    flows = [[*one_flow(dice, hosts, ports)] for _ in range(dice.randint(1, 40))]
    flows.append([bytes(dice.choice(TAGS) / ARP(pdst="10.0.0.1"))])
    flows.append([bytes(Ether(**MACS, type=0x88B5)) + bytes(46)])
    chosen = [dice.choice(dice.choice(flows)) for _ in range(dice.randint(50, 600))]
    frames = [frame + bytes(dice.choice([0, 0, 5, 100, 1300])) for frame in chosen]
    connected = [bytes(dice.choice(TAGS) / each) for each in sessions()]
    at = dice.randrange(len(frames))
    return frames[:at] + connected + frames[at:]


# -- what tshark says of them ----------------------------------------------------------------------


def flow_of(fields):
    """The flow of a packet, by tshark's conversation or what it says of addresses and ports."""
    kind, part = (fields["eth.type"] + fields["vlan.etype"])[-1], False
    if kind == "0x0800":
        ends, proto = [fields["ip.src"][0], fields["ip.dst"][0]], fields["ip.proto"][0]
        part = fields["ip.flags.mf"][0] in {"1", "True"} or fields["ip.frag_offset"][0] != "0"
    elif kind == "0x86dd":
        ends, proto = [fields["ipv6.src"][0], fields["ipv6.dst"][0]], fields["ipv6.nxt"][0]
        while proto in EXTENSIONS:
            part = part or proto == "44"
            proto = fields[EXTENSIONS[proto]][0]
    else:
        return (kind, *sorted([fields["eth.src"][0], fields["eth.dst"][0]]))
    if proto in STREAMS and not part:
        return (proto, fields[STREAMS[proto]][0])
    if proto == "132":
        ends = [*zip(ends, [fields["sctp.srcport"][0], fields["sctp.dstport"][0]], strict=True)]
    return (kind, proto, *sorted(ends))


def flows_of(path):
    """The flow of each packet of a file."""
    words = [word for name in FIELDS for word in ("-e", name)]
    command = ["tshark", "-r", path, *EACH, "-Tfields", "-Eoccurrence=a", "-Eaggregator=,", *words]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in told.splitlines():
        values = [value.split(",") if value else [] for value in line.split("\t")]
        yield flow_of(dict(zip(FIELDS, values, strict=True)))


@pytest.mark.parametrize("seed", SEEDS)
def test_flows_are_tsharks_in_captures_of_every_shape(uspnet, tmp_path, seed):
    dice = random.Random(seed)
    frames, path = shape(dice), tmp_path / "in.pcap"
    write_pcap(path, frames)
    flows, limit = [*flows_of(path)], dice.randint(1, 9)
    by_bytes = dice.random() < 0.5
    asked = f"{limit}{'00B' if by_bytes else ''}/flow,idle=0"
    words = ["-F", "pcap", "-w", tmp_path / "x", "--first", asked, "--json"]
    found = answer(uspnet("capture", f"pcap:{path}", *words, "--burst", limit).stdout)
    most, size = (100 * limit, len) if by_bytes else (limit, lambda _: 1)
    assert pcap_frames(tmp_path / "x") == first(frames, flows, most, size)
    assert found["first"]["flows"] == len(set(flows))
