# SPDX-License-Identifier: Apache-2.0
"""What the drivers of interfaces can do with XDP, and which program an interface has, by netlink.

Reference: Linux Documentation/netlink/specs/netdev.yaml; uapi/linux/netdev.h, netlink.h,
genetlink.h, if_link.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from uspnet.kernel.netlink import ACK, DUMP, Netlink, attribute, attributes, number

NETLINK_GENERIC, GENLMSGHDR = 16, 4  # bytes of struct genlmsghdr
CONTROL, GET_FAMILY, FAMILY_ID, FAMILY_NAME = 16, 3, 1, 2
DEV_GET, IFINDEX, XDP_FEATURES, XDP_RX_METADATA = 1, 1, 3, 5
QUEUE_GET, QUEUE_IFINDEX, QUEUE_TYPE, RX, TX = 10, 2, 3, 0, 1
BASIC, REDIRECT, ZERO_COPY, RX_PIECES = 1, 2, 8, 32
VLAN_TAG = 4
GETLINK, IFINFOMSG, IFLA_XDP, IFLA_XDP_PROG_ID = 18, 16, 43, 4

Mode = Literal["zero-copy", "copy", "generic"]


@dataclass(frozen=True)
class Features:
    """What a driver offers. `pieces`: receives frames that take several buffers. `tags`: tells a
    program the VLAN tag that was taken out of a frame.
    """

    native: bool
    zero_copy: bool
    pieces: bool
    tags: bool = False

    @property
    def mode(self) -> Mode:
        """Return the fastest mode of `xdp:`."""
        if not self.native:
            return "generic"
        return "zero-copy" if self.zero_copy else "copy"


def features(ifindex: int = 0) -> dict[int, Features]:
    """Return what each interface's driver offers, or that of one of them, by index; nothing if the
    kernel is older than 6.3.
    """
    try:
        return dict(_features(ifindex))
    except (OSError, ValueError):  # ValueError: an answer is not there
        return {}


def _features(ifindex: int) -> Iterator[tuple[int, Features]]:
    netlink = Netlink(NETLINK_GENERIC)
    with netlink.socket:
        family = _family(netlink, "netdev")
        one = attribute(IFINDEX, struct.pack("=I", ifindex)) if ifindex else b""
        body = struct.pack("=BBH", DEV_GET, 1, 0) + one
        for answer in netlink.ask(family, body, ACK if one else DUMP):
            device = attributes(answer, GENLMSGHDR)
            bits = number(device, XDP_FEATURES)
            native = bits & (BASIC | REDIRECT) == BASIC | REDIRECT
            tags = bool(number(device, XDP_RX_METADATA) & VLAN_TAG)
            offers = Features(native, bool(bits & ZERO_COPY), bool(bits & RX_PIECES), tags)
            yield number(device, IFINDEX), offers


def queues(ifindex: int) -> tuple[int, int] | None:
    """Return how many receive and transmit queues an interface uses; None: it is down, or the
    kernel older than 6.8.
    """
    body = struct.pack("=BBH", QUEUE_GET, 1, 0)
    body += attribute(QUEUE_IFINDEX, struct.pack("=I", ifindex))
    try:
        netlink = Netlink(NETLINK_GENERIC)
        with netlink.socket:
            rows = list(netlink.ask(_family(netlink, "netdev"), body, DUMP))
    except (OSError, ValueError):
        return None
    kinds = [number(attributes(row, GENLMSGHDR), QUEUE_TYPE) for row in rows]
    return (kinds.count(RX), kinds.count(TX)) if RX in kinds and TX in kinds else None


def _family(netlink: Netlink, name: str) -> int:
    """Return the number of a generic family. Raises OSError."""
    asked = attribute(FAMILY_NAME, name.encode() + b"\0")
    (found,) = netlink.ask(CONTROL, struct.pack("=BBH", GET_FAMILY, 1, 0) + asked)
    return number(attributes(found, GENLMSGHDR), FAMILY_ID)


def program(ifindex: int) -> int:
    """Return the id of the XDP program that is attached to an interface; 0: none, or unknown."""
    netlink = Netlink()
    with netlink.socket:
        try:
            (link,) = netlink.ask(GETLINK, struct.pack("=BxHiII", 0, 0, ifindex, 0, 0))
        except (OSError, ValueError):  # ValueError: there is no answer, or no single one
            return 0
    xdp = attributes(link, IFINFOMSG).get(IFLA_XDP, b"")
    return number(attributes(xdp), IFLA_XDP_PROG_ID)
