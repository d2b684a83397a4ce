# SPDX-License-Identifier: Apache-2.0
"""Packets that are not Ethernet, FCS, old versions: what becomes of each."""

from __future__ import annotations

import struct

import pytest

from tests.support.pcap_rig import (
    FRAMES,
    STAMPS,
    Piped,
    Reader,
    block,
    classic,
    enhanced,
    interface,
    option,
    read,
    section,
)
from uspnet.fastpath import lib

IP4, IP6 = b"\x45" + bytes(27), b"\x60" + bytes(51)
DST, SRC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SENDER = bytes.fromhex("0a0b0c0d0e0f")
COOKED = struct.pack("!HHH6s2sH", 0, 1, 6, SENDER, b"", 0x0800)
COOKED2 = struct.pack("!HHIHBB6s2s", 0x86DD, 0, 3, 1, 0, 6, SENDER, b"")


def made(link: int, packet: bytes, *, source: bytes = b"", drop: bool = False) -> bytes:
    """The frame that a packet of that link type becomes."""
    reader = Reader(section("<") + interface("<", link=link) + enhanced("<", 7, packet))
    reader.c.make_ethernet, reader.c.source_given = 1, bool(source)
    reader.c.macs = DST + source if source else DST + bytes(6)
    found = reader.all()
    assert reader.counters.drops[lib.DROP_NOT_ETHERNET] == (len(found) == 0) == drop
    if drop:
        return b""
    assert reader.wire == [len(found[0][1])]
    reader.close()
    return found[0][1]


@pytest.mark.parametrize(
    ("link", "header", "kind", "payload"),
    [
        *((link, b"", 0x0800, IP4) for link in (12, 14, 101, 228)),
        *((link, b"", 0x86DD, IP6) for link in (12, 14, 101, 229)),
        *((0, struct.pack("<I", af), 0x86DD, IP6) for af in (10, 23, 24, 28, 30)),
        (0, struct.pack(">I", 2), 0x0800, IP4),
        (0, struct.pack("<I", 2), 0x0800, IP4),
        (108, struct.pack(">I", 24), 0x86DD, IP6),
        (9, b"\xff\x03\x00\x21", 0x0800, IP4),
        (9, b"\x00\x57", 0x86DD, IP6),
        (9, b"\x21", 0x0800, IP4),
        (9, b"\x0f\x00\x08\x00", 0x0800, IP4),
        (9, b"\x8f\x00\x86\xdd", 0x86DD, IP6),
        (113, struct.pack("!HHH8xH", 0, 778, 0, 0x86DD), 0x86DD, IP6),
        (276, struct.pack("!HHIHBB8x", 0x0800, 0, 3, 778, 0, 0), 0x0800, IP4),
        (50, b"\xff\x03\x00\x21", 0x0800, IP4),
        (50, b"\x0f\x00\x08\x00", 0x0800, IP4),
        (104, b"\x8f\x00\x86\xdd", 0x86DD, IP6),
        (166, b"\x01\x03\x00\x57", 0x86DD, IP6),
        (204, b"\x00\xff\x03\x00\x21", 0x0800, IP4),
        (204, b"\x01\x21", 0x0800, IP4),
        (205, b"\x01\x0f\x00\x08\x00", 0x0800, IP4),
        (51, b"", 0x8864, b"\x11\x00\x00\x01\x00\x04\x00\x21" + IP4),
        (51, b"", 0x8863, b"\x11\x09\x00\x00\x00\x00"),
    ],
)
def test_headers_say_what_the_link_said(
    link: int, header: bytes, kind: int, payload: bytes
) -> None:
    front = DST + bytes(6) + struct.pack("!H", kind)
    assert made(link, header + payload) == front + payload
    front = DST + SRC + struct.pack("!H", kind)
    assert made(link, header + payload, source=SRC) == front + payload


@pytest.mark.parametrize(("link", "header"), [(113, COOKED), (276, COOKED2)])
def test_cooked_headers_keep_their_sender(link: int, header: bytes) -> None:
    kind = b"\x08\x00" if link == 113 else b"\x86\xdd"
    assert made(link, header + IP4) == DST + SENDER + kind + IP4
    assert made(link, header + IP4, source=SRC) == DST + SRC + kind + IP4


def test_cooked_802_2_gets_a_length() -> None:
    header = struct.pack("!HHH6s2sH", 0, 1, 6, SENDER, b"", 4)
    assert made(113, header + bytes(50)) == DST + SENDER + struct.pack("!H", 50) + bytes(50)


@pytest.mark.parametrize(
    ("link", "packet"),
    [
        (101, b"\x15" + bytes(30)),
        (101, b""[:0] + b"\0"),
        (0, struct.pack("<I", 99) + IP4),
        (0, b"\2\0\0\0"),
        (9, b"\xc0\x21\1\2\3"),
        (9, b"\xff\x03\xc0\x21\1\2\3"),
        (113, COOKED[:15]),
        *(
            (113, struct.pack("!HHH8xH", 0, kind, 0, protocol) + IP4)
            for kind in (770, 801, 802, 803, 824)
            for protocol in (0x0800, 4)
        ),
        (113, struct.pack("!HHH6s2sH", 0, 1, 6, SENDER, b"", 1) + IP4),
        (276, COOKED2),
        (147, bytes(60)),
        (105, bytes(60)),
    ],
)
def test_what_says_no_ethertype_is_left_out(link: int, packet: bytes) -> None:
    made(link, packet, drop=True)


@pytest.mark.parametrize("piped", [False, True])
def test_other_link_types_are_left_out_by_name(piped: bool) -> None:
    data = section("<") + interface("<", link=113) + interface("<")
    for number in (0, 1, 0, 1, 0):
        data += enhanced("<", 5, FRAMES[1], number)
    reader = Piped(data, 50) if piped else Reader(data)
    assert reader.all() == [(5, FRAMES[1])] * 2
    assert reader.counters.drops[lib.DROP_NOT_ETHERNET] == reader.c.foreign == 3
    assert (reader.c.link_type, reader.counters.dropped) == (113, 3)
    reader.close()


@pytest.mark.parametrize(
    ("flags", "fcs"), [(0, 0), (0x24000000, 4), (0x14000000, 2), (0x20000000, 0), (0x04000000, 0)]
)
@pytest.mark.parametrize("order", "<>")
def test_an_fcs_of_a_pcap_file_is_taken_off(order: str, flags: int, fcs: int) -> None:
    found, reader = read(classic(order, 0xA1B23C4D, 1 | flags))
    kept = [frame[: len(frame) - fcs] for frame in FRAMES]
    assert found == list(zip(STAMPS, kept, strict=True))
    assert reader.wire == list(map(len, kept))


@pytest.mark.parametrize(("said", "fcs"), [(4, 4), (32, 4), (16, 2), (2, 2), (0, 0)])
def test_an_fcs_of_an_interface_is_taken_off(said: int, fcs: int) -> None:
    data = section("<") + interface("<", options=option("<", 13, bytes([said])))
    for wire, kept, left in ((60, 60, 60 - fcs), (64, 60, min(60, 64 - fcs)), (90, 60, 60)):
        found, reader = read(data + enhanced("<", 1, bytes(kept), wire=wire))
        assert (len(found[0][1]), reader.wire) == (left, [wire - fcs])


@pytest.mark.parametrize("order", "<>")
def test_flags_of_a_packet_overrule_its_interface(order: str) -> None:
    data = section(order) + interface(order, options=option(order, 13, b"\4"))
    for flags, left in ((0, 56), (2 << 5 | 1, 58), (1, 56)):
        options = option(order, 1, b"a comment") + option(order, 2, struct.pack(order + "I", flags))
        assert len(read(data + enhanced(order, 1, bytes(60), options=options))[0][0][1]) == left


def record(first: int, second: int, data: bytes) -> bytes:
    return struct.pack("<IIII", 1, 0, first, second) + data


@pytest.mark.parametrize(
    ("version", "lengths", "wire"),
    [
        ((2, 4), (60, 100), 100),
        ((2, 3), (60, 100), 100),
        ((2, 3), (100, 60), 100),
        ((2, 2), (100, 60), 60),
        ((2, 1), (100, 60), 60),
        ((2, 0), (60, 60), 60),
        ((543, 0), (100, 60), 60),
    ],
)
def test_old_versions_swapped_their_lengths(
    version: tuple[int, int], lengths: tuple[int, int], wire: int
) -> None:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, *version, 0, 0, 262144, 1)
    data += record(*lengths, FRAMES[0]) + record(*lengths, bytes(60))
    found, reader = read(data)
    assert [frame for _, frame in found] == [FRAMES[0], bytes(60)]
    assert reader.wire == [wire, wire]


@pytest.mark.parametrize(("minor", "packets"), [(0, 1), (1, 0), (2, 1), (3, 0)])
@pytest.mark.parametrize("order", "<>")
def test_only_known_pcapng_versions_are_read(order: str, minor: int, packets: int) -> None:
    body = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, minor, -1)
    data = block(order, 0x0A0D0D0A, body) + interface(order) + enhanced(order, 1, FRAMES[0])
    found, reader = read(data)
    assert (len(found), reader.c.why) == (packets, 0 if packets else lib.PCAP_VERSION)


@pytest.mark.parametrize("wire", [0, 3, 2**32 - 1])
def test_a_wrong_length_on_the_wire_stays_small_or_large(wire: int) -> None:
    packet = enhanced("<", 7, b"\0\0\0\2" + IP4, wire=wire)
    reader = Reader(section("<") + interface("<", link=108) + packet)
    reader.c.make_ethernet = 1
    assert len(reader.all()) == 1
    assert reader.wire == [14 if wire < 4 else 2**32 - 1]
    reader.close()


@pytest.mark.parametrize("version", [(1, 0), (3, 0), (543, 1), (0, 2)])
def test_unknown_versions_are_refused(version: tuple[int, int]) -> None:
    found, reader = read(struct.pack("<IHHiIII", 0xA1B2C3D4, *version, 0, 0, 262144, 1))
    assert (found, reader.c.why) == ([], lib.PCAP_VERSION)


def test_block_lengths_without_their_padding() -> None:
    whole = enhanced("<", 9, FRAMES[1])
    short = struct.pack("<I", len(whole) - 3)
    odd = whole[:4] + short + whole[8:-4] + short
    found, reader = read(section("<") + interface("<") + odd + enhanced("<", 10, FRAMES[0]))
    assert found == [(9, FRAMES[1]), (10, FRAMES[0])]
    assert not reader.c.why


def test_lengths_on_the_wire_travel_beside_the_packets() -> None:
    data = section("<") + interface("<") + enhanced("<", 1, bytes(54), wire=1514)
    assert read(data)[1].wire == [1514]
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 54, 1) + record(54, 9000, bytes(54))
    assert read(data)[1].wire == [9000]
