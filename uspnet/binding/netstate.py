# SPDX-License-Identifier: Apache-2.0
"""The machine's network configuration as plain data: read by `netlink`, or made up by tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

# A message of the kernel, as JSON can hold it: its fields, and under "attrs" its attributes.
Attribute = Any  # a text, number, list or dict
Message = dict[str, Attribute]
Kept = Mapping[str, Attribute]  # what `collect` keeps
Chain = tuple[str, ...]  # interface names from the NIC upwards: ("eth0", "bond0", "br0")

MAIN_TABLE, LOCAL_TABLE = 254, 255
PROTO_KERNEL = 2  # a route that the kernel made from an address
TYPE_UNICAST = 1
IPV4, IPV6 = 2, 10  # AF_INET, AF_INET6
NUD_STALE, NUD_PERMANENT = 0x04, 0x80
NUD_LEARNED = 0x02 | NUD_STALE | 0x08 | 0x10  # reachable, stale, delay, probe: it has answered


@dataclass(frozen=True)
class Link:
    """A network interface."""

    index: int
    name: str
    kind: str = ""  # "vlan", "bond", …; empty for hardware
    up: bool = False
    carrier: bool = False
    master: int = 0  # the bond, bridge, team or VRF that it is enslaved to
    lower: int = 0  # the interface that a VLAN or macvlan is stacked on
    mac: str = ""
    mtu: int = 1500
    xdp: bool = False  # an XDP program is attached
    raw: Message = field(default_factory=dict)


@dataclass(frozen=True)
class Address:
    """An address of an interface."""

    index: int
    address: str
    prefix: int
    raw: Message = field(default_factory=dict)

    @property
    def is_global(self) -> bool:
        """Whether its scope is wider than the link."""
        parsed = ip_address(self.address)
        return not (parsed.is_link_local or parsed.is_loopback)


@dataclass(frozen=True)
class Route:
    """A route. `outs` are interface indices, several for multipath; `nexthop` names an object."""

    family: int
    destination: str  # "default", "10.0.0.0/8"
    outs: tuple[int, ...] = ()
    table: int = MAIN_TABLE
    nexthop: int = 0
    proto: int = 3
    type: int = TYPE_UNICAST
    raw: Message = field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether it is a default route."""
        return self.destination == "default" and self.type == TYPE_UNICAST

    @property
    def follows_address(self) -> bool:
        """Whether the kernel created it for an address, and will again with the address."""
        return self.proto == PROTO_KERNEL or self.table == LOCAL_TABLE


@dataclass(frozen=True)
class Nexthop:
    """A nexthop object: one interface, or a group of other objects."""

    id: int
    out: int = 0
    members: tuple[int, ...] = ()
    raw: Message = field(default_factory=dict)


@dataclass(frozen=True)
class Neighbor:
    """A neighbor's MAC address on an interface. `state`: NUD_… of linux/neighbour.h."""

    index: int
    address: str
    state: int = NUD_PERMANENT
    raw: Message = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A policy rule that names an interface."""

    interface: str
    table: int
    direction: str = "iif"


@dataclass(frozen=True)
class NetState:
    """The whole configuration at one moment. `lookups`: the interface that the kernel would use to
    send to a peer. `foreign`: interfaces in other network namespaces, as (lower index, name).
    """

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    nexthops: tuple[Nexthop, ...] = ()
    rules: tuple[Rule, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    lookups: Mapping[str, int] = field(default_factory=dict)
    foreign: tuple[tuple[int, str], ...] = ()

    def link(self, name: str) -> Link | None:
        """Return the interface of this name; None if there is none."""
        return next((link for link in self.links if link.name == name), None)

    def above(self, link: Link) -> list[Link]:
        """Return the interfaces stacked directly on one: its master, its VLANs and macvlans."""
        return [
            other
            for other in self.links
            if other.index != link.index
            and (other.index == link.master or other.lower == link.index)
        ]

    def chains(self, names: tuple[str, ...]) -> dict[int, Chain]:
        """Return all interfaces stacked on these, and these: index → shortest chain."""
        found: dict[int, Chain] = {}
        todo: list[tuple[Chain, Link]] = [
            ((name,), link) for name in names if (link := self.link(name))
        ]
        while todo:
            chain, link = todo.pop(0)
            if link.index in found:
                continue
            found[link.index] = chain
            todo += [((*chain, upper.name), upper) for upper in self.above(link)]
        return found

    def ways(self, route: Route) -> set[int]:
        """Return the interfaces that a route uses, also by nexthop objects and their groups."""
        return set(route.outs) | self._nexthop_outs(route.nexthop, set())

    def _nexthop_outs(self, number: int, seen: set[int]) -> set[int]:
        if not number or number in seen:
            return set()
        seen.add(number)
        outs: set[int] = set()
        for nexthop in self.nexthops:
            if nexthop.id == number:
                outs |= {nexthop.out} if nexthop.out else set()
                for member in nexthop.members:
                    outs |= self._nexthop_outs(member, seen)
        return outs
