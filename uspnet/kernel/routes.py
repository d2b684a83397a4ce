# SPDX-License-Identifier: Apache-2.0
"""Which interfaces the default routes use, of the network namespace that this thread is in: from
proc(5) and netlink, quick to read, and no privilege.

Only the main table is looked at; `uspnet bind` asks netlink for all of them.
"""

from __future__ import annotations

import os
import struct
from contextlib import closing, suppress
from pathlib import Path

from uspnet.kernel.netlink import DUMP, Netlink, attributes, number

RTF_UP, RTF_REJECT = 0x1, 0x200  # linux/route.h
NET = Path("/proc/thread-self/net")  # of where this thread is
IPV4, IPV6 = NET / "route", NET / "ipv6_route"
GETLINK, IFINFOMSG = 18, 16
IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINK_NETNSID = 3, 5, 10, 37


def default_route_interfaces() -> set[str]:
    """Return the names of the interfaces that IPv4 and IPv6 default routes leave by."""
    found = set()
    for words in _rows(IPV4)[1:]:  # Iface Destination Gateway Flags RefCnt Use Metric Mask …
        if words[1] == words[7] == "00000000" and _usable(words[3]):
            found.add(words[0])
    for words in _rows(IPV6):  # destination and length, source and length, next hop, …, flags, name
        if words[0] == "0" * 32 and words[1] == "00" and _usable(words[8]):
            found.add(words[9])
    return found - {"lo"}


def carries_default_route(name: str) -> str:
    """Return the interface that makes the default route need `name`: itself, or one on top of it
    (a bridge, bond or VLAN). Return "" when there is none.
    """
    needed, seen, todo = default_route_interfaces(), {name}, [name]
    on_top = _uppers() if needed - {name} else {}
    while todo:
        each = todo.pop()
        if each in needed:
            return each
        uppers = on_top.get(each, set())
        todo += uppers - seen
        seen |= uppers
    return ""


def _uppers() -> dict[str, set[str]]:
    """Return the interfaces on top of each: what it is a port of, and what was made on it."""
    names: dict[int, str] = {}
    pairs: set[tuple[int, int]] = set()  # below, above
    with suppress(OSError, ValueError), closing((netlink := Netlink()).socket):
        for link in netlink.ask(GETLINK, bytes(IFINFOMSG), DUMP):
            index, found = struct.unpack_from("=i", link, 4)[0], attributes(link, IFINFOMSG)
            names[index] = os.fsdecode(found.get(IFLA_IFNAME, b"").rstrip(b"\0"))
            if IFLA_MASTER in found:
                pairs.add((index, number(found, IFLA_MASTER)))
            if IFLA_LINK in found and IFLA_LINK_NETNSID not in found:
                pairs.add((number(found, IFLA_LINK), index))
    above: dict[str, set[str]] = {}
    for lower, upper in pairs:
        if (upper, lower) in pairs:  # the two ends of a cable
            continue
        above.setdefault(names.get(lower, ""), set()).add(names.get(upper, ""))
    return above


def _rows(path: Path) -> list[list[str]]:
    try:
        return [words for line in path.read_text().splitlines() if len(words := line.split()) > 8]
    except OSError:  # no IPv6, or no /proc
        return []


def _usable(flags: str) -> bool:
    return int(flags, 16) & (RTF_UP | RTF_REJECT) == RTF_UP
