# SPDX-License-Identifier: Apache-2.0
"""What the drivers of interfaces can do with XDP, and which program an interface has, by netlink.

Reference: Linux Documentation/netlink/specs/netdev.yaml; uapi/linux/netdev.h, netlink.h,
genetlink.h, if_link.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3  # types of messages
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
NESTED = 0x8000
CONTROL, GET_FAMILY, FAMILY_ID, FAMILY_NAME = 16, 3, 1, 2
DEV_GET, IFINDEX, XDP_FEATURES = 1, 1, 3
BASIC, REDIRECT, ZERO_COPY, RX_PIECES = 1, 2, 8, 32
GETLINK, IFINFOMSG, IFLA_XDP, IFLA_XDP_PROG_ID = 18, 16, 43, 4
ANSWER_BYTES = 1 << 16
ANSWER_S = 5.0

Mode = Literal["zero-copy", "copy", "generic"]
Attributes = dict[int, bytes]


@dataclass(frozen=True)
class Features:
    """What a driver offers. `pieces`: receives frames that take several buffers."""

    native: bool
    zero_copy: bool
    pieces: bool

    @property
    def mode(self) -> Mode:
        """Return the fastest mode of `xdp:`."""
        if not self.native:
            return "generic"
        return "zero-copy" if self.zero_copy else "copy"


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Attributes:
    """Return attributes by their types."""
    found, at = {}, 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        found[kind & ~NESTED] = data[at + 4 : at + size]
        at += max(-(-size // 4) * 4, 4)
    return found


def _number(attributes: Attributes, kind: int) -> int:
    return int.from_bytes(attributes.get(kind, b""), "little")


class _Netlink:
    """A netlink socket. `skips`: bytes of the header that its messages have beside the common one.
    Raises OSError.
    """

    def __init__(self, protocol: int, skips: int) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.socket.settimeout(ANSWER_S)
        self.skips = HEADER.size + skips

    def ask(self, kind: int, body: bytes, flags: int = ACK) -> Iterator[Attributes]:
        """Send a request, and return the attributes of each answer. Raises OSError."""
        self.socket.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)
        while True:
            data = self.socket.recv(ANSWER_BYTES)
            while len(data) >= HEADER.size:
                size, kind, *_ = HEADER.unpack_from(data)
                if kind == DONE:
                    return
                if kind == ERROR:
                    (error,) = struct.unpack_from("=i", data, HEADER.size)
                    if error:
                        raise OSError(-error, os.strerror(-error))
                    return
                yield _attributes(data[self.skips : size])
                data = data[max(-(-size // 4) * 4, HEADER.size) :]

    def family(self, name: str) -> int:
        """Return the number of a generic family. Raises OSError."""
        asked = _attribute(FAMILY_NAME, name.encode() + b"\0")
        body = struct.pack("=BBH", GET_FAMILY, 1, 0) + asked
        (found,) = self.ask(CONTROL, body)
        return _number(found, FAMILY_ID)


def features(ifindex: int = 0) -> dict[int, Features]:
    """Return what each interface's driver offers, or that of one of them, by index; nothing if the
    kernel is older than 6.3.
    """
    try:
        return dict(_features(ifindex))
    except (OSError, ValueError):  # ValueError: an answer is not there
        return {}


def _features(ifindex: int) -> Iterator[tuple[int, Features]]:
    netlink = _Netlink(NETLINK_GENERIC, 4)
    with netlink.socket:
        family = netlink.family("netdev")
        one = _attribute(IFINDEX, struct.pack("=I", ifindex)) if ifindex else b""
        body = struct.pack("=BBH", DEV_GET, 1, 0) + one
        for device in netlink.ask(family, body, ACK if one else DUMP):
            bits = _number(device, XDP_FEATURES)
            native = bits & (BASIC | REDIRECT) == BASIC | REDIRECT
            offers = Features(native, bool(bits & ZERO_COPY), bool(bits & RX_PIECES))
            yield _number(device, IFINDEX), offers


def program(ifindex: int) -> int:
    """Return the id of the XDP program that is attached to an interface; 0: none, or unknown."""
    netlink = _Netlink(NETLINK_ROUTE, IFINFOMSG)
    with netlink.socket:
        try:
            (link,) = netlink.ask(GETLINK, struct.pack("=BxHiII", 0, 0, ifindex, 0, 0))
        except (OSError, ValueError):  # ValueError: there is no answer, or no single one
            return 0
    return _number(_attributes(link.get(IFLA_XDP, b"")), IFLA_XDP_PROG_ID)
