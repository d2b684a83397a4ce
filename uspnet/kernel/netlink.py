# SPDX-License-Identifier: Apache-2.0
"""Netlink messages as they are, for what pyroute2 does not know, and what it takes too long for.

Reference: netlink(7); uapi/linux/netlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

NETLINK_ROUTE = 0
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3  # types of messages
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
NESTED = 0x8000
ANSWER_BYTES = 1 << 16
ANSWER_S = 5.0

Attributes = dict[int, bytes]


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as a message has it."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def each_attribute(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Return types and values of the attributes from `at` on."""
    while at + 4 <= len(data):
        size, kind = ATTRIBUTE.unpack_from(data, at)
        yield kind & ~NESTED, data[at + 4 : at + size]
        at += max(-(-size // 4) * 4, 4)


def attributes(data: bytes, at: int = 0) -> Attributes:
    """Return the attributes from `at` on, by their types."""
    return dict(each_attribute(data, at))


def number(found: Attributes, kind: int) -> int:
    """Return an attribute that is a number; 0: it is not there."""
    return int.from_bytes(found.get(kind, b""), "little")


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the type of each message that was received, and what follows its header."""
    at = 0
    while at + HEADER.size <= len(data):
        size, kind, *_ = HEADER.unpack_from(data, at)
        yield kind, data[at + HEADER.size : at + size]
        at += max(-(-size // 4) * 4, HEADER.size)


class Netlink:
    """A netlink socket. `groups`: bits of those whose notifications it gets. Raises OSError."""

    def __init__(self, protocol: int = NETLINK_ROUTE, groups: int = 0) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.socket.settimeout(ANSWER_S)
        if groups:
            self.socket.bind((0, groups))

    def ask(self, kind: int, body: bytes, flags: int = ACK) -> Iterator[bytes]:
        """Send a request, and return what follows the header of each answer. Raises OSError."""
        self.socket.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)
        while True:
            for answered, answer in messages(self.socket.recv(ANSWER_BYTES)):
                if answered == DONE:
                    return
                if answered == ERROR:
                    (error,) = struct.unpack_from("=i", answer)
                    if error:
                        raise OSError(-error, os.strerror(-error))
                    return
                yield answer
