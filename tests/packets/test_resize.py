# SPDX-License-Identifier: Apache-2.0
"""Frames of many sizes are those that Scapy makes of each, where they follow from a few."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.support.tiers import by_tier
from uspnet.packets.craft import craft
from uspnet.packets.frames import SIGNATURE_BYTES
from uspnet.packets.resize import NothingFollows, probes, resize

STACKS = [
    "Ether()/IP(dst='10.0.0.9')/UDP(dport=9)",
    "Ether()/IP(options=b'\\x01\\x01\\x01\\x00')/TCP(flags='S')/('x'*19)",
    "Ether()/IPv6()/UDP()/('abc')",
    "Ether()/IPv6()/IPv6ExtHdrHopByHop()/TCP()",
    "Ether()/Dot1Q(vlan=5)/IP()/ICMP(id=3)/('ping')",
    "Ether()/IPv6()/ICMPv6EchoRequest(id=7)",
    "Ether()/MPLS(label=16,s=1)/IP()/UDP(chksum=0)",
    "Ether()/IP()/GRE(chksum_present=1)/IP()/UDP()/('y'*3)",
    "Ether()/IP()/UDP(dport=4789)/VXLAN(vni=5)/Ether(src='02:00:00:00:00:03')/IP()/TCP()/'z'",
    "Ether()/IP(proto=89)/('x'*40)",
    "Ether()/ARP()/('w'*9)",
    "Dot3()/LLC()/('x'*20)",
]
LOW, HIGH = 140, 900


@pytest.mark.parametrize("stack", STACKS)
def test_a_size_follows_as_scapy_makes_it(stack):
    chance = random.Random(stack)
    sizes = range(LOW, HIGH + 1)
    found = resize([craft(stack, size)[0] for size in probes(sizes)], sizes)
    assert [len(each.frame) for each in found] == list(sizes)
    for at in (0, 1, *chance.sample(range(len(found)), by_tier(5, 20, 60))):
        wanted, signature = craft(stack, sizes[at])[0], chance.randbytes(SIGNATURE_BYTES)
        assert found[at].frame == wanted.frame
        assert found[at].payload == wanted.payload
        for place in (LOW - SIGNATURE_BYTES, LOW - SIGNATURE_BYTES - 1):
            assert found[at].rebuild(place, signature) == wanted.rebuild(place, signature)


def test_few_sizes_are_all_made():
    assert probes(range(60, 70)) == []
    assert probes([60] * 7 + [566] * 4 + [1514] * 2) == [], "however often each of them is sent"


def test_what_does_not_follow_is_told():
    """A CRC, and a header that has something else in one size."""
    sizes = range(LOW, HIGH)
    with pytest.raises(NothingFollows):
        resize([craft("Ether()/IP()/SCTP()/('x'*20)", size)[0] for size in probes(sizes)], sizes)
    made = [craft(STACKS[0], size)[0] for size in probes(sizes)]
    other = made[-1].frame[:22] + b"!" + made[-1].frame[23:]
    with pytest.raises(NothingFollows):
        resize([*made[:-1], replace(made[-1], frame=other)], sizes)
