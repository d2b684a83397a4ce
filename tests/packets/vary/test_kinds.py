# SPDX-License-Identifier: Apache-2.0
"""Fields vary in packets that are unlike, each kind by a program of its own."""

from __future__ import annotations

import pytest
from scapy.layers.l2 import Ether

from uspnet.errors import Usage
from uspnet.jobs.traffic import Traffic
from uspnet.packets.breaking import Wrong, read_breaks
from uspnet.packets.craft import craft
from uspnet.packets.fields.program import sample
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program
from uspnet.packets.vary.kinds import KINDS_MAX, compile_kinds

IP4, IP6 = "IP(src='192.0.2.1',dst='192.0.2.2')", "IPv6(src='2001:db8::1',dst='2001:db8::2')"
DATA = "/('x'*33)"
UDP, TCP, ICMP = (f"Ether()/{IP4}/{each}()" + DATA for each in ("UDP", "TCP", "ICMP"))
TAGGED, TUNNEL = f"Ether()/Dot1Q()/{IP4}/TCP()" + DATA, f"Ether()/{IP4}/GRE()/{IP4}/TCP()" + DATA
SIX = f"Ether()/{IP6}/UDP(dport=[7,9])" + DATA
OFF = f"Ether()/{IP4}/UDP(chksum=0)" + DATA
SUMS = ((1, ""), (2, "chksum=0"))  # sources, and with no checksum

MIXED = [
    ([UDP, TCP], ["ip.src=10.0.0.0/16:random"], 2),
    ([UDP, TCP, ICMP, TAGGED, TUNNEL], ["ip.src=10.0.0.0/16", "ip.dst=10.9.0.0/24:random"], 5),
    ([UDP, UDP.replace("33", "60"), SIX], ["udp.sport=1-999:random", "mac.src=random"], 2),
    ([UDP, ICMP], ["mac.src=random"], 1),
    ([UDP, TCP], ["ip.ttl=1-64", "ip.src=10.0.0.0/8:random"], 2),
]  # fmt: skip


@pytest.mark.parametrize("flows", [None, 7])
@pytest.mark.parametrize(("texts", "vary", "count"), MIXED)
def test_each_packet_is_what_a_program_of_its_kind_alone_makes(texts, vary, count, flows):
    change = Change(vary, seed=5, flows=flows)
    given = [template for text in texts for template in craft(text)]
    templates, programs = compile_kinds(given, change)
    assert len(programs) == count
    cycles = 32 // len(templates)
    made = frames = [each.frame for each in templates] * cycles
    for program in programs:
        made = sample(program, made, (3, 2))
    for number, template in enumerate(given):
        (start,), alone = compile_program([template], change)
        assert start.frame == frames[number]
        asked = sample(alone, [start.frame] * 32, (3, 2))
        mine = slice(number, len(made), len(templates))
        assert made[mine] == asked[mine][: len(made[mine])]
    assert len(set(made)) >= min(flows or 32, 7)
    for frame in made:
        packet = Ether(frame)
        for layer in packet.iterpayloads():
            if "chksum" in layer.fields:
                del layer.chksum
        assert bytes(packet) == frame


@pytest.mark.parametrize(
    ("texts", "vary", "message"),
    [
        ([UDP, TCP], ["udp.sport=random"], "no layer udp: the packet Ether/IP/TCP"),
        ([UDP, OFF], ["udp.sport=random"], "at the same place: the packet Ether/IP/UDP"),
        ([OFF, UDP], ["udp.sport=random"], "at the same place: the packet Ether/IP/UDP"),
        ([f"Ether()/{'Dot1Q()/' * n}{IP4}/UDP()" for n in range(KINDS_MAX + 1)],
         ["ip.src=10.0.0.0/8"], "at the same place: the packet Ether/Dot1Q/Dot1Q"),
    ],
)  # fmt: skip
def test_packets_that_nothing_tells_apart_or_that_lack_the_field_are_refused(texts, vary, message):
    templates = [template for text in texts for template in craft(text)]
    with pytest.raises(Usage, match=message):
        compile_kinds(templates, Change(vary))


def test_a_kind_has_to_be_as_long_as_its_own_program_alone():
    short = f"Ether()/{IP4}/UDP()", f"Ether()/{IP4}/TCP(flags='S')"
    given = [template for text in short for template in craft(text)]
    templates, programs = compile_kinds(given, Change(["ip.src=10.0.0.0/16"]))
    ends = [program.reach() for program in programs]
    assert ends[0] <= len(templates[0].frame) < ends[1]
    traffic = Traffic(templates, fields=programs)
    traffic.break_packets(Wrong(read_breaks(["ip.ttl"])))
    with pytest.raises(Usage, match="writes bytes up to"):
        traffic.break_packets(Wrong(read_breaks(["runt=30"])))


def test_no_kind_is_told_by_a_checksum_that_follows_what_is_broken():
    """These two differ in the low byte of the IP checksum first of all, and in the source."""
    texts = (f"Ether()/IP(src='10.0.0.{n}',dst='10.9.0.1')/UDP({off})/('x'*18)" for n, off in SUMS)
    given = [template for text in texts for template in craft(text)]
    _, programs = compile_kinds(given, Change(["udp.sport=1000-2000"]))
    assert [at for at in range(34) if programs[0].writes(at, 1)] == [29]


def test_a_program_goes_by_no_more_than_the_bytes_that_tell_kinds_apart():
    _, programs = compile_kinds(craft(UDP) + craft(ICMP), Change(["ip.src=10.0.0.0/16"]))
    for program in programs:
        assert [at for at in range(40) if program.writes(at, 1)] == [23, 26, 27, 28, 29]
        assert [at for at in range(40) if program.writes(at, 4)] == [20, 21, 22, *range(23, 30)]
