# SPDX-License-Identifier: Apache-2.0
"""Restoring the configuration that `collect` saved: names, MTU, MAC, stacked interfaces, masters,
sysctls, addresses, nexthop objects, routes and neighbors.

Interface indices are translated by name, because the kernel numbers the interfaces anew.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import time
from collections.abc import Mapping

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from uspnet.binding.netlink import (
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    NetlinkSocket,
    attribute,
)
from uspnet.binding.netstate import IPV6, NUD_PERMANENT, NUD_STALE, Attribute, Kept, Message
from uspnet.kernel.interface import IFF_UP
from uspnet.pci.sysfs import Tree

ACK, REPLACE, EXCL, CREATE = 0x4, 0x100, 0x200, 0x400  # NLM_F_…
RTNH_F_ONLINK = 0x4  # the only nexthop flag that is configuration; the others are state
RTM_F_CLONED = 0x200
INFINITE = 0xFFFFFFFF  # a lifetime
ADDRESS_KEPT = {  # IFA_PROTO: set by the kernel, a router advertisement or a daemon
    *("IFA_ADDRESS", "IFA_LOCAL", "IFA_BROADCAST", "IFA_LABEL", "IFA_RT_PRIORITY", "IFA_PROTO"),
}
# Address flags that are configuration: nodad, home address, managetempaddr, noprefixroute, …
ADDRESS_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
NEIGHBOR_KEPT = {"NDA_DST", "NDA_LLADDR", "NDA_PROTOCOL", "NDA_FLAGS_EXT"}
NEIGHBOR_FLAGS = 0x10 | 0x80  # learned from elsewhere; a router
FORGOTTEN_S = 60.0  # the kernel may forget a neighbor that it has had no use for so long
TEMPORARY = 0x01  # of IPv6: a privacy address, which the kernel generates again
USER_HZ = 100  # rta_expires counts these a second
TIMEOUT_S = 15.0  # for all objects: some need a carrier, and links come up slowly
NOT_YET = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ENETDOWN, errno.EADDRNOTAVAIL}
SHARED_MAC = {"bond", "team"}  # these give their members their own MAC
VLAN_FLAGS = 0x1F  # reorder header, GVRP, loose binding, MVRP, bridge binding
LINK_STATE = {"IFLA_MACVLAN_MACADDR_COUNT", "IFLA_MACVLAN_MACADDR_DATA", "IFLA_MACVLAN_MACADDR"}


def apply(
    saved: Kept,
    tree: Tree,
    pairs: Mapping[str, str],
    elapsed_s: float,
    namespace: str | None = None,
) -> list[str]:
    """Restore all of it. `pairs`: saved name → current name. Returns what failed. `namespace`: the
    network namespace, if not this process's.
    """
    if not saved.get("links"):
        return []
    return asyncio.run(_Restorer(saved, tree, pairs, elapsed_s).run(namespace))


def _settable(name: str, value: Attribute) -> tuple[str, Attribute]:
    """Convert VLAN flags: the kernel reports them with a mask of all bits, and accepts only known
    ones.
    """
    if name == "IFLA_VLAN_FLAGS":
        return name, {"flags": value["flags"] & VLAN_FLAGS, "mask": VLAN_FLAGS}
    return name, value


class _Restorer:
    def __init__(self, saved: Kept, tree: Tree, pairs: Mapping[str, str], elapsed_s: float) -> None:
        self.saved, self.tree = saved, tree
        self.pairs, self.elapsed_s = pairs, elapsed_s
        self.problems: list[str] = []
        self.end = time.monotonic() + TIMEOUT_S
        self.indices: dict[str, int] = {}  # of the current interfaces, by name

    async def run(self, namespace: str | None) -> list[str]:
        async with NetlinkSocket(namespace) as self.netlink:
            await self._read_indices()
            for raw in self.saved["links"]:
                await self._link(raw)
            for raw in self.saved["addresses"]:
                await self._address(raw)
            for raw in self.saved["nexthops"]:
                await self._nexthop(raw)
            for raw in sorted(self.saved["routes"], key=self._has_gateway):
                await self._route(raw)
            for raw in self.saved.get("neighbors", ()):
                await self._neighbor(raw)
        return self.problems

    async def _read_indices(self) -> None:
        self.indices = {
            attribute(message, "IFLA_IFNAME"): message["index"]
            async for message in self.netlink.dump(RTM_GETLINK, ifinfmsg())
        }

    def _index(self, old: int) -> int:
        """Return the current index of an interface by its saved one; 0 if it does not exist."""
        return self.indices.get(self.saved["names"].get(str(old), ""), 0)

    async def _send(
        self, what: str, kind: int, message: Message, flags: int, fine: int = 0
    ) -> bool:
        """Send a message, repeatedly while the link comes up. `fine`: an error that counts as
        success. Returns whether it succeeded.
        """
        while True:
            try:
                await self.netlink.send(kind, message, flags | ACK)
            except NetlinkError as error:
                if error.code == fine:
                    return True
                if error.code not in NOT_YET or time.monotonic() > self.end:
                    self.problems.append(f"{what}: {error.args[-1]}")
                    return False
                await asyncio.sleep(0.2)
            else:
                return True

    async def _set(
        self, what: str, index: int, attrs: list[tuple[str, Attribute]], up: bool | None = None
    ) -> None:
        message: Message = {"index": index, "attrs": attrs}
        if up is not None:
            message |= {"flags": IFF_UP if up else 0, "change": IFF_UP}
        await self._send(what, RTM_NEWLINK, message, 0)

    # -- interfaces -----------------------------------------------------------------------------

    async def _link(self, raw: Message) -> None:
        name = attribute(raw, "IFLA_IFNAME")
        if name in self.saved["own"]:
            await self._own(name, raw)
        elif name not in self.indices:
            await self._create(name, raw)
        index = self.indices.get(name)
        if index is None:
            return
        self._restore_sysctls(name)
        if master := attribute(raw, "IFLA_MASTER"):
            if above := self._index(master):
                await self._set(f"{name} into its master", index, [("IFLA_MASTER", above)])
            else:
                self.problems.append(
                    f"{name}: its master {self.saved['names'].get(str(master))} does not exist"
                )
        if raw["flags"] & IFF_UP:
            await self._set(f"{name} up", index, [], up=True)

    async def _own(self, name: str, raw: Message) -> None:
        now = self.pairs.get(name)
        if now is None or now not in self.indices:
            self.problems.append(f"{name} did not come back")
            return
        index = self.indices.pop(now)
        self.indices[name] = index
        await self._set(f"{now} down", index, [], up=False)
        if now != name:
            await self._set(f"{now} renamed to {name}", index, [("IFLA_IFNAME", name)])
        attrs = [("IFLA_MTU", attribute(raw, "IFLA_MTU"))]
        if queue := attribute(raw, "IFLA_TXQLEN"):
            attrs.append(("IFLA_TXQLEN", queue))
        await self._set(f"MTU of {name}", index, attrs)
        info = attribute(raw, "IFLA_LINKINFO", {})
        if attribute(info, "IFLA_INFO_SLAVE_KIND") not in SHARED_MAC:
            mac = [("IFLA_ADDRESS", attribute(raw, "IFLA_ADDRESS"))]
            await self._set(f"MAC of {name}", index, mac)

    async def _create(self, name: str, raw: Message) -> None:
        info = copy.deepcopy(attribute(raw, "IFLA_LINKINFO", {"attrs": []}))
        kept = [pair for pair in info["attrs"] if pair[0] in {"IFLA_INFO_KIND", "IFLA_INFO_DATA"}]
        for key, data in kept:
            if key == "IFLA_INFO_DATA":
                data["attrs"] = [_settable(*p) for p in data["attrs"] if p[0] not in LINK_STATE]
        message: Message = {
            "attrs": [
                ("IFLA_IFNAME", name),
                ("IFLA_LINK", self._index(attribute(raw, "IFLA_LINK", 0))),
                ("IFLA_MTU", attribute(raw, "IFLA_MTU")),
                ("IFLA_ADDRESS", attribute(raw, "IFLA_ADDRESS")),
                ("IFLA_LINKINFO", {"attrs": kept}),
            ]
        }
        if await self._send(name, RTM_NEWLINK, message, CREATE | EXCL):
            await self._read_indices()

    def _restore_sysctls(self, name: str) -> None:
        for pattern, value in self.saved["sysctls"].get(name, {}).items():
            path = "proc/sys/" + pattern.format(name)
            if self.tree.text(path) not in (value, None):
                try:
                    self.tree.write(path, value)
                except OSError as error:
                    self.problems.append(f"{path}: {error.strerror}")

    # -- addresses, nexthop objects, routes -----------------------------------------------------

    async def _address(self, raw: Message) -> None:
        flags = attribute(raw, "IFA_FLAGS", raw["flags"])
        if raw["family"] == IPV6 and flags & TEMPORARY:
            return
        attrs = [pair for pair in raw["attrs"] if pair[0] in ADDRESS_KEPT]
        attrs.append(("IFA_FLAGS", flags & ADDRESS_FLAGS))
        text = str(attribute(raw, "IFA_LOCAL") or attribute(raw, "IFA_ADDRESS"))
        cache = attribute(raw, "IFA_CACHEINFO", {})
        valid, preferred = (
            time_s if time_s == INFINITE else int(time_s - self.elapsed_s)
            for time_s in (cache.get("ifa_valid", INFINITE), cache.get("ifa_preferred", INFINITE))
        )
        if valid <= 0:
            self.problems.append(f"the lease of {text} has expired")
            return
        lifetimes = {
            "ifa_preferred": max(preferred, 0),
            "ifa_valid": valid,
            "cstamp": 0,
            "tstamp": 0,
        }
        attrs.append(("IFA_CACHEINFO", lifetimes))
        message = {
            **{key: raw[key] for key in ("family", "prefixlen", "scope")},
            "flags": flags & ADDRESS_FLAGS & 0xFF,
            "index": self._index(raw["index"]),
            "attrs": attrs,
        }
        await self._send(f"address {text}", RTM_NEWADDR, message, CREATE | EXCL, errno.EEXIST)

    async def _nexthop(self, raw: Message) -> None:
        message = {**raw, "flags": raw["flags"] & RTNH_F_ONLINK, "scope": 0}
        message["attrs"] = [
            (key, self._index(value) if key == "NHA_OIF" else value)
            for key, value in raw["attrs"]
            if key != "NHA_GROUP_TYPE" or value
        ]
        number = attribute(raw, "NHA_ID")
        await self._send(f"nexthop object {number}", RTM_NEWNEXTHOP, message, CREATE | REPLACE)

    def _has_gateway(self, raw: Message) -> bool:
        """Return whether a route needs another one to its gateway, so that it is restored after
        that.
        """
        names = {key for key, _ in raw["attrs"]}
        return bool(names & {"RTA_GATEWAY", "RTA_VIA", "RTA_MULTIPATH", "RTA_NH_ID"})

    async def _route(self, raw: Message) -> None:
        if raw["flags"] & RTM_F_CLONED:
            return
        drop = {"RTA_CACHEINFO", "RTA_PAD", "RTA_IIF", "RTA_UID"}
        if attribute(raw, "RTA_NH_ID"):  # the object has all this
            drop |= {"RTA_OIF", "RTA_GATEWAY", "RTA_VIA", "RTA_MULTIPATH"}
        attrs = [(key, self._ways(key, value)) for key, value in raw["attrs"] if key not in drop]
        expires = attribute(raw, "RTA_CACHEINFO", {}).get("rta_expires", 0)
        if expires > 0:
            left = int(expires / USER_HZ - self.elapsed_s)
            if left <= 0:
                return  # it has expired
            attrs.append(("RTA_EXPIRES", left))
        message = {**raw, "flags": raw["flags"] & RTNH_F_ONLINK, "attrs": attrs}
        several = attribute(raw, "RTA_MULTIPATH") is not None
        flags = CREATE | (REPLACE if several else EXCL)
        where = f"{attribute(raw, 'RTA_DST', 'default')}/{raw['dst_len']}"
        what = f"route to {where if raw['dst_len'] else 'default'}"
        await self._send(what, RTM_NEWROUTE, message, flags, errno.EEXIST)

    async def _neighbor(self, raw: Message) -> None:
        static = raw["state"] & NUD_PERMANENT
        if not static and self.elapsed_s > FORGOTTEN_S:
            return
        if not (index := self._index(raw["ifindex"])):
            return  # what its interface lacks is told already
        message = {
            "family": raw["family"],
            "ifindex": index,
            "state": NUD_PERMANENT if static else NUD_STALE,  # the kernel asks before it is used
            "flags": raw["flags"] & NEIGHBOR_FLAGS,
            "attrs": [pair for pair in raw["attrs"] if pair[0] in NEIGHBOR_KEPT],
        }
        what = f"neighbor {attribute(raw, 'NDA_DST')}"
        await self._send(what, RTM_NEWNEIGH, message, CREATE | REPLACE)

    def _ways(self, key: str, value: Attribute) -> Attribute:
        if key == "RTA_OIF":
            return self._index(value)
        if key == "RTA_MULTIPATH":
            return [
                {**way, "oif": self._index(way["oif"]), "flags": way["flags"] & RTNH_F_ONLINK}
                for way in value
            ]
        return value
