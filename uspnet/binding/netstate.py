# SPDX-License-Identifier: Apache-2.0
"""The machine's network configuration as plain data: what `netlink` reads, and tests make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

# What the kernel sent, as JSON can hold it: a message's fields, and under "attrs" its attributes.
Message = dict[str, Any]
Chain = tuple[str, ...]  # interface names from the NIC upwards: ("eth0", "bond0", "br0")

MAIN_TABLE, LOCAL_TABLE = 254, 255
PROTO_KERNEL = 2  # a route that the kernel made from an address
TYPE_UNICAST = 1
IPV4, IPV6 = 2, 10  # AF_INET, AF_INET6


@dataclass(frozen=True)
class Link:
    """A network interface."""

    index: int
    name: str
    kind: str = ""  # "vlan", "bond", …; empty for hardware
    up: bool = False
    carrier: bool = False
    master: int = 0  # the bond, bridge, team or VRF that it is enslaved to
    lower: int = 0  # the interface that a VLAN or macvlan stands on
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
        """Does it reach further than the link?"""
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
        """Is it a default route?"""
        return self.destination == "default" and self.type == TYPE_UNICAST

    @property
    def follows_address(self) -> bool:
        """Did the kernel make it for an address, so that it comes back with the address?"""
        return self.proto == PROTO_KERNEL or self.table == LOCAL_TABLE


@dataclass(frozen=True)
class Nexthop:
    """A nexthop object: one way out, or a group of other objects."""

    id: int
    out: int = 0
    members: tuple[int, ...] = ()
    raw: Message = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A policy rule that names an interface."""

    interface: str
    table: int
    direction: str = "iif"


@dataclass(frozen=True)
class NetState:
    """One look at everything. `lookups`: the interface that the kernel would send through to reach
    a peer. `foreign`: interfaces in other network namespaces, as (lower index, name).
    """

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    nexthops: tuple[Nexthop, ...] = ()
    rules: tuple[Rule, ...] = ()
    lookups: Mapping[str, int] = field(default_factory=dict)
    foreign: tuple[tuple[int, str], ...] = ()

    def link(self, name: str) -> Link | None:
        """The interface of this name."""
        return next((link for link in self.links if link.name == name), None)

    def above(self, link: Link) -> list[Link]:
        """What stands directly on an interface: its master, its VLANs and macvlans."""
        return [
            other
            for other in self.links
            if other.index != link.index
            and (other.index == link.master or other.lower == link.index)
        ]

    def chains(self, names: tuple[str, ...]) -> dict[int, Chain]:
        """Everything that stands on these, themselves included: index → shortest chain."""
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
        """The interfaces that a route leads through, nexthop objects and their groups included."""
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
