# SPDX-License-Identifier: Apache-2.0
"""Rewritten packets: as Scapy makes them with the new values, and as tcprewrite writes them."""

from __future__ import annotations

import ipaddress
import random
import subprocess
from functools import reduce
from operator import truediv

import pytest
from scapy.all import (
    ARP,
    GRE,
    ICMP,
    IP,
    TCP,
    UDP,
    Dot1AD,
    Dot1Q,
    Ether,
    ICMPv6EchoRequest,
    IPOption_LSRR,
    IPOption_RR,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Raw,
    checksum,
)

from tests.support.captures import pcap_frames, write_pcap
from tests.support.waiting import scaled
from uspnet.errors import Usage
from uspnet.fastpath import ffi, lib
from uspnet.memory import new
from uspnet.packets.fields.rewrite import Rewrite, read_net_map, read_port_map

NETS = ["10.1.0.0/16=172.16.5.0/24", "10.0.0.0/8=192.168.0.0/16", "2001:db8::/32=fd00:1::/48"]
PORTS = ["80=8080", "53=5353"]
DST, SRC = bytes.fromhex("0200000000aa"), bytes.fromhex("0200000000bb")
V4 = {"src": "10.1.2.3", "dst": "10.200.2.9"}
V4_NEW = {"src": "172.16.5.3", "dst": "192.168.2.9"}
V6 = {"src": "2001:db8:7:1::5", "dst": "2001:db9::1"}
V6_NEW = {"src": "fd00:1:0:1::5", "dst": "2001:db9::1"}
MACS = {"dst": "02:00:00:00:00:01", "src": "02:00:00:00:00:02"}
LOAD = Raw(bytes(random.Random(1).randbytes(33)))
# Each stack, given the addresses and two ports.
STACKS = {
    "tcp": lambda v4, _, a, b: IP(**v4) / TCP(sport=a, dport=b, seq=7) / LOAD,
    "udp": lambda v4, _, a, b: IP(**v4) / UDP(sport=a, dport=b) / LOAD,
    "udp, no checksum": lambda v4, _, a, b: IP(**v4) / UDP(sport=a, dport=b, chksum=0) / LOAD,
    "options": lambda v4, _, a, b: IP(**v4, options=[IPOption_RR()]) / TCP(sport=a, dport=b),
    "icmp": lambda v4, *_: IP(**v4) / ICMP(id=1) / LOAD,
    "first fragment": lambda v4, _, a, b: IP(**v4, flags="MF") / UDP(sport=a, dport=b) / LOAD,
    "later fragment": lambda v4, *_: IP(**v4, frag=9, proto=17) / Raw(bytes(range(80, 99))),
    "gre": lambda v4, *_: IP(**v4) / GRE() / IP(src="10.1.1.1") / UDP(sport=80) / LOAD,
    "vlan": lambda v4, _, a, b: Dot1Q(vlan=5) / IP(**v4) / TCP(sport=a, dport=b) / LOAD,
    "qinq": lambda v4, _, a, b: Dot1AD(vlan=5) / Dot1Q(vlan=6) / IP(**v4) / UDP(sport=a, dport=b),
    "arp": lambda v4, *_: ARP(psrc=v4["src"], pdst=v4["dst"]),
    "tcp6": lambda _, v6, a, b: IPv6(**v6) / TCP(sport=a, dport=b) / LOAD,
    "udp6": lambda _, v6, a, b: IPv6(**v6) / UDP(sport=a, dport=b) / LOAD,
    "icmp6": lambda _v4, v6, *_: IPv6(**v6) / ICMPv6EchoRequest(id=1) / LOAD,
    "extensions": lambda _, v6, a, b: IPv6(**v6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    / UDP(sport=a, dport=b) / LOAD,
    "later fragment6": lambda _v4, v6, *_: IPv6(**v6) / IPv6ExtHdrFragment(offset=9, nh=17) / LOAD,
}  # fmt: skip


def rewritten(field, frames, offset=0):
    """What C makes of these frames, which lie at `offset` in their buffers."""
    size = max(map(len, frames)) + 8
    memory = new("uint8_t[]", size * len(frames))
    pool = new("struct pool *", (memory, size, len(frames)))
    packets = new("struct packet[]", [(i, offset, len(frame)) for i, frame in enumerate(frames)])
    for number, frame in enumerate(frames):
        ffi.memmove(memory + number * size + offset, frame, len(frame))
    made = field.make()
    lib.field_rewrite(ffi.cast("struct field *", made), pool, packets, len(frames))
    return [
        bytes(ffi.buffer(memory + n * size + packets[n].offset, packets[n].length))
        for n in range(len(frames))
    ]


def maps(nets=NETS, ports=PORTS, **macs):
    return Rewrite(nets=[*map(read_net_map, nets)], ports=[*map(read_port_map, ports)], **macs)


@pytest.mark.parametrize("name", STACKS)
def test_packets_are_what_scapy_makes_of_the_new_values(name):
    new_macs = {"dst": DST.hex(":"), "src": SRC.hex(":")}
    old = bytes(Ether(**MACS) / STACKS[name](V4, V6, 80, 53))
    wanted = bytes(Ether(**new_macs) / STACKS[name](V4_NEW, V6_NEW, 8080, 5353))
    assert rewritten(maps(dst_mac=DST, src_mac=SRC), [old]) == [wanted]


def test_every_value_has_the_right_checksum():
    chance, frames, wanted = random.Random(3), [], []
    for _ in range(64):
        low, ports = chance.getrandbits(24), [chance.getrandbits(16) for _ in range(2)]
        for made, top in ((frames, 10 << 24), (wanted, 77 << 24)):
            src = str(ipaddress.IPv4Address(top | low))
            made.append(bytes(Ether() / IP(src=src, dst="1.2.3.4", id=low & 0xFFFF)
                              / UDP(sport=ports[0], dport=ports[1]) / LOAD))  # fmt: skip
    assert rewritten(maps(["10.0.0.0/8=77.0.0.0/8"], []), frames) == wanted


def test_frames_of_any_length_are_safe():
    whole = bytes(Ether() / IPv6(**V6) / IPv6ExtHdrHopByHop() / TCP() / LOAD)
    whole4 = bytes(Ether() / Dot1Q() / IP(**V4) / TCP() / LOAD)
    for frame in (whole, whole4):
        for length in range(len(frame)):
            for vlan in (None, 7):
                field = maps(dst_mac=DST, vlan=vlan, untag=vlan is None)
                (made,) = rewritten(field, [frame[:length]])
                assert length - 4 <= len(made) <= length + 4 or (vlan and length < 14)


def test_what_fits_nothing_stays_as_it_is():
    frames = [bytes(Ether() / IP(src="1.2.3.4", dst="4.3.2.1", chksum=5) / TCP(sport=7, dport=9))]
    assert rewritten(maps(), frames) == frames


@pytest.mark.parametrize("offset", [0, 4])
@pytest.mark.parametrize(("vlan", "tags", "wanted"), [
    (7, [], [Dot1Q(vlan=7)]),
    (7, [Dot1Q(vlan=5, prio=3)], [Dot1Q(vlan=7, prio=3)]),
    (4094, [Dot1AD(vlan=5), Dot1Q(vlan=6)], [Dot1AD(vlan=4094), Dot1Q(vlan=6)]),
    (None, [], []),
    (None, [Dot1Q(vlan=5)], []),
    (None, [Dot1AD(vlan=5), Dot1Q(vlan=6)], [Dot1Q(vlan=6)]),
])  # fmt: skip
def test_tags_are_set_and_taken_away(vlan, tags, wanted, offset):
    ip = STACKS["udp"](V4, V6, 80, 53)
    new = STACKS["udp"](V4_NEW, V6_NEW, 8080, 5353)
    old, made = (
        bytes(reduce(truediv, [Ether(**MACS), *each])) for each in ([*tags, ip], [*wanted, new])
    )
    assert rewritten(maps(vlan=vlan, untag=vlan is None), [old], offset) == [made]


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.0/8=x", "10.0.0.1/8=10.0.0.0/8",
                                  "10.0.0.0/8=fd00::/8", "=", ""])  # fmt: skip
def test_networks_that_make_no_sense_are_refused(text):
    with pytest.raises(Usage, match="--map-ip"):
        read_net_map(text)


@pytest.mark.parametrize("text", ["80", "80=", "80=65536", "x=1", ""])
def test_ports_that_make_no_sense_are_refused(text):
    with pytest.raises(Usage, match="--map-port"):
        read_port_map(text)


V6_ONLY = {"tcp6", "udp6", "icmp6"}
V4_ONLY = {"tcp", "udp", "udp, no checksum", "options", "icmp", "first fragment", "vlan", "arp"}
PNAT = "--pnat=10.1.0.0/16:172.16.5.0/24,10.0.0.0/8:192.168.0.0/16"
ENET = [f"--enet-dmac={DST.hex(':')}", f"--enet-smac={SRC.hex(':')}"]


@pytest.mark.parametrize(
    ("names", "more", "how"),
    [
        (V4_ONLY, [PNAT, *ENET], {"nets": NETS[:2], "dst_mac": DST, "src_mac": SRC}),
        (V6_ONLY, [], {"nets": []}),
    ],
)
def test_packets_are_what_tcprewrite_writes(needs, tmp_path, names, more, how):
    needs("tcprewrite")
    frames = [bytes(Ether(**MACS) / STACKS[name](V4, V6, 80, 53)) for name in sorted(names)]
    write_pcap(tmp_path / "in", frames)
    command = ["tcprewrite", "-i", tmp_path / "in", "-o", tmp_path / "out", *more,
               "--portmap=80:8080,53:5353"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=scaled(60))
    made = rewritten(maps(**how), frames)
    theirs = pcap_frames(tmp_path / "out")
    begin = 0 if more else 12  # tcprewrite 4.4 gives all of IPv6's packets multicast MAC addresses
    assert {name: frame[begin:] for name, frame in zip(sorted(names), made, strict=True)} == {
        name: frame[begin:] for name, frame in zip(sorted(names), theirs, strict=True)
    }


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("left", [0, 1])
def test_on_the_way_a_checksum_covers_the_last_destination(left, version):
    """RFC 8200 §8.1, and RFC 791 §3.1: a pointer behind the route is at its end."""
    way = IPv6ExtHdrRouting(addresses=["fe80::9"], segleft=left)
    route = IPOption_LSRR(routers=["9.9.9.9"], pointer=4 if left else 8)
    if version == 6:
        old, new = (IPv6(src="fe80::1", dst=dst) / way for dst in ("2001:db8::2", "fd00:1::2"))
    else:
        old, new = (IP(dst=dst, options=[route]) for dst in ("10.1.2.3", "172.16.5.3"))
    frame, wanted = (bytes(Ether(**MACS) / each / UDP(sport=1) / LOAD) for each in (old, new))
    (done,) = rewritten(maps(ports=[]), [frame])
    udp = 8 + len(LOAD)
    assert done[:-udp] == wanted[:-udp]
    changed = done[-udp:] != frame[-udp:]
    assert changed == (not left)
    if changed and version == 6:  # Scapy looks at no pointer of IPv4
        assert done == wanted


@pytest.mark.parametrize("protocol", [33, 136])
def test_dccp_and_udp_lite_cover_the_addresses(protocol):
    def residual(frame):
        body = frame[14 + 20 :]
        return checksum(frame[26:34] + bytes([0, protocol]) + len(body).to_bytes(2) + body)

    header = bytes.fromhex("0400 0009 0000 0000")
    frame = bytearray(bytes(Ether() / IP(**V4, proto=protocol) / Raw(header) / LOAD))
    frame[40:42] = residual(bytes(frame)).to_bytes(2)
    assert residual(bytes(frame)) == 0
    (done,) = rewritten(maps(ports=[]), [bytes(frame)])
    assert done[26:34] == bytes([172, 16, 5, 3, 192, 168, 2, 9])
    assert residual(done) == 0


def test_the_longest_frame_keeps_its_tag_and_gets_another_id():
    frame = bytes(Ether() / Dot1Q(vlan=5, type=0x88B5)).ljust(65535, b"x")
    (done,) = rewritten(maps([], [], vlan=7), [frame])
    assert done == frame[:15] + b"\x07" + frame[16:]


@pytest.mark.parametrize(("length", "fits"), [(13, 0), (14, 1), (65531, 1), (65532, 0)])
def test_a_frame_that_can_have_no_tag_is_none(length, fits):
    frame = bytes(Ether(**MACS, type=0x88B5)).ljust(length, b"x")[:length]
    (done,) = rewritten(maps([], [], vlan=7), [frame])
    assert len(done) == fits * (length + 4)
    assert done[12:16] == b"\x81\0\0\x07"[: 4 * fits]
