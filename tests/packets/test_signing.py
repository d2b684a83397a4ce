# SPDX-License-Identifier: Apache-2.0
"""A signature in the payload leaves every checksum right, as Scapy makes it and tshark reads it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.identity import ran
from tests.support.waiting import scaled
from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.craft import craft
from uspnet.packets.frames import SIGNATURE_BYTES
from uspnet.packets.signing import NO_CHECK, _signed, follow
from uspnet.ports.registry import make_port

IPV4, IPV6 = "IP(src='1.2.3.4',dst='1.2.3.5')", "IPv6(src='2001:db8::1',dst='2001:db8::2')"
INNER = "IP(src='2.2.2.2',dst='2.2.2.3')"
OPTIONS = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE",
           "sctp.checksum:CRC 32c"]  # fmt: skip
GOOD, NONE = "1", "3"  # tshark's words for a checksum's state

# The layers behind Ether(), and tshark's field that says whether the innermost checksum is right.
FOLLOWED = {
    f"{IPV4}/UDP()/('x'*18)": "udp",
    f"{IPV4}/UDP()/('x'*19)": "udp",
    f"{IPV4}/TCP(options=[('MSS',1460)])/('x'*23)": "tcp",
    f"{IPV4}/ICMP()/('x'*18)": "icmp",
    f"{IPV6}/UDP()/('x'*21)": "udp",
    f"{IPV6}/TCP()/('x'*18)": "tcp",
    f"{IPV6}/ICMPv6EchoRequest()/('x'*31)": "icmpv6",
    f"{IPV4}/SCTP()/SCTPChunkData(data='x'*20)": "sctp",
    f"{IPV6}/SCTP()/SCTPChunkData(data='x'*40)": "sctp",
    f"Dot1Q(vlan=5)/{IPV4}/UDP()/('x'*18)": "udp",
    f"Dot1AD(vlan=5)/Dot1Q(vlan=6)/{IPV6}/TCP()/('x'*18)": "tcp",
    f"MPLS(label=16,s=1,ttl=9)/{IPV4}/UDP()/('x'*18)": "udp",
    f"{IPV6}/IPv6ExtHdrHopByHop()/IPv6ExtHdrDestOpt()/UDP()/('x'*18)": "udp",
    f"{IPV6}/IPv6ExtHdrRouting(addresses=['2001:db8::3'])/TCP()/('x'*18)": "tcp",
    f"{IPV4}/UDP()/VXLAN(vni=7)/Ether()/{INNER}/TCP()/('x'*18)": "tcp",
    f"{IPV4}/UDP()/VXLAN(vni=7)/Ether()/{INNER}/UDP(chksum=0)/('x'*18)": "udp",
    f"{IPV4}/UDP(chksum=0)/VXLAN(vni=7)/Ether()/{INNER}/UDP()/('x'*18)": "udp",
    f"{IPV6}/UDP()/GTP_U_Header(teid=5)/{INNER}/UDP()/('x'*19)": "udp",
    f"{IPV4}/GRE(chksum_present=1)/{INNER}/UDP()/('x'*18)": "gre",
    f"{IPV4}/{INNER}/ICMP()/('x'*18)": "icmp",
    f"{IPV4}/UDP(dport=[1,2,3],sport=(1,9))/('x'*18)": "udp",
    f"{IPV4}/TCP(options=[('NOP',None)],dport=(1,5))/('x'*18)": "tcp",
}


@pytest.mark.parametrize("text", FOLLOWED)
def test_tshark_finds_every_checksum_right(needs, tmp_path, text):
    needs("tshark")
    file = tmp_path / "o.pcapng"
    traffic = Traffic(craft(f"Ether()/{text}"), sequence=True)
    with GenerateJob(make_port(f"pcap:out={file}"), Limits(count=40), traffic) as job:
        assert ran(job.run()).sent == 40
    read = ["tshark", "-r", file, "-T", "fields"]
    read += [word for option in OPTIONS for word in ("-o", option)]
    for name in sorted({"ip", "gre", "udp", FOLLOWED[text]}):
        read += ["-e", f"{name}.checksum.status"]
    out = subprocess.run(
        read, capture_output=True, text=True, check=True, timeout=scaled(120)
    ).stdout
    states = {state for line in out.splitlines() for state in line.replace(",", "\t").split("\t")}
    assert len(out.splitlines()) == 40
    assert GOOD in states
    assert states <= {"", GOOD, NONE}


def made(text):
    return craft(f"Ether()/{text}")[0]


@pytest.mark.parametrize("text", list(FOLLOWED))
def test_each_packet_is_what_scapy_makes_of_it(text):
    template = made(text)
    at = len(template.frame) - SIGNATURE_BYTES
    check = follow(template.rebuild, at)
    assert check.kind != lib.CHECK_NONE
    frame = template.rebuild(at, bytes(SIGNATURE_BYTES))

    @settings(max_examples=20)
    @given(st.binary(min_size=SIGNATURE_BYTES, max_size=SIGNATURE_BYTES).filter(any))
    def compare(signature):
        assert _signed(check, frame, at, signature) == template.rebuild(at, signature)

    compare()


UNCOVERED = ["UDP(chksum=0)/('x'*18)", "('x'*18)", "UDP()/Padding('x'*18)"]


@pytest.mark.parametrize("text", [f"{IPV4}/{each}" for each in UNCOVERED])
def test_where_no_checksum_covers_it_none_follows(text):
    template = made(text)
    assert follow(template.rebuild, len(template.frame) - SIGNATURE_BYTES) == NO_CHECK


def test_what_no_rule_explains_is_refused():
    sctp = f"{IPV4}/UDP()/VXLAN(vni=7)/Ether()/{INNER}/SCTP()/SCTPChunkData(data='x'*20)"
    with pytest.raises(Usage, match="checksum") as caught:
        follow(made(sctp).rebuild, 100)
    assert "--no-sequence" in caught.value.hint


def test_a_similar_frame_needs_no_search():
    first, second = craft(f"Ether()/{IPV4}/UDP(dport=[1,2])/('x'*30)")
    tried = []

    def rebuild(at, data):
        tried.append(data)
        return second.rebuild(at, data)

    check = follow(first.rebuild, 54)
    assert follow(rebuild, 54, check) == follow(second.rebuild, 54)
    assert len(tried) == 3


def test_a_checksum_at_the_same_place_may_have_another_zero():
    """ICMPv6's is sent as it is, and UDP's as 0xffff."""
    before = made(f"Dot1Q()/{IPV6}/ICMPv6EchoRequest()/('x'*26)")
    udp = made(f"{IPV6}/UDP()/('x'*30)")
    found = [follow(udp.rebuild, 74, like) for like in (follow(before.rebuild, 74), None)]
    assert found[0] == found[1]
    assert found[0].zero == 0xFFFF
