# SPDX-License-Identifier: Apache-2.0
"""Route netlink through pyroute2: reading the whole configuration, and sending messages again.

pyroute2 0.9 knows no nexthop objects, so their message is declared here, and RTA_NH_ID with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Self

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg_base

from uspnet.binding.holders import family_of
from uspnet.binding.netstate import (
    IPV4,
    IPV6,
    Address,
    Attribute,
    Link,
    Message,
    Neighbor,
    NetState,
    Nexthop,
    Route,
    Rule,
)
from uspnet.kernel import netns
from uspnet.kernel.interface import IFF_UP
from uspnet.pci.sysfs import HOST
from uspnet.system import processes

IFF_LOWER_UP = 0x10000  # LOWER_UP is the carrier
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
RTM_NEWRULE, RTM_GETRULE = 32, 34
RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
NEXTHOP_GROUP_ENTRY = 8  # bytes: u32 id, u8 weight, and padding


class Octets(nlmsg.hex):  # type: ignore[misc] # pyroute2 has no types
    """Bytes as text, `07:00:…`. pyroute2's own type can't be written."""

    __slots__ = ()

    def encode(self) -> None:
        """Encode the attribute."""
        self["value"] = bytes.fromhex(self["value"].replace(":", ""))
        nlmsg.hex.encode(self)


class NexthopMessage(nlmsg):  # type: ignore[misc]
    """`struct nhmsg` and its attributes (linux/nexthop.h)."""

    __slots__ = ()
    octets = Octets
    prefix = "NHA_"
    fields = (("family", "B"), ("scope", "B"), ("protocol", "B"), ("resvd", "B"), ("flags", "I"))
    nla_map = (
        ("NHA_UNSPEC", "none"),
        ("NHA_ID", "uint32"),
        ("NHA_GROUP", "octets"),
        ("NHA_GROUP_TYPE", "uint16"),
        ("NHA_BLACKHOLE", "flag"),
        ("NHA_OIF", "uint32"),
        ("NHA_GATEWAY", "ipaddr"),
        ("NHA_ENCAP_TYPE", "uint16"),
        ("NHA_ENCAP", "octets"),
    )


class RouteMessage(rtmsg_base, nlmsg):  # type: ignore[misc]
    """`struct rtmsg` with the attributes that came after RTA_EXPIRES (linux/rtnetlink.h)."""

    __slots__ = ()
    nla_map = (
        *(pair for pair in rtmsg_base.nla_map if pair[0] != "RTA_EXPIRES"),
        ("RTA_EXPIRES", "uint32"),
        ("RTA_PAD", "hex"),
        ("RTA_UID", "uint32"),
        ("RTA_TTL_PROPAGATE", "uint8"),
        ("RTA_IP_PROTO", "uint8"),
        ("RTA_SPORT", "hex"),
        ("RTA_DPORT", "hex"),
        ("RTA_NH_ID", "uint32"),
    )


MESSAGES = {
    RTM_NEWLINK: ifinfmsg,
    RTM_NEWADDR: ifaddrmsg,
    RTM_NEWROUTE: RouteMessage,
    RTM_NEWNEIGH: ndmsg,
    RTM_NEWRULE: fibmsg,
    RTM_NEWNEXTHOP: NexthopMessage,
}


class NetlinkSocket:
    """A netlink socket. Use as an async context manager."""

    def __init__(self, namespace: str | None = None) -> None:
        self.ip = AsyncIPRoute(netns=namespace, flags=0)

    async def __aenter__(self) -> Self:
        await self.ip.setup_endpoint()
        self.ip.marshal.msg_map = {**self.ip.marshal.msg_map, **MESSAGES}
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.ip.close()

    async def dump(self, kind: int, message: Any) -> AsyncIterator[Message]:
        """Yield every object of a kind as plain data; none if the kernel lacks the kind."""
        flags = NLM_F_REQUEST | NLM_F_DUMP
        try:
            async for answer in await self.ip.nlm_request(message, kind, flags):
                yield plain(answer)
        except NetlinkError as error:
            if error.code not in {93, 95}:  # EPROTONOSUPPORT, EOPNOTSUPP
                raise

    async def ask(self, kind: int, message: Any) -> Message | None:
        """Send one request. Returns its answer; None for an error."""
        try:
            async for answer in await self.ip.nlm_request(message, kind, NLM_F_REQUEST):
                found: Message = plain(answer)
                return found
        except NetlinkError:
            pass
        return None

    async def send(self, kind: int, message: Message, flags: int) -> None:
        """Send a message as `dump` yields it. Raises NetlinkError."""
        built = MESSAGES[kind]()
        for name, value in message.items():
            built[name] = [tuple(pair) for pair in value] if name == "attrs" else value
        async for _ in await self.ip.nlm_request(built, kind, NLM_F_REQUEST | flags):
            pass


def plain(value: Attribute) -> Attribute:
    """Convert a netlink message to dicts, lists, texts and numbers, without unknown attributes."""
    if isinstance(value, dict):
        attrs = [[name, plain(item)] for name, item in value.get("attrs", ()) if name != "UNKNOWN"]
        drop = {"header", "event", "attrs"}
        kept = {key: plain(item) for key, item in value.items() if key not in drop}
        return {**kept, "attrs": attrs} if "attrs" in value else kept
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex(":")
    return value


def attribute(message: Message, name: str, otherwise: Attribute = None) -> Attribute:
    """Return one attribute of a plain message."""
    return next((value for key, value in message.get("attrs", ()) if key == name), otherwise)


def snapshot(peers: Iterable[str] = (), namespace: str | None = None) -> NetState:
    """Read the whole configuration, and ask the kernel for the route to each peer."""
    return asyncio.run(_snapshot(list(peers), namespace))


async def _snapshot(peers: list[str], namespace: str | None) -> NetState:
    async with NetlinkSocket(namespace) as netlink:
        links = [_link(m) async for m in netlink.dump(RTM_GETLINK, ifinfmsg())]
        addresses = [_address(m) async for m in netlink.dump(RTM_GETADDR, ifaddrmsg())]
        nexthops = [_nexthop(m) async for m in netlink.dump(RTM_GETNEXTHOP, NexthopMessage())]
        routes, rules, neighbors = [], [], []
        for family in (IPV4, IPV6):
            request: Any = RouteMessage()
            request["family"] = family
            routes += [_route(m) async for m in netlink.dump(RTM_GETROUTE, request)]
            request = fibmsg()
            request["family"] = family
            async for message in netlink.dump(RTM_GETRULE, request):
                rules += _rules(message)
            request = ndmsg()
            request["family"] = family
            neighbors += [_neighbor(m) async for m in netlink.dump(RTM_GETNEIGH, request)]
        lookups = {peer: await _lookup(netlink, peer) for peer in peers}
    return NetState(
        tuple(links),
        tuple(addresses),
        tuple(routes),
        tuple(nexthops),
        tuple(rules),
        tuple(neighbors),
        {peer: index for peer, index in lookups.items() if index},
        tuple(await _foreign() if namespace is None else ()),
    )


async def _lookup(netlink: NetlinkSocket, peer: str) -> int:
    family = family_of(peer)
    request = RouteMessage()
    request["family"] = family
    request["dst_len"] = 32 if family == IPV4 else 128
    request["attrs"] = [("RTA_DST", peer)]
    answer = await netlink.ask(RTM_GETROUTE, request)
    return int(attribute(answer, "RTA_OIF", 0)) if answer else 0


async def _foreign() -> list[tuple[int, str]]:
    """Return the interfaces in other network namespaces that are stacked on one of ours, such as a
    container's macvlan. Their IFLA_LINK is our index, and IFLA_LINK_NETNSID is their number of our
    namespace.
    """
    found = []
    ours = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for path in _other_namespaces():
            try:
                async with NetlinkSocket(path) as netlink:
                    number = (await netlink.ip.get_netnsid(fd=ours) or {}).get("nsid")
                    async for message in netlink.dump(RTM_GETLINK, ifinfmsg()):
                        there = attribute(message, "IFLA_LINK_NETNSID")
                        if there is not None and there == number and _kind(message) != "veth":
                            lower = attribute(message, "IFLA_LINK", 0)
                            found.append((lower, attribute(message, "IFLA_IFNAME", "?")))
            except (OSError, NetlinkError):  # it has ended, or no permission
                continue
    finally:
        os.close(ours)
    return found


def _other_namespaces() -> list[str]:
    """Return a path to each network namespace but ours: those of processes, and named ones."""
    found: dict[int, str] = {}  # inode → path
    named = [f"{folder}/{name}" for folder in netns.FOLDERS for name in HOST.names(folder)]
    for path in (*named, *(f"/proc/{pid}/ns/net" for pid in processes.pids())):
        with suppress(OSError):
            found.setdefault(os.stat(path).st_ino, path)
    found.pop(os.stat("/proc/self/ns/net").st_ino, None)
    return list(found.values())


def _kind(message: Message) -> str:
    return str(attribute(attribute(message, "IFLA_LINKINFO", {}), "IFLA_INFO_KIND", ""))


def _link(message: Message) -> Link:
    here = attribute(message, "IFLA_LINK_NETNSID") is None
    kind = _kind(message)
    lower = attribute(message, "IFLA_LINK", 0) if here and kind != "veth" else 0
    return Link(
        message["index"],
        attribute(message, "IFLA_IFNAME", ""),
        kind,
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message["flags"] & IFF_LOWER_UP),
        master=attribute(message, "IFLA_MASTER", 0),
        lower=lower if lower != message["index"] else 0,
        mac=str(attribute(message, "IFLA_ADDRESS", "")).lower(),
        mtu=attribute(message, "IFLA_MTU", 1500),
        xdp=bool(attribute(attribute(message, "IFLA_XDP", {}), "IFLA_XDP_ATTACHED")),
        raw=message,
    )


def _address(message: Message) -> Address:
    address = attribute(message, "IFA_LOCAL") or attribute(message, "IFA_ADDRESS")
    return Address(message["index"], str(address), message["prefixlen"], message)


def _route(message: Message) -> Route:
    outs = [attribute(message, "RTA_OIF", 0)]
    outs += [way.get("oif", 0) for way in attribute(message, "RTA_MULTIPATH", [])]
    length = message["dst_len"]
    return Route(
        message["family"],
        f"{attribute(message, 'RTA_DST')}/{length}" if length else "default",
        tuple(out for out in outs if out),
        attribute(message, "RTA_TABLE", message["table"]),
        attribute(message, "RTA_NH_ID", 0),
        message["proto"],
        message["type"],
        message,
    )


def _nexthop(message: Message) -> Nexthop:
    group = bytes.fromhex(attribute(message, "NHA_GROUP", "").replace(":", ""))
    starts = range(0, len(group), NEXTHOP_GROUP_ENTRY)
    members = tuple(int.from_bytes(group[i : i + 4], "little") for i in starts)
    return Nexthop(
        attribute(message, "NHA_ID", 0), attribute(message, "NHA_OIF", 0), members, message
    )


def _neighbor(message: Message) -> Neighbor:
    address = str(attribute(message, "NDA_DST", ""))
    return Neighbor(message["ifindex"], address, message["state"], message)


def _rules(message: Message) -> list[Rule]:
    table = attribute(message, "FRA_TABLE", message["table"])
    names = (("iif", "FRA_IIFNAME"), ("oif", "FRA_OIFNAME"))
    return [
        Rule(interface, table, direction)
        for direction, name in names
        if (interface := attribute(message, name)) and interface != "lo"
    ]
