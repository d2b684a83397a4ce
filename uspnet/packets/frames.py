# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames made without Scapy, and the arithmetic of sizes and rates."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uspnet.errors import Usage
from uspnet.packets.sizes import FCS
from uspnet.pool import FRAME_MAX
from uspnet.text import read_mac
from uspnet.units import RATE_HINT, Rate

if TYPE_CHECKING:
    from scapy.packet import Packet

FRAME_MIN, PREAMBLE_AND_GAP = 60, 20  # bytes
FRAMES_MAX = 16384  # of one expression or file; Scapy makes some thousands a second
BYTES_MAX = 32 << 20  # of all frames of one expression or file
HEADERS = 14 + 20 + 8  # Ethernet, IPv4, UDP
SIGNATURE_BYTES = 18  # sequence number and time, see fastpath/loops/template.h
ETHERTYPE_IPV4, PROTOCOL_UDP, TTL = 0x0800, 17, 64
VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
RATE_MIN, RATE_MAX = 1e-3, 1e12  # packets a second


def mac_bytes(text: str) -> bytes:
    """Read `02:00:00:00:00:01` as six bytes. Raise Usage."""
    try:
        return read_mac(text)
    except ValueError:
        raise Usage(f"{text!r} is not a MAC address", "write it as 02:00:00:00:00:01") from None


def ipv4_bytes(text: str) -> bytes:
    """Read `198.18.0.1` as four bytes. Raise Usage."""
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        raise Usage(f"{text!r} is not an IPv4 address", "write it as 198.18.0.1") from None


def checksum(data: bytes) -> int:
    """Compute the Internet checksum of RFC 1071 over `data`."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Template:
    """A frame to be sent, of which the last `payload` bytes are no headers; `rebuild` makes it with
    other bytes at an offset in them, and all checksums made anew. `packet` returns Scapy's, if it
    made it.
    """

    frame: bytes
    payload: int
    rebuild: Callable[[int, bytes], bytes]
    packet: Callable[[], Packet] | None = None


def udp_template(size: int, *header: Any) -> Template:
    """Make a UDP/IPv4 frame of `size` bytes without FCS. `header`: as for `udp_frame`."""
    if not HEADERS <= size <= FRAME_MAX:
        raise Usage(
            f"a UDP/IPv4 frame has {HEADERS} to {FRAME_MAX} bytes, not {size}",
            f"give a --size of {HEADERS} to {FRAME_MAX}",
        )

    def rebuild(at: int, data: bytes) -> bytes:
        return udp_frame(size, *header, payload=bytes(at - HEADERS) + data)

    return Template(rebuild(HEADERS, b""), size - HEADERS, rebuild)


def udp_frame(  # noqa: PLR0913 - one argument a header field
    size: int,
    src_mac: str,
    dst_mac: str,
    src_ip: str,
    dst_ip: str,
    src_port: int,
    dst_port: int,
    *,
    payload: bytes = b"",
) -> bytes:
    """Build a UDP/IPv4 frame of `size` bytes without FCS; zeros pad its payload."""
    payload = payload.ljust(size - HEADERS, b"\0")
    src, dst = ipv4_bytes(src_ip), ipv4_bytes(dst_ip)
    udp_length = 8 + len(payload)
    udp = struct.pack("!HHHH", src_port, dst_port, udp_length, 0) + payload
    pseudo = src + dst + struct.pack("!BBH", 0, PROTOCOL_UDP, udp_length)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + udp_length, 0, 0x4000, TTL, PROTOCOL_UDP, 0)
    head += src + dst
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    ethernet = mac_bytes(dst_mac) + mac_bytes(src_mac) + struct.pack("!H", ETHERTYPE_IPV4)
    return ethernet + head + udp


def udp_expression(*header: str | int) -> str:
    """Return the Scapy expression of a UDP/IPv4 frame without payload. `header`: as for
    `udp_frame`.
    """
    src_mac, dst_mac, src_ip, dst_ip, src_port, dst_port = header
    return (
        f"Ether(src={src_mac!r},dst={dst_mac!r})/IP(src={src_ip!r},dst={dst_ip!r},id=0,flags='DF')"
        f"/UDP(sport={src_port},dport={dst_port})/Raw(b'')"
    )


def vlan_tags(frame: bytes) -> list[int]:
    """Return the EtherTypes of a frame's VLAN tags, outermost first."""
    tags, at = [], 12
    while (kind := int.from_bytes(frame[at : at + 2], "big")) in VLAN_TAGS:
        tags.append(kind)
        at += 4
    return tags


def l2_bits(octets: float) -> float:
    """Return bits on layer 2: frames without FCS."""
    return octets * 8


def l1_bits(packets: float, octets: float) -> float:
    """Return bits on layer 1: with FCS, preamble and inter-frame gap. Nothing is padded."""
    return (octets + packets * (FCS + PREAMBLE_AND_GAP)) * 8


@dataclass(frozen=True)
class MeanSize:
    """Mean bytes of frames without FCS: as they are, and as NICs pad them on the wire."""

    given: float
    padded: float

    @classmethod
    def of(cls, lengths: Sequence[int], least: int = FRAME_MIN) -> MeanSize:
        """Return that of frames, of which shorter ones are padded to `least`."""
        count = len(lengths)
        return cls(sum(lengths) / count, sum(max(each, least) for each in lengths) / count)


def packets_a_second(
    rate: Rate | None, size: MeanSize, link_bps: float, option: str = "--rate"
) -> float:
    """Convert a rate to packets a second: from bits on layer 2 or layer 1, or from percent of
    `link_bps` on layer 1; 0 is as many as possible, as is None. Raise Usage, which names the
    option.
    """
    if rate is None or rate.unit == "max":
        return 0.0
    pps = rate.value
    if rate.unit == "%":
        pps = rate.value / 100 * link_bps / l1_bits(1, size.padded)
    elif rate.unit == "bps":
        pps = rate.value / l2_bits(size.given)
    elif rate.unit == "l1":
        pps = rate.value / l1_bits(1, size.padded)
    if not RATE_MIN <= pps <= RATE_MAX:
        raise Usage(
            f"{option} is {pps:g} packets a second, and must be {RATE_MIN:g} to {RATE_MAX:g}",
            RATE_HINT,
        )
    return pps
