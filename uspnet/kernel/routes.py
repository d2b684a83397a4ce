# SPDX-License-Identifier: Apache-2.0
"""Which interfaces the default routes need, of the network namespace that this thread is in: by
netlink, quick to ask, and no privilege.

Only the main table is looked at; `uspnet bind` looks at all of them.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress

from uspnet.kernel import fib
from uspnet.kernel.netlink import DUMP, Netlink, attributes, number

GETLINK, IFINFOMSG = 18, 16
UNKNOWN = 0  # the number of no interface
IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINK_NETNSID = 3, 5, 10, 37


def carries_default_route(name: str) -> str:
    """Return the interface that makes the default route need `name`, which may be an alternative
    one: itself, or one on top of it (a bridge, bond or VLAN). Return "" when there is none.
    """
    with suppress(OSError, ValueError), closing((netlink := Netlink()).socket):
        index, needed = socket.if_nametoindex(name), _default_routes(netlink)
        if not needed:
            return ""
        names, on_top = _links(netlink)
        if UNKNOWN in needed:
            return names.get(index, "")
        return next((names.get(each, "") for each in _upwards(index, on_top) if each in needed), "")
    return ""


def _default_routes(netlink: Netlink) -> set[int]:
    """Return the numbers of the interfaces that default routes of both families leave by; UNKNOWN
    where the kernel names none: next hop objects may hide it (net.ipv4.nexthop_compat_mode=0).
    """
    found = (route for route in fib.routes(netlink, longest=0) if route.kind == fib.UNICAST)
    return {way.ifindex for route in found for way in route.ways}


def _upwards(index: int, on_top: dict[int, set[int]]) -> Iterator[int]:
    """Return an interface and all on top of it."""
    seen, todo = {index}, [index]
    while todo:
        yield (each := todo.pop())
        uppers = on_top.get(each, set()) - seen
        todo += uppers
        seen |= uppers


def _links(netlink: Netlink) -> tuple[dict[int, str], dict[int, set[int]]]:
    """Return names of interfaces, and what is on top of each: what it is a port of, and what was
    made on it.
    """
    names: dict[int, str] = {}
    pairs: set[tuple[int, int]] = set()  # below, above
    for link in netlink.ask(GETLINK, bytes(IFINFOMSG), DUMP):
        index, found = struct.unpack_from("=i", link, 4)[0], attributes(link, IFINFOMSG)
        names[index] = os.fsdecode(found.get(IFLA_IFNAME, b"").rstrip(b"\0"))
        if IFLA_MASTER in found:
            pairs.add((index, number(found, IFLA_MASTER)))
        if IFLA_LINK in found and IFLA_LINK_NETNSID not in found:
            pairs.add((number(found, IFLA_LINK), index))
    above: dict[int, set[int]] = {}
    for lower, upper in pairs:
        if (upper, lower) not in pairs:  # else the two ends of a cable
            above.setdefault(lower, set()).add(upper)
    return names, above
