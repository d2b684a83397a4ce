# SPDX-License-Identifier: Apache-2.0
"""What the kernel forwards by: routes, neighbors and interfaces, and news of their changes.

Read as it is here, a table of 100,000 routes takes a second or two, and no library in between.
Reference: rtnetlink(7); uapi/linux/rtnetlink.h, neighbour.h, if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from uspnet.kernel.netlink import (
    ANSWER_BYTES,
    DUMP,
    Attributes,
    Netlink,
    attribute,
    attributes,
    each_attribute,
    messages,
    number,
)

GETLINK, GETROUTE, GETNEIGH = 18, 26, 30
NEWLINK, DELLINK, NEWNEIGH, DELNEIGH = 16, 17, 28, 29
DELNEXTHOP = 105
# RTMGRP_LINK, _NEIGH, _IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE, and the bit of RTNLGRP_NEXTHOP: routes
# go with their next hop object, and nothing else says so.
GROUPS = 0x1 | 0x4 | 0x40 | 0x80 | 0x400 | 1 << 31
RTMSG = struct.Struct("=BBBBBBBBI")  # struct rtmsg
NDMSG = struct.Struct("=BxxxiHBB")  # struct ndmsg
IFINFOMSG = struct.Struct("=BxHiII")
RTNEXTHOP = struct.Struct("=HBBi")  # struct rtnexthop
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH = 1, 4, 5, 6, 9
RTA_TABLE, RTA_VIA, RTA_ENCAP = 15, 18, 22
ENCAPSULATED = -1  # in place of an interface
NDA_DST, NDA_LLADDR = 1, 2
IFLA_ADDRESS, IFLA_IFNAME, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 1, 3, 52, 53
MAIN, LOCAL = 254, 255  # tables
UNICAST, TO_LOCAL, BROADCAST, ANYCAST, MULTICAST, BLACKHOLE, UNREACHABLE, PROHIBIT = range(1, 9)
CLONED, FIB_MATCH, DEAD = 0x200, 0x2000, 0x1
KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # NUD_REACHABLE to PROBE, NOARP, PERMANENT
NEWS_BYTES = 4 << 20
SIZES = {socket.AF_INET: 4, socket.AF_INET6: 16}

Neighbors = dict[tuple[int, bytes], bytes]  # MAC addresses, by an interface's index and an address


@dataclass(frozen=True, slots=True)
class Way:
    """One next hop of a route. `via`: a gateway's address; None: packets are for the link."""

    ifindex: int
    via: bytes | None


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route. `kind`: UNICAST and others; `rank`: the lowest one counts for a prefix."""

    address: bytes
    length: int
    kind: int
    rank: tuple[bool, int]
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Link:
    """An interface."""

    name: str
    ifindex: int
    mac: bytes


def routes(netlink: Netlink, longest: int = 128) -> Iterator[KernelRoute]:
    """Return the routes of the tables main and local, of both families, for prefixes of up to
    `longest` bits. Raises OSError.
    """
    for message in netlink.ask(GETROUTE, RTMSG.pack(0, *[0] * 8), DUMP):
        family, length, source, tos, table, _, _, kind, flags = RTMSG.unpack_from(message)
        size = SIZES.get(family)
        if not size or length > longest or source or tos or flags & CLONED:
            continue
        found = attributes(message, RTMSG.size)
        table = number(found, RTA_TABLE) or table
        if table in {MAIN, LOCAL}:
            yield KernelRoute(
                found.get(RTA_DST, b"").ljust(size, b"\0"),
                length,
                kind,
                (table != LOCAL, number(found, RTA_PRIORITY)),
                tuple(_ways(found, flags)),
            )


def length_for(netlink: Netlink, address: bytes) -> int | None:
    """Return the length of the prefix that the kernel sends packets to an address by; None: it
    sends none.
    """
    family = next(family for family, size in SIZES.items() if size == len(address))
    body = RTMSG.pack(family, 8 * len(address), *[0] * 6, FIB_MATCH) + attribute(RTA_DST, address)
    try:
        lengths = [int(RTMSG.unpack_from(each)[1]) for each in netlink.ask(GETROUTE, body)]
    except OSError:
        return None
    return lengths[0] if lengths else None


def _ways(found: Attributes, flags: int) -> Iterator[Way]:
    """Return the next hops that are not dead. What encapsulates packets leads to no interface."""
    if several := found.get(RTA_MULTIPATH):
        at = 0
        while at + RTNEXTHOP.size <= len(several):
            size, flags, _, ifindex = RTNEXTHOP.unpack_from(several, at)
            own = attributes(several[at + RTNEXTHOP.size : at + size])
            if not flags & DEAD:
                yield Way(ENCAPSULATED if RTA_ENCAP in own else ifindex, _gateway(own))
            at += max(-(-size // 4) * 4, RTNEXTHOP.size)
    elif not flags & DEAD:
        yield Way(ENCAPSULATED if RTA_ENCAP in found else number(found, RTA_OIF), _gateway(found))


def _gateway(found: Attributes) -> bytes | None:
    """Return a gateway's address; an IPv4 route may have one of IPv6."""
    return found.get(RTA_GATEWAY) or found.get(RTA_VIA, b"")[2:] or None


def neighbors(netlink: Netlink) -> Neighbors:
    """Return the MAC addresses that are known. Raises OSError."""
    known = {}
    for message in netlink.ask(GETNEIGH, NDMSG.pack(0, 0, 0, 0, 0), DUMP):
        _, ifindex, state, _, _ = NDMSG.unpack_from(message)
        found = attributes(message, NDMSG.size)
        mac = found.get(NDA_LLADDR, b"")
        if state & KNOWN and len(mac) == 6 and not mac[0] & 1 and any(mac):
            known[ifindex, found.get(NDA_DST, b"")] = mac
    return known


def links(netlink: Netlink) -> dict[str, Link]:
    """Return the interfaces by their names, alternative ones too. Raises OSError."""
    known: dict[str, Link] = {}
    for message in netlink.ask(GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0), DUMP):
        _, _, ifindex, _, _ = IFINFOMSG.unpack_from(message)
        found = attributes(message, IFINFOMSG.size)
        names = [found.get(IFLA_IFNAME, b""), *_alternatives(found.get(IFLA_PROP_LIST, b""))]
        texts = [os.fsdecode(name.rstrip(b"\0")) for name in names]
        known |= dict.fromkeys(texts, Link(texts[0], ifindex, found.get(IFLA_ADDRESS, b"")))
    return known


def _alternatives(properties: bytes) -> Iterator[bytes]:
    return (name for kind, name in each_attribute(properties) if kind == IFLA_ALT_IFNAME)


class News:
    """Notifications: that something has changed, and whether that is more than a neighbor."""

    def __init__(self) -> None:
        """Raise OSError."""
        self.early = False  # something was told that the kernel may not have done yet
        self.netlink = Netlink(groups=GROUPS)
        self.netlink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NEWS_BYTES)
        self.netlink.socket.setblocking(False)

    def fileno(self) -> int:
        """Return what becomes readable."""
        return self.netlink.socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self.netlink.socket.close()

    def read(self) -> tuple[bool, bool]:
        """Return whether neighbors have changed, and whether something else has, too. What was
        lost, for want of room, may have been anything.
        """
        near = far = False
        while True:
            try:
                data = self.netlink.socket.recv(ANSWER_BYTES)
            except BlockingIOError:
                return near, far
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                near = far = True
                continue
            for kind, _ in messages(data):
                near = near or kind in {NEWNEIGH, DELNEIGH}
                far = far or kind not in {NEWNEIGH, DELNEIGH}
                self.early = self.early or kind == DELNEXTHOP
