# SPDX-License-Identifier: Apache-2.0
"""Fields that vary, in many stacks: what C makes is what Scapy makes of the same values."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest
from scapy.config import conf
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from uspnet.errors import Usage
from uspnet.packets.craft import craft
from uspnet.packets.fields.program import sample
from uspnet.packets.frames import udp_expression, udp_template
from uspnet.packets.payload import CHECKSUMS
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program

IP4, IP6 = "IP(src='192.0.2.1',dst='192.0.2.2')", "IPv6(src='2001:db8::1',dst='2001:db8::2')"
OPTIONS = IP4[:-1] + ",options=[IPOption_NOP(),IPOption_NOP()])"
DATA = "/('x'*33)"
V4 = ("ip.src=10.0.0.0/16:random", "ip.dst=10.1.0.1-10.1.0.99:step=7", "ip.ttl=1-64", "ip.id")
V6 = (
    "ip6.src=2001:db8:1::/64:random",
    "ip6.dst=2001:db8::/48:random",
    "ip6.fl=0-0xfffff",
    "ip6.tc",
)
STACKS = [
    (f"Ether()/{IP4}/UDP(sport=7,dport=9)" + DATA, [*V4, "udp.sport", "udp.dport=1024-9999"]),
    (f"Ether()/{OPTIONS}/TCP()" + DATA, [*V4, "tcp.sport", "tcp.seq", "tcp.flags=list:2,16,18"]),
    (f"Ether()/{IP4}/TCP(options=[('MSS',1460)])", [*V4, "tcp.window", "tcp.dport=80-90:dec"]),
    (f"Ether()/{IP4}/ICMP()" + DATA, [*V4, "icmp.id", "icmp.seq=0-65535"]),
    (f"Ether()/{IP4}/UDP(chksum=0)" + DATA, [*V4, "udp.sport", "u16@50&0x0ff0", "seq32@55"]),
    (f"Ether()/{IP4}/SCTP()/SCTPChunkData(data='x'*33)", V4),
    (f"Ether()/{IP6}/UDP(sport=7,dport=9)" + DATA, [*V6, "udp.sport", "u8@70"]),
    (f"Ether()/{IP6}/TCP()" + DATA, [*V6, "tcp.sport", "tcp.dport", "u32@81", "u64@87"]),
    (f"Ether()/{IP6}/ICMPv6EchoRequest(data='x'*9)", [*V6, "icmp6.seq", "icmp6.id"]),
    (f"Ether()/{IP6}/ICMPv6ND_NS(tgt='2001:db8::3')", ["ip6.src=2001:db8::/64", "icmp6.tgt"]),
    (f"Ether()/{IP6}/IPv6ExtHdrDestOpt()/IPv6ExtHdrFragment()/UDP()" + DATA, [*V6, "udp.sport"]),
    (f"Ether()/Dot1Q(vlan=5)/{IP4}/UDP()" + DATA, [*V4, "vlan=1-4094", "vlan.prio", "mac.src"]),
    (f"Ether()/Dot1AD(vlan=5)/Dot1Q(vlan=6)/{IP6}/TCP()" + DATA,
     [*V6, "vlan=1-99", "dot1ad.vlan=7-77", "mac.dst=02:00:00:00:00:00/24:random"]),
    (f"Ether()/MPLS(label=16,s=0)/MPLS(label=17)/{IP4}/UDP()" + DATA,
     [*V4, "mpls.label=16-1000", "mpls#2.label", "mpls#2.ttl"]),
    (f"Ether()/{IP4}/GRE()/{IP4}/UDP()" + DATA, [*V4, "ip#2.src", "ip#2.dst", "udp.sport"]),
    (f"Ether()/{IP4}/GRE(chksum_present=1)/{IP6}/TCP()" + DATA, [*V4, *V6, "tcp.sport"]),
    (f"Ether()/{IP4}/UDP(sport=7,dport=4789)/VXLAN(vni=9)/Ether()/{IP4}/TCP()" + DATA,
     ["ip.src", "udp.sport", "vxlan", "mac#2.src", "ip#2.src", "tcp.dport"]),
    (f"Ether()/{IP6}/UDP(sport=7,dport=4789)/VXLAN(vni=9)/Ether()/Dot1Q(vlan=3)/{IP4}/UDP()" + DATA,
     ["udp.sport", "vxlan.vni=1-500", "vlan", "ip.src", "udp#2.sport", "u16@131", "u16@134"]),
    (f"Ether()/{IP4}/UDP(sport=7,dport=6081)/geneve.GENEVE()/Ether()/{IP6}/ICMPv6EchoRequest()",
     ["geneve.vni", "ip.dst", "ip6.dst", "icmp6.seq"]),
    (f"Ether()/{IP4}/{IP4}/{IP6}/TCP()" + DATA, ["ip.src", "ip#2.src", "ip6.src", "tcp.sport"]),
    ("Ether()/ARP(psrc='192.0.2.1',pdst='192.0.2.2')", ["arp.psrc", "arp.hwsrc", "mac.src"]),
]  # fmt: skip
TEMPLATE = f"Ether()/{IP4}/UDP(sport=7,dport=9)" + DATA


def varying(texts):
    """Fields without values get random ones."""
    return [text if "=" in text else f"{text}=random" for text in texts]


def remade(frame):
    """The frame with all of Scapy's checksums computed anew."""
    packet = Ether(frame)
    for layer in packet.iterpayloads():
        if type(layer) in {UDP, TCP} and layer.dport not in {4789, 6081} and layer.payload:
            layer.remove_payload()  # what ports by chance are of
            layer.add_payload(Raw(frame[-33:]))
        for name in CHECKSUMS:
            if layer.fields.get(name):
                del layer.fields[name]
    packet.clear_cache()
    return bytes(packet)


def played(text, texts, count=64, seed=1, size=None):
    templates, program = compile_program(craft(text, size), Change(texts, seed))
    return [
        frame
        for first in range(0, count, 64)
        for frame in sample(program, [templates[0].frame] * min(64, count - first), (first, 1))
    ]


@pytest.mark.parametrize(("text", "texts"), STACKS)
def test_checksums_are_those_that_scapy_computes(text, texts):
    frames = played(text, varying(texts))
    assert [remade(frame) for frame in frames] == frames
    assert len(set(frames)) > 60


def test_values_go_through_their_range_together():
    texts = ["ip.src=10.0.0.0/30", "udp.sport=100-102:step=2", "udp.dport=7-9:dec"]
    frames = played(TEMPLATE, [*texts, "ip.tos=list:4,0,8"], 8)
    packets = [Ether(frame) for frame in frames]
    assert [p.src for p in (each["IP"] for each in packets)][:5] == [
        *(f"10.0.0.{i}" for i in range(4)), "10.0.0.0"]  # fmt: skip
    assert [p["UDP"].sport for p in packets][:3] == [100, 102, 100]
    assert [p["UDP"].dport for p in packets][:4] == [9, 8, 7, 9]
    assert [p["IP"].tos for p in packets][:4] == [4, 0, 8, 4]


def test_a_counter_is_written_into_the_payload():
    frames = played(TEMPLATE, ["seq32@43", "u16@50&0x0ff0=5"], 70)
    assert [int.from_bytes(f[43:47], "big") for f in frames] == list(range(70))
    assert {f[50:52] for f in frames} == {bytes([0x70, 0x58])}  # 'xx' is 0x7878


def test_the_same_seed_draws_the_same_values():
    texts = ["udp.sport=random", "udp.dport=random"]
    assert played(TEMPLATE, texts, seed=1) == played(TEMPLATE, texts, seed=1)
    assert played(TEMPLATE, texts, seed=1) != played(TEMPLATE, texts, seed=2)
    one = played(TEMPLATE, ["udp.sport=0-9:random=5"])
    assert one == played(TEMPLATE, ["udp.sport=0-9:random=5"], seed=9)
    ports = {(f[34:36], f[36:38]) for f in played(TEMPLATE, texts)}
    assert any(sport != dport for sport, dport in ports)


def test_random_values_are_uniform():
    """A chi-squared test of 64,000 draws from 100 values, at a fixed seed."""
    frames = played(TEMPLATE, ["udp.sport=1-100:random"], 64_000)
    counts = Counter(int.from_bytes(frame[34:36], "big") for frame in frames)
    assert set(counts) == set(range(1, 101))
    statistic = sum((n - 640) ** 2 / 640 for n in counts.values())
    assert 66.5 < statistic < 138.99  # 0.5 % either side of 99 degrees of freedom


def test_networks_wider_than_64_bits_are_drawn_whole():
    frames = played(STACKS[6][0], ["ip6.src=2001:db8::/32:random"])
    addresses = [int(ip_address(frame[22:38])) for frame in frames]
    assert {address >> 96 for address in addresses} == {0x20010DB8}
    assert len({address >> 64 for address in addresses}) > 60
    frames = played(STACKS[6][0], ["ip6.src=2001:db8::/32"])
    assert [int(ip_address(f[22:38])) & 0xFF for f in frames] == list(range(64))


def test_packets_of_one_expression_vary_alike():
    text = f"Ether()/IP(src='192.0.2.1',dst=['192.0.2.2','192.0.2.3'])/UDP(sport=7,dport=9){DATA}"
    templates, program = compile_program(craft(text), Change(["ip.src=10.0.0.0/8", "udp.dport=5"]))
    frames = sample(program, [template.frame for template in templates])
    assert [remade(frame) for frame in frames] == frames
    assert [Ether(f)["IP"].dst for f in frames] == ["192.0.2.2", "192.0.2.3"]
    assert [Ether(f)["IP"].src for f in frames] == ["10.0.0.0", "10.0.0.1"]


def test_the_packet_without_an_expression_is_the_same_by_scapy():
    header = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9)
    with pytest.raises(Usage, match="that Scapy made"):
        compile_program([udp_template(60, *header)], Change(["udp.sport=1"]))
    for size in (42, 43, 60, 1514):
        (made,) = craft(udp_expression(*header), size)
        assert made.frame == udp_template(size, *header).frame
        assert made.payload == size - 42


REFUSED = [
    ("ip6.src=::/64", "has no layer ip6", "its layers are mac, ip, udp"),
    ("ip#2.src=10.0.0.0/8", "has no 2 layers ip", "its layers are"),
    ("ip#0.src=10.0.0.0/8", "layers are counted from 1", "ip#1"),
    ("ip.source=10.0.0.0/8", "has no field 'source'", "ttl, proto, chksum, src, dst"),
    ("ip=10.0.0.0/8", "is a layer, and no field", "src, dst"),
    ("ip.options=1-2", "not a number or an address", "vary other fields"),
    ("ip.version=random", None, ""),
    ("udp.sport=1-70000", "70000 does not fit into 16 bits", "0 to 65,535"),
    ("udp.sport=9-1", "the range 9-1 is empty", "1-9:dec"),
    ("udp.sport=x", "'x' is no value of it", "a number"),
    ("udp.sport", "which values?", "udp.sport=1-100"),
    ("udp.sport=1-9:step=0", "nothing can be stepped through", "a step of 1 or more"),
    ("udp.sport=1-9:random=x", "'x' is no seed", "a whole number"),
    ("udp.sport=1-9:random:dec", "have no order", "drop :dec"),
    ("ip.src=10.0.0.1/16", "not the first address", "10.0.0.0/16"),
    ("ip.src=10.0.0.0/33", "longer than its 32 bits", "/32"),
    ("ip.src=10.0.0", "'10.0.0' is no value of it", "10.0.0.1"),
    ("mac.src=1:2:3", "is no value of it", "02:00:00:00:00:01"),
    ("u16@20=1", "bytes 20 to 22 are not in the payload", "42 to 75"),
    ("u16@74=1", "bytes 74 to 76 are not in the payload", "42 to 75"),
    ("u16@50&0x0f0f=1", "a mask that can't be used", "0x0ff0"),
    ("u16@50&0x0ff0=256", "256 does not fit into 8 bits", "0 to 255"),
    ("!=1", "not the name of a field", "LAYER.FIELD=VALUES"),
    ("ip.ihl=5-15", None, ""),
]


@pytest.mark.parametrize(("text", "message", "hint"), REFUSED)
def test_a_field_that_can_not_vary_is_named(text, message, hint):
    if message is None:  # Scapy computes nothing from it
        assert len(played(TEMPLATE, [text], 3)) == 3
        return
    with pytest.raises(Usage) as caught:
        played(TEMPLATE, [text])
    assert caught.value.message.startswith(f"--vary {text.partition('=')[0]}")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(("text", "texts", "message"), [
    (TEMPLATE, ["udp.sport=1", "udp.sport=2"], "twice"),
    (TEMPLATE, ["u32@50", "u16@53=1"], "u32@50 and u16@53"),
    (STACKS[5][0], ["sctp.sport=random"], "a checksum does not follow"),
    (STACKS[6][0], ["ip6.src=2001:db8::-2001:db9::5"], "the range is too large"),
    (f"Ether()/{IP4}/UDP(){DATA}", ["udp.len=40-60"], None),
])  # fmt: skip
def test_what_can_not_be_played_is_refused(text, texts, message):
    if message is None:  # a wrong length on purpose
        assert {Ether(frame)["UDP"].len for frame in played(text, texts, 21)} == set(range(40, 61))
        return
    with pytest.raises(Usage, match=message):
        played(text, texts)


def test_packets_that_have_a_field_at_different_places_are_refused():
    text = "Ether()/IP(src='1.2.3.4',dst='1.2.3.5')/UDP(sport=7,dport=[9,4789])/('x'*20)"
    compile_program(craft(text), Change(["udp.sport=random"]))
    other = craft(f"Ether()/Dot1Q()/{IP4}/UDP(sport=7,dport=9){DATA}")
    with pytest.raises(Usage, match="at the same place"):
        compile_program([*craft(text), *other], Change(["udp.sport=random"]))


UNLIKE = [  # packets of one expression that differ in what follows from a field, or in its place
    (f"Ether()/{IP4}/UDP(chksum=[0,None])/('x'*18)", "udp.sport"),
    (f"Ether()/{IP4}/UDP(chksum=[None,0])/('x'*18)", "udp.sport"),
    (f"Ether()/{IP4}/GRE(chksum_present=[1,0])/{IP4}/UDP()/('x'*19)", "ip#2.tos"),
    (f"Ether()/{IP4}/GRE(chksum_present=[0,1])/{IP4}/UDP()/('x'*19)", "ip#2.tos"),
    (f"Ether()/{IP4}/GRE(chksum_present=[1,0])/{IP4}/TCP()", "tcp.urgptr"),  # behind the second
    (f"Ether()/{IP4}/GRE(chksum_present=[1,0])/{IP4}/UDP()/('x'*19)", "u8@80"),
]


@pytest.mark.parametrize(
    "values", ["0-4", "1-5", "0-15", "list:9,9,9,9,9,7", "0-4:random", "1-5:dec"]
)
@pytest.mark.parametrize(("text", "name"), UNLIKE)
def test_packets_that_a_program_can_not_play_alike_are_refused(text, name, values):
    with pytest.raises(Usage, match=f"^--vary {name}: .*at the same place"):
        compile_program(craft(text), Change([f"{name}={values}"]))


def test_two_fields_that_make_up_for_each_other_are_checked_alone():
    templates = craft(UNLIKE[0][0])
    with pytest.raises(Usage, match="at the same place"):
        compile_program(templates, Change(["udp.sport=1-5", "udp.dport=1-5:dec"]))


def test_fields_that_all_packets_have_at_the_same_place_still_vary():
    text = f"Ether()/{IP4}/GRE(chksum_present=[1,0])/{IP4}/UDP(sport=7,dport=9){DATA}"
    templates, program = compile_program(craft(text), Change(["ip.tos=0-4", "mac.src=random"]))
    frames = sample(program, [each.frame for each in templates] * 20)
    assert [remade(frame) for frame in frames] == frames
    assert {frame[15] for frame in frames} == set(range(5))


def test_bytes_of_the_payload_vary_behind_headers_of_several_lengths():
    text = f"Ether()/{IP4}/GRE(key_present=[0,1])/{IP4}/UDP(chksum=0){DATA}"
    templates, program = compile_program(craft(text), Change(["u16@80=1-9"]))
    frames = sample(program, [each.frame for each in templates])
    assert [frame[80:82] for frame in frames] == [b"\0\1", b"\0\2"]
    assert [remade(frame) for frame in frames] == frames


@pytest.mark.parametrize("sizes", [(1514, 60), (60, 1514)])
def test_bytes_that_only_some_payloads_have_are_refused(sizes):
    templates = [each for size in sizes for each in craft(TEMPLATE[: -len(DATA)], size)]
    with pytest.raises(Usage, match="bytes 1000 to 1002 are not in the payload") as caught:
        compile_program(templates, Change(["u16@1000=1-9"]))
    assert "bytes 42 to 60" in caught.value.hint


def test_a_list_whose_values_are_nearly_all_the_same_is_checked_by_the_others():
    for values in (["53"] * 300 + ["7"] + ["53"] * 300, ["0", "65535"] * 300 + ["7"]):
        frames = played(f"Ether()/{IP4}/UDP(){DATA}", ["udp.sport=list:" + ",".join(values)], 640)
        assert [remade(frame) for frame in frames] == frames


@pytest.mark.parametrize(("text", "texts"), [
    ("Ether()/IP()/UDP(sport=7,dport=9)", ["ip.dst=10.0.0.0/24"]),
    ("Ether()/IPv6()/UDP(sport=7,dport=9)", ["ip6.dst=2001:db8::/64"]),
    ("Ether()/IP()/UDP(sport=7,dport=4789)/VXLAN()/Ether()/IPv6()/TCP()", ["ip.dst", "ip6.dst"]),
    ("Ether(dst=None)/IPv6(dst='ff02::1')/UDP(sport=7,dport=9)", ["ip6.dst=ff02::/64"]),
    ("Ether()/ARP()", ["arp.pdst=10.0.0.0/24"]),
    ("Ether()/IP()/UDP(sport=7)", ["udp.dport=5350-5360"]),  # 5353 is sent to a group
])  # fmt: skip
def test_what_scapy_chose_from_a_destination_stays(monkeypatch, text, texts):
    """By routes of which each has an address of its own."""
    monkeypatch.setattr(conf.route, "route", lambda dst=None, **_: ("lo", dst, "0.0.0.0"))
    monkeypatch.setattr(conf.route6, "route", lambda dst=None, **_: ("lo", dst, "::"))
    (before,) = craft(text + DATA)
    (template,), program = compile_program([before], Change(varying(texts)))
    frames = sample(program, [template.frame] * 64)
    assert [remade(frame) for frame in frames] == frames
    assert template.rebuild(len(before.frame) - 1, b"x") == template.frame
    for made in frames:
        fixed = {name: Ether(before.frame).getfieldval(name) for name in ("src", "dst")}
        assert {name: Ether(made).getfieldval(name) for name in ("src", "dst")} == fixed
        if text.startswith("Ether()/IP()"):
            assert Ether(made).payload.src == Ether(before.frame).payload.src
    assert len(set(frames)) > 10
