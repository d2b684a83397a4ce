# SPDX-License-Identifier: Apache-2.0
"""Which interfaces the machine's default routes use, from proc(5): quick to read, and no privilege.

Only the main table is looked at; `uspnet bind` asks netlink for all of them.
"""

from __future__ import annotations

from pathlib import Path

RTF_UP, RTF_REJECT = 0x1, 0x200  # linux/route.h
NET = Path("/proc/thread-self/net")  # of where this thread is
IPV4, IPV6 = NET / "route", NET / "ipv6_route"
INTERFACES = Path("/sys/class/net")


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
    while todo:
        each = todo.pop()
        if each in needed:
            return each
        uppers = {path.name.removeprefix("upper_") for path in (INTERFACES / each).glob("upper_*")}
        todo += uppers - seen
        seen |= uppers
    return ""


def _rows(path: Path) -> list[list[str]]:
    try:
        return [words for line in path.read_text().splitlines() if len(words := line.split()) > 8]
    except OSError:  # no IPv6, or no /proc
        return []


def _usable(flags: str) -> bool:
    return int(flags, 16) & (RTF_UP | RTF_REJECT) == RTF_UP
