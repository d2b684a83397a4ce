# SPDX-License-Identifier: Apache-2.0
"""Networks, ranges and lists of an expression that a field program plays: all of their packets are
Scapy's, in Scapy's order.
"""

from __future__ import annotations

from itertools import islice

import pytest
import scapy.layers.all
from scapy.base_classes import Net
from scapy.contrib.mpls import MPLS
from scapy.layers.l2 import Ether
from scapy.utils6 import Net6

from uspnet.errors import Usage
from uspnet.packets.craft import DST_MAC, FRAMES_MAX, SRC_MAC, craft, craft_changing
from uspnet.packets.fields.program import sample
from uspnet.packets.payload import pad, rebuild
from uspnet.packets.turning import FEW
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program

MACS = f"Ether(dst={DST_MAC!r},src={SRC_MAC!r})"
IP4, IP6 = "IP(src='192.0.2.1',dst='192.0.2.2')", "IPv6(src='2001:db8::1',dst='2001:db8::2')"
NAMES = {**vars(scapy.layers.all), "MPLS": MPLS, "Net": Net, "Net6": Net6}
MANY = 700  # packets that are compared, at most, from the beginning on

# An expression, and the fields that are played, the fastest one first.
PLAYED = [
    (f"{MACS}/IP(src='192.0.2.1',dst='10.0.0.0/8')/UDP()/('x'*33)", "dst"),
    (f"{MACS}/IP(src=Net('10.1.2.3','10.1.3.99'),dst='192.0.2.2')/TCP()", "src"),
    (f"{MACS}/{IP4}/UDP(dport=(1024,65535))/('x'*4)", "dport"),
    (f"{MACS}/{IP4}/TCP(sport=(1,999,7),dport=[80,(5,9),443])/('x'*4)", "sport dport"),
    (f"{MACS}/{IP4}/TCP(dport=[80,(5,9),443],sport=(1,999,7))/('x'*4)", "sport dport"),
    (f"{MACS}/IP(ttl=(1,5),src=['10.0.0.9','10.9.0.0/30'],dst='10.0.0.0/29')/ICMP(seq=(0,3))",
     "seq ttl src dst"),
    (f"{MACS}/IP(dst='10.0.0.0/29',src=['10.0.0.9','10.9.0.0/30'],ttl=(1,5))/UDP()",
     "ttl src dst"),
    (f"{MACS}/Dot1Q(vlan=(1,4094),prio=(0,7))/{IP4}/UDP(sport=[7,9])", "sport prio vlan"),
    (f"{MACS}/{IP4}/UDP(dport=4789)/VXLAN(vni=(5,99))/{MACS}/IP(src='1.1.1.1',dst='2.2.2.0/24')"
     "/TCP(sport=[1,2])/'x'", "sport dst vni"),
    (f"Ether(dst={DST_MAC!r},src=['02:00:00:00:00:%02x' % i for i in range(70)])/{IP4}/UDP()",
     "src"),
    (f"{MACS}/IPv6(src='2001:db8::1',dst='2001:db8:1::/48')/ICMPv6EchoRequest(seq=(1,9))",
     "seq dst"),
    (f"{MACS}/IPv6(src=Net6('2001:db8::/120'),dst=['2001:db8::7','::9'])/UDP(dport=[5,6])/'abc'",
     "dport src dst"),
    (f"{MACS}/IPv6(src='2001:db8::1',dst='::2',fl=(0,1000))/TCP(seq=[0,4294967295])", "seq fl"),
    (f"{MACS}/ARP(psrc='192.0.2.1',pdst='192.0.0.0/16')", "pdst"),
    (f"{MACS}/{IP4}/GRE()/IP(src='1.1.1.1',dst='2.2.0.0/20')/UDP(chksum=0)", "dst"),
    (f"{MACS}/{IP4}/UDP(chksum=0)/DNS(id=(0,500))", "id"),
    (f"{MACS}/MPLS(label=(16,900),s=0)/MPLS(label=[17,18])/{IP4}/UDP()", "label label"),
]  # fmt: skip


def written(text):
    """An expression, in which Python has made what it can: lists are written out."""
    first, comprehension, rest = text.partition("['02:00:00:00:00:%02x' % i for i in range(70)]")
    return first + (repr(eval(comprehension)) if comprehension else "") + rest


def played(template, change, count, size=None):
    """The first packets that C makes."""
    (start,), program = compile_program([template], change)
    made = []
    while len(made) < count:
        frames = [start.frame] * min(32, count - len(made))
        made += sample(program, frames, (len(made), 1))
    return made


@pytest.mark.parametrize(("text", "names"), PLAYED)
def test_packets_are_scapys_in_scapys_order(text, names):
    text = written(text)
    (template,), change = craft_changing(text)
    assert [each.name.partition(".")[2] for each in change.turns] == names.split()
    asked = [bytes(each) for each in islice(iter(eval(text, NAMES)), MANY)]
    assert len(asked) > FEW
    assert played(template, change, len(asked)) == asked


def test_the_last_packet_is_followed_by_the_first():
    text = f"{MACS}/{IP4}/UDP(sport=(1,9),dport=[5,9,7,2,1,8,6,4])/'x'"
    (template,), change = craft_changing(text)
    asked = [bytes(each) for each in eval(text, NAMES)]
    assert len(asked) == 72
    assert played(template, change, 160) == (asked * 3)[:160]


def test_they_are_padded_as_templates_are():
    text = f"{MACS}/{IP4}/UDP(dport=(1,{FEW + 1}))/'x'"
    (template,), change = craft_changing(text, 100)
    assert played(template, change, FEW + 1) == [each.frame for each in craft(text, 100)]
    assert len(template.frame) == 100


@pytest.mark.parametrize(
    ("values", "payload", "count"),
    [(f"dport=(1,{FEW})", "'x'", FEW), ("dport=(1,99)", "Raw(load=['a','bb'])", 198)],
)
def test_few_packets_are_templates_and_so_is_what_no_program_plays(values, payload, count):
    text = f"{MACS}/{IP4}/UDP({values})/{payload}"
    templates, change = craft_changing(text)
    assert [each.frame for each in templates] == [bytes(p) for p in eval(text, NAMES)]
    assert (len(templates), change) == (count, Change([]))


def test_more_than_can_be_kept_or_played_are_refused():
    for text in ("IP(dst='10.0.0.0/8')/Raw(load=['a','bb'])", "IP(dst='10.0.0.0/8',ttl=300)"):
        with pytest.raises(Usage, match=f"at most {FRAMES_MAX:,}|value of ttl"):
            craft_changing(f"{MACS}/{text}")


def test_a_source_address_that_scapy_chooses_by_its_routes_is_the_right_one(monkeypatch):
    """The second half of the network has a route of its own, by another address."""
    from scapy.config import conf

    route = (0x0A800000, 0xFF800000, "0.0.0.0", "lo", "192.0.2.77", 1)
    monkeypatch.setattr(conf.route, "routes", [*conf.route.routes, route])
    conf.route.invalidate_cache()
    with pytest.raises(Usage, match="make 16,777,216 packets"):
        craft_changing(f"{MACS}/IP(dst='10.0.0.0/8')/UDP()")
    templates, change = craft_changing(f"{MACS}/IP(dst='10.127.255.0/24')/UDP()")
    assert len(change.turns) == 1
    templates, change = craft_changing(f"{MACS}/IP(dst=Net('10.127.255.0','10.128.0.9'))/UDP()")
    assert (len(templates), change.turns) == (266, ())
    assert Ether(templates[-1].frame).payload.src == "192.0.2.77"
    conf.route.invalidate_cache()


def test_vary_has_the_last_word():
    (template,), change = craft_changing(f"{MACS}/{IP4}/UDP(sport=[1,2],dport=(1,99))/'x'")
    change = Change(["udp.dport=7-8", "ip.ttl=1-3"], turns=change.turns)
    made = [Ether(each) for each in played(template, change, 6)]
    assert [p["UDP"].dport for p in made] == [7, 8] * 3
    assert [p["UDP"].sport for p in made] == [1, 2] * 3
    assert [p["IP"].ttl for p in made] == [1, 2, 3] * 2
    flows = Change(["ip.src=10.0.0.0/8", "ip.id=1-99"], flows=3, turns=change.turns)
    made = [Ether(each) for each in played(template, flows, 99)]
    assert len({(p["IP"].src, p["IP"].id) for p in made}) == 3
    assert {p["UDP"].dport for p in made} == set(range(1, 51))


TOGETHER = [
    f"{MACS}/IP(src='192.0.2.1',dst='10.0.0.0/24')/UDP(dport=[5,6])/('x'*40)",
    f"{MACS}/IPv6(src='2001:db8::1',dst='2001:db8:1::/120')/ICMPv6EchoRequest()/('x'*33)",
    f"{MACS}/IP(src='192.0.2.1',dst='10.0.0.0/25')/SCTP()/SCTPChunkData(data='x'*20)",
    f"{MACS}/IP(src='192.0.2.1',dst='10.0.0.0/25')/UDP(chksum=0)/('x'*20)",
]


@pytest.mark.parametrize(
    ("text", "size"), [*((text, None) for text in TOGETHER), (TOGETHER[0], 90)]
)
def test_among_others_a_packet_has_templates_which_are_played_once(text, size):
    """As several `--packet` need them. They take signatures as those that Scapy makes."""
    made, asked = craft(text, size), [*eval(text, NAMES)]
    if size:
        asked = [pad(each, bytes(each), size)[0] for each in asked]
    assert [each.frame for each in made] == [bytes(each) for each in asked]
    signature = bytes(range(77, 95))
    for each, packet in [*zip(made, asked, strict=True)][::61]:
        at = len(each.frame) - len(signature) - 1
        start = len(each.frame) - each.payload
        assert each.rebuild(at, signature) == rebuild(packet, start, at, signature)
        assert bytes(each.packet()) == each.frame


def test_among_others_there_are_as_many_as_can_be_kept():
    made = craft(f"{MACS}/IP(src='192.0.2.1',dst='10.0.0.0/18')/UDP()/('x'*20)")
    assert len(made) == FRAMES_MAX == len({each.frame for each in made})
    assert bytes(made[-1].packet()) == made[-1].frame
    with pytest.raises(Usage, match="of 33 MiB are too many"):
        craft(f"{MACS}/IP(src='192.0.2.1',dst='10.0.0.0/18')/UDP()/('x'*2100)")
