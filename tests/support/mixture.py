# SPDX-License-Identifier: Apache-2.0
"""Packets of a few flows, of every kind whose addresses and ports must be found."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
START_NS = 1_700_000_000_123_456_789


def mixture(dice, count):
    """Frames of a few flows in both directions, of every kind whose ports must be found."""
    kinds = []
    for n in range(12):
        a, b, sport, dport = f"10.0.0.{n}", f"10.1.0.{n % 3}", 1000 + n, 80 + n
        for src, dst, x, y in ((a, b, sport, dport), (b, a, dport, sport)):
            v6 = {"src": f"fd00::{src.split('.')[1]}:{n}", "dst": f"fd00::{dst.split('.')[1]}:{n}"}
            kinds += [
                Ether(**MACS) / IP(src=src, dst=dst) / TCP(sport=x, dport=y, flags="A"),
                Ether(**MACS) / Dot1Q(vlan=n) / IP(src=src, dst=dst) / UDP(sport=x, dport=y),
                Ether(**MACS) / Dot1Q(type=0x8100) / Dot1Q() / IP(src=src, dst=dst) / ICMP(),
                Ether(**MACS) / IPv6(**v6) / TCP(sport=x, dport=y, flags="A"),
                Ether(**MACS) / IPv6(**v6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
                / UDP(sport=x, dport=y),
                Ether(**MACS) / IP(src=src, dst=dst, options=b"\1" * 8) / SCTP(sport=x, dport=y),
                Ether(**MACS) / ARP(psrc=src, pdst=dst),
            ]  # fmt: skip
    made = [bytes(kind) for kind in kinds]
    return [dice.choice(made) + bytes(dice.choice([0, 5, 100, 700, 1300])) for _ in range(count)]


def times(dice, count):
    """Times with bursts, pauses, and some that are earlier than the one before."""
    now, made = START_NS, []
    for _ in range(count):
        now += dice.choice([0, 700, 5_000, 9_999, 10_000, 10_001, 60_000, 3_000_000, 40_000_000])
        made.append(now - dice.choice([0, 0, 0, 20_000]))
    return made
