# SPDX-License-Identifier: Apache-2.0
"""What an interface's driver can do with XDP, and which program it has, by netlink.

Reference: Linux Documentation/netlink/specs/netdev.yaml; uapi/linux/{netdev,if_link}.h.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
NLM_F_REQUEST, NLMSG_ERROR = 1, 2
CTRL, CTRL_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
DEV_GET, DEV_IFINDEX, DEV_FEATURES, DEV_ZERO_COPY_PIECES = 1, 1, 3, 4
RTM_GETLINK, IFLA_XDP, XDP_PROG_ID = 18, 43, 4
NESTED = 0x3FFF  # the type of an attribute without its flags
BUFFER = 1 << 17
BASIC, REDIRECT, ZERO_COPY, RX_PIECES = 1, 2, 8, 32

Attributes = dict[int, bytes]


@dataclass(frozen=True)
class Features:
    """What a driver offers. `pieces`: receives frames that take several buffers."""

    native: bool
    zero_copy: bool
    pieces: bool


def features(ifindex: int) -> Features | None:
    """Return what the driver of an interface offers; None: the kernel is older than 6.3."""
    try:
        family = _generic(CTRL, CTRL_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")
        (number,) = struct.unpack("=H", family[CTRL_ATTR_FAMILY_ID])
        told = _generic(number, DEV_GET, DEV_IFINDEX, struct.pack("=I", ifindex))
        (bits,) = struct.unpack("=Q", told[DEV_FEATURES])
    except (OSError, KeyError, struct.error):
        return None
    native = bits & (BASIC | REDIRECT) == BASIC | REDIRECT
    return Features(native, bool(bits & ZERO_COPY), bool(bits & RX_PIECES))


def program(ifindex: int) -> int:
    """Return the id of the XDP program that is attached to an interface; 0: none, or unknown."""
    try:
        head = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, ifindex, 0, 0)  # struct ifinfomsg
        told = _ask(NETLINK_ROUTE, RTM_GETLINK, head)[len(head) :]
        nested = _attributes(_attributes(told).get(IFLA_XDP, b""))
        return int(struct.unpack("=I", nested[XDP_PROG_ID])[0])
    except (OSError, KeyError, struct.error):
        return 0


def _generic(family: int, command: int, kind: int, value: bytes) -> Attributes:
    head = struct.pack("=BBH", command, 1, 0)  # struct genlmsghdr
    size = 4 + len(value)
    attribute = struct.pack("=HH", size, kind) + value.ljust(-(-len(value) // 4) * 4, b"\0")
    return _attributes(_ask(NETLINK_GENERIC, family, head + attribute)[len(head) :])


def _ask(protocol: int, kind: int, body: bytes) -> bytes:
    """Send a request, and return the body of the answer. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST, 1, 0) + body)
        answer = sock.recv(BUFFER)
    size, kind, _, _, _ = struct.unpack_from("=IHHII", answer)
    if kind == NLMSG_ERROR:
        raise OSError(-struct.unpack_from("=i", answer, 16)[0], "netlink")
    return answer[16:size]


def _attributes(data: bytes) -> Attributes:
    found: Attributes = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        found[kind & NESTED] = data[4:size]
        data = data[max(-(-size // 4) * 4, 4) :]
    return found
