# SPDX-License-Identifier: Apache-2.0
"""reflect: what comes back, byte by byte, beside what Scapy makes of exchanged addresses."""

from __future__ import annotations

import functools
import operator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Raw

from tests.fastpath.test_loops import Narrow, Wire
from tests.support.identity import ran
from uspnet.errors import Usage
from uspnet.jobs.choices import OnFull, Swap
from uspnet.jobs.plan import Limits
from uspnet.jobs.reflect import Reflecting, ReflectJob
from uspnet.ports.registry import make_port

SWAPS = list(Swap)
BROADCAST = "ff:ff:ff:ff:ff:ff"


def pair(names, values, *, exchanged):
    return dict(zip(names, values[::-1] if exchanged else values, strict=True))


def stacks(done):
    """Frames by name, the first `done` kinds of addresses exchanged: those of MAC, IP, and ports.

    Scapy computes all of their checksums.
    """
    ether = pair(("dst", "src"), ("06:00:00:00:00:0b", "02:00:00:00:00:0a"), exchanged=done > 0)
    v4 = pair(("src", "dst"), ("10.0.0.1", "192.168.7.9"), exchanged=done > 1)
    v6 = pair(("src", "dst"), ("2001:db8::1", "fe80::1:2"), exchanged=done > 1)
    ports = pair(("sport", "dport"), (1024, 53), exchanged=done > 2)
    kept = {"sport": 1024, "dport": 53}
    load = Raw(b"seventeen bytes..")
    route = IPv6ExtHdrRouting(addresses=["2001:db8::7"])
    there = pair(("src", "dst"), ("2001:db8::1", "fe80::1:2"), exchanged=False)
    layers = {
        "udp": [IP(**v4), UDP(**ports), load],
        "tcp": [IP(**v4), TCP(**ports, seq=7, flags="PA"), load],
        "udp6": [IPv6(**v6), UDP(**ports), load],
        "tcp6": [IPv6(**v6), IPv6ExtHdrDestOpt(), TCP(**ports), load],
        "tags": [Dot1AD(vlan=7), Dot1Q(vlan=100), IP(**v4), UDP(**ports), load],
        "options": [IP(**v4, options=IPOption_Router_Alert()), UDP(**ports)],
        "no checksum": [IP(**v4), UDP(**ports, chksum=0), load],
        "icmp": [IP(**v4), ICMP(id=9, seq=3), load],
        "tunnel": [IP(**v4), IP(src="1.1.1.1", dst="1.1.1.2"), UDP(**kept), load],
        "sctp": [IP(**v4), SCTP(**kept), SCTPChunkData(data=b"x")],
        "fragment6": [IPv6(**v6), IPv6ExtHdrFragment(m=1, nh=17), UDP(**kept, chksum=7), load],
        "routed": [IPv6(**there), route, UDP(**kept), load],
        "arp": [ARP(psrc="10.0.0.1", pdst="10.0.0.2", hwsrc="02:00:00:00:00:0a")],
        "no ip": [Raw(b"\x45" + bytes(70))],
    }
    made = {
        name: bytes(functools.reduce(operator.truediv, parts, Ether(**ether)))
        for name, parts in layers.items()
    }
    long = bytes(IP(**v4, id=7) / UDP(**kept) / Raw(bytes(range(256)) * 8))
    for number, part in enumerate(fragment(IP(long), fragsize=800)):
        made[f"fragment {number}"] = bytes(Ether(**ether) / part)
    made["padded"] = bytes(Ether(**ether) / IP(**v4) / UDP(**ports)) + bytes(18)
    return made


def reflected(frames, **how):
    """What comes back of frames, and the result."""
    wire = Wire(frames)
    with ReflectJob(wire, Limits(), Reflecting(**how)) as job:
        return wire.taken, ran(job.run())


@pytest.mark.parametrize("swap", SWAPS)
def test_what_comes_back_is_what_scapy_makes(swap):
    wanted = stacks(SWAPS.index(swap) + 1)
    taken, result = reflected(list(stacks(0).values()), swap=swap)
    assert dict(zip(wanted, taken, strict=True)) == wanted
    assert (result.received, result.reflected, result.dropped) == (len(wanted), len(wanted), 0)
    assert result.asked.swap == swap


def test_exchanged_twice_is_as_it_was():
    frames = list(stacks(0).values())
    assert reflected(reflected(frames, swap=Swap.port)[0], swap=Swap.port)[0] == frames


@pytest.mark.parametrize("swap", SWAPS)
def test_no_byte_behind_the_end_is_touched(swap):
    """Frames cut anywhere: what is complete is exchanged, and the rest stays, whatever was behind
    it. (The sanitized run of these tests would stop at a byte too far.)
    """
    for frame in (stacks(0)[name] for name in ("tags", "tcp6", "options")):
        cuts = [frame[:length] for length in range(14, len(frame))]
        taken, _ = reflected(cuts, swap=swap)
        assert [len(each) for each in taken] == [len(each) for each in cuts]
        for cut, back in zip(cuts, taken, strict=True):
            assert back[:12] == cut[6:12] + cut[:6]
            assert sorted(back) == sorted(cut)


GROUPS = {
    "to all": (BROADCAST, "02:00:00:00:00:01"),
    "to a group": ("01:00:5e:00:00:01", "02:00:00:00:00:01"),
    "from all": ("02:00:00:00:00:01", BROADCAST),
}


@pytest.mark.parametrize("name", GROUPS)
def test_frames_of_groups_stay_unless_they_are_asked_for(name):
    frame = bytes(Ether(dst=GROUPS[name][0], src=GROUPS[name][1], type=0x88B5) / Raw(bytes(46)))
    taken, result = reflected([frame] * 100)
    assert (taken, result.drops) == ([], {"filtered": 100})
    taken, result = reflected([frame] * 100, groups=True)
    assert (taken, result.drops) == ([frame[6:12] + frame[:6] + frame[12:]] * 100, {})


def test_a_frame_without_addresses_goes_nowhere():
    taken, result = reflected([bytes(13), bytes(14), bytes(1)])
    assert (taken, result.drops) == ([bytes(14)], {"no_route": 2})


@pytest.mark.parametrize(("on_full", "back"), [(OnFull.wait, 100), (OnFull.drop, 12)])
def test_a_full_port_holds_packets_back_or_has_them_dropped(on_full, back):
    wire = Narrow(list(stacks(0).values())[:1] * 100)
    with ReflectJob(wire, Limits(burst=32), Reflecting(on_full=on_full)) as job:
        result = ran(job.run())
    assert (len(wire.taken), result.drops) == (back, {"no_room": 100 - back} if back < 100 else {})


@pytest.mark.parametrize(("spec", "lacks"), [("pcap:x", "send"), ("pcap:out=x", "receive")])
def test_a_port_of_one_direction_is_refused(spec, lacks):
    with pytest.raises(Usage, match=f"{spec} can't {lacks}") as refused:
        ReflectJob(make_port(spec), Limits(), Reflecting())
    assert "--replay" in refused.value.hint
