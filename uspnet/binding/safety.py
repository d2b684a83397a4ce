# SPDX-License-Identifier: Apache-2.0
"""Reasons against taking a NIC from the kernel, each with the chain of interfaces that leads to it.

Checked are the NIC's own interfaces, all that are stacked on them (bond, bridge, VLAN, macvlan,
team, VRF), its virtual functions and the other functions of its IOMMU group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from uspnet.binding import holders
from uspnet.binding.netstate import TYPE_UNICAST, Chain, NetState, Route
from uspnet.errors import NoDevice
from uspnet.pci.functions import DEVICES, GROUP_DRIVERS, Function, function
from uspnet.pci.sysfs import Tree
from uspnet.ports.registry import interface_ports

# Reasons that block, by the name that --allow takes.
BLOCKING = {
    "default-route": "a default route leads through it",
    "route": "another route leads through it",
    "rule": "a policy rule names it",
    "vrf": "it belongs to a VRF",
    "upper": "a bond, bridge, VLAN, macvlan or team is stacked on it",
    "address": "it is up, with carrier and an address",
    "ssh": "a login session comes in through it",
    "socket": "connections are established on its addresses",
    "mount": "a network file system is mounted through it",
    "iscsi": "a network block device is reached through it",
    "netboot": "the machine was booted through it",
    "sriov": "its virtual functions would be destroyed",
    "group": "others of its IOMMU group belong to the kernel",
    "bifurcated": "its kernel driver gives user space access while it stays bound",
    "process": "a process uses it",
    "xdp": "an XDP program is attached",
    "namespace": "its interface is in another network namespace",
}
BIFURCATED = frozenset({"mlx4_core", "mlx5_core", "mana"})
SHARED_FIRMWARE = frozenset({"i40e", "ice", "bnxt_en", "qede", "cxgb4"})


@dataclass(frozen=True)
class ReasonRow:
    """A reason that speaks against binding a function."""

    reason: str
    """Its name, as `--allow` takes it."""
    text: str
    """The reason, for people."""
    chain: tuple[str, ...]
    """What leads from the function to it: interface, bridge, route, …"""
    blocks: bool
    """It keeps the function from being bound; others are only told."""
    hint: str
    """What to do about it."""


@dataclass(frozen=True)
class Reason:
    """One reason against binding. A notice does not block."""

    name: str
    text: str
    chain: Chain = ()
    blocks: bool = True
    hint: str = ""

    def __str__(self) -> str:
        return f"{' → '.join(self.chain)}: {self.text}" if self.chain else self.text

    def row(self) -> ReasonRow:
        """Return the row for --json."""
        return ReasonRow(self.name, self.text, tuple(self.chain), self.blocks, self.hint)


@dataclass(frozen=True)
class Candidate:
    """A function that might be bound, and all that is needed to judge it."""

    tree: Tree
    net: NetState
    function: Function
    together: frozenset[str] = field(default=frozenset())  # all addresses of the same request
    peers: tuple[str, ...] = ()  # where login sessions come from

    @cached_property
    def vfs(self) -> list[Function]:
        """Its virtual functions."""
        found = []
        for address in self.function.vfs:
            try:
                found.append(function(self.tree, address))
            except NoDevice:
                continue
        return found

    @cached_property
    def chains(self) -> dict[int, Chain]:
        """All interfaces on it: its own, those of its VFs, and those stacked on them."""
        names = self.function.interfaces + tuple(name for vf in self.vfs for name in vf.interfaces)
        return self.net.chains(names)

    @cached_property
    def owned(self) -> dict[str, Chain]:
        """The addresses on those interfaces."""
        return {
            address.address: self.chains[address.index]
            for address in self.net.addresses
            if address.index in self.chains
        }

    def way_to(self, server: str | None) -> Chain | None:
        """Return the chain through which the kernel reaches a server. One that is known only by
        name is assumed to be behind the default route.
        """
        if server is not None:
            return self.chains.get(self.net.lookups.get(server, 0))
        return next((chain for route, chain in self.routes if route.is_default), None)

    @cached_property
    def routes(self) -> list[tuple[Route, Chain]]:
        """The routes through it, and the chain of each."""
        return [
            (route, self.chains[index])
            for route in self.net.routes
            for index in sorted(self.net.ways(route) & self.chains.keys())
        ]


def check(nic: Candidate) -> list[Reason]:
    """Return every reason and notice once, in the order of RULES."""
    return list(dict.fromkeys(reason for rule in RULES for reason in rule(nic)))


def peers_to_look_up(tree: Tree, logins: Iterable[str]) -> list[str]:
    """Return the addresses whose routes `check` needs."""
    servers = (item.server for item in holders.storage(tree))
    return sorted({address for address in (*logins, *servers) if address})


def _default_route(nic: Candidate) -> Iterator[Reason]:
    for route, chain in nic.routes:
        if route.is_default:
            family = "IPv4" if route.family == 2 else "IPv6"
            where = "" if route.table == 254 else f" in table {route.table}"
            through = f" through nexthop object {route.nexthop}" if route.nexthop else ""
            yield Reason("default-route", f"{family} default route{where}{through}", chain)


def _routes(nic: Candidate) -> Iterator[Reason]:
    others: dict[tuple[Chain, int], list[Route]] = {}
    for route, chain in nic.routes:
        configured = not (route.is_default or route.follows_address)
        if route.type == TYPE_UNICAST and configured and not route.destination.startswith("fe80:"):
            others.setdefault((chain, route.table), []).append(route)
    for (chain, table), found in others.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        where = "" if table == 254 else f" in table {table}"
        yield Reason("route", f"route to {found[0].destination}{more}{where}", chain)


def _rules(nic: Candidate) -> Iterator[Reason]:
    names = {chain[-1]: chain for chain in nic.chains.values()}
    for rule in nic.net.rules:
        if rule.interface in names:
            text = f"policy rule {rule.direction} {rule.interface}, table {rule.table}"
            yield Reason("rule", text, names[rule.interface])


def _uppers(nic: Candidate) -> Iterator[Reason]:
    kinds = {link.index: link.kind for link in nic.net.links}
    for index, chain in nic.chains.items():
        kind = kinds[index]
        if kind == "vrf":
            yield Reason("vrf", f"it belongs to VRF {chain[-1]}", chain)
        elif len(chain) > 1:
            yield Reason("upper", f"{kind or 'interface'} {chain[-1]} is stacked on it", chain)
    for lower, name in nic.net.foreign:
        if lower in nic.chains:
            text = f"{name} in another network namespace is stacked on it"
            yield Reason("upper", text, nic.chains[lower])


def _links(nic: Candidate) -> Iterator[Reason]:
    for link in nic.net.links:
        if link.index not in nic.chains:
            continue
        chain = nic.chains[link.index]
        found = [a for a in nic.net.addresses if a.index == link.index and a.is_global]
        if found:
            text = ", ".join(f"{a.address}/{a.prefix}" for a in found)
            busy = link.up and link.carrier
            state = "up with carrier" if busy else "up without carrier" if link.up else "down"
            yield Reason("address", f"{state}, has {text}", chain, blocks=busy)
        elif link.up and len(chain) == 1:
            yield Reason("link", "up, without an address of its own", chain, blocks=False)
        if link.xdp:
            yield Reason("xdp", "an XDP program is attached", chain)


def _sessions(nic: Candidate) -> Iterator[Reason]:
    for peer in nic.peers:
        if chain := nic.chains.get(nic.net.lookups.get(peer, 0)):
            yield Reason("ssh", f"this login session comes from {peer}", chain)
    used: dict[str, list[holders.Connection]] = {}
    for connection in holders.connections(nic.tree):
        if connection.local in nic.owned and connection.peer not in nic.owned:
            used.setdefault(connection.local, []).append(connection)
    inodes = {connection.inode for found in used.values() for connection in found}
    owners = holders.owners_of_sockets(nic.tree, inodes)
    for local, found in used.items():
        names = sorted({owners[c.inode].name for c in found if c.inode in owners})
        chain = nic.owned[local]
        if any(name.startswith("sshd") for name in names):
            yield Reason("ssh", f"a login session is connected to {local}", chain)
        by = f" by {', '.join(names)}" if names else ""
        yield Reason(
            "socket", f"{len(found)} connection{'s' * (len(found) > 1)} on {local}{by}", chain
        )


def _storage(nic: Candidate) -> Iterator[Reason]:
    for item in holders.storage(nic.tree):
        if chain := nic.way_to(item.server):
            at = f" from {item.server}" if item.server else ""
            yield Reason(item.kind, f"{item.what}{at}", chain)


def _netboot(nic: Candidate) -> Iterator[Reason]:
    line = nic.tree.text("proc/cmdline") or ""
    macs = {link.mac: nic.chains[link.index] for link in nic.net.links if link.index in nic.chains}
    for ibft in nic.tree.names("sys/firmware/ibft"):
        mac = nic.tree.text(f"sys/firmware/ibft/{ibft}/mac")
        if mac and mac.lower() in macs:
            yield Reason(
                "netboot", f"the firmware booted from iSCSI through it ({ibft})", macs[mac]
            )
    for mac, chain in macs.items():
        if mac and f"bootif=01-{mac.replace(':', '-')}" in line.lower():
            yield Reason("netboot", "BOOTIF on the kernel's command line names it", chain)
    for name in re.findall(r"(?:^|\s)ip=(\S+)", line):
        device = [chain for chain in nic.chains.values() if chain[-1] in re.split(r"[:\[\]]", name)]
        for chain in device:
            yield Reason("netboot", f"ip={name} on the kernel's command line", chain)
    if re.search(r"(?:^|\s)(?:nfsroot=|root=/dev/nfs|root=nfs|netroot=)", line):
        for chain in {chain for route, chain in nic.routes}:
            yield Reason("netboot", "the root file system is on the network", chain)


def _sriov(nic: Candidate) -> Iterator[Reason]:
    if nic.function.vfs:
        used = [
            f"{vf.address} ({', '.join(filter(None, (vf.driver, *vf.interfaces))) or 'no driver'})"
            for vf in nic.vfs
        ]
        yield Reason(
            "sriov",
            f"{len(nic.function.vfs)} virtual functions would be destroyed: {', '.join(used)}",
            hint=f"echo 0 > /{DEVICES}/{nic.function.address}/sriov_numvfs",
        )


def _group(nic: Candidate) -> Iterator[Reason]:
    mine = nic.function.address
    for address in nic.function.members:
        try:
            other = function(nic.tree, address)
        except NoDevice:
            continue
        safe = other.driver is None or other.driver in GROUP_DRIVERS or other.is_bridge
        if safe or address in nic.together:
            continue
        what = ", ".join((other.driver or "", *other.interfaces))
        yield Reason(
            "group",
            f"{address} ({what}) of IOMMU group {nic.function.group} belongs to the kernel",
            hint=f"uspnet bind {mine} {address}"
            if other.is_network
            else "move the card to another slot: VFIO can't open half a group",
        )


def _driver(nic: Candidate) -> Iterator[Reason]:
    found = nic.function
    if found.driver in BIFURCATED:
        yield Reason(
            "bifurcated",
            f"{found.driver} shares the device with user space while it stays bound",
            hint="use it as a port without binding: "
            + interface_ports((*found.interfaces, "NAME")[0]),
        )
    kernel = found.driver and not found.in_user_space and found.driver != "pci-stub"
    if kernel and found.is_network and not found.interfaces:
        yield Reason(
            "namespace",
            f"{found.driver} shows no interface for it: is it in another network namespace?",
            hint="see: lsns -t net",
        )
    if found.driver in SHARED_FIRMWARE:
        base = found.address.rpartition(".")[0]
        others = [name for name in nic.tree.names(DEVICES) if name.rpartition(".")[0] == base]
        if len(set(others) - nic.together - {found.address}):
            text = f"other functions of the card, on the same firmware, stay with {found.driver}"
            yield Reason("siblings", text, blocks=False)


def _processes(nic: Candidate) -> Iterator[Reason]:
    for user in holders.users_of_device(nic.tree, nic.function):
        yield Reason("process", f"{user} drives it")
    for index, chain in nic.chains.items():
        inodes = holders.packet_sockets(nic.tree, index)
        owners = holders.owners_of_sockets(nic.tree, inodes)
        for owner in sorted({str(process) for process in owners.values()}):
            yield Reason("process", f"{owner} captures or sends on it", chain)


RULES: tuple[Callable[[Candidate], Iterator[Reason]], ...] = (
    _sessions, _default_route, _routes, _rules, _uppers, _links, _storage, _netboot, _sriov, _group,
    _driver, _processes,
)  # fmt: skip
