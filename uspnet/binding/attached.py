# SPDX-License-Identifier: Apache-2.0
"""What the kernel's interface of an attached port gets: addresses that somebody gives, or the
configuration that `bind` has saved of the NIC's own interface.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

from uspnet.binding.netstate import IPV4, IPV6, Attribute, Message
from uspnet.binding.saved import Saved
from uspnet.errors import Busy, NotPermitted, NotSupported, Usage, UspnetError
from uspnet.pci.sysfs import HOST, Tree

if TYPE_CHECKING:
    from uspnet.kernel.interface import Interface

Address = IPv4Interface | IPv6Interface
# Of what was saved, where addresses are given.
LOST = ("addresses", "nexthops", "routes", "neighbors")
POINT_TO_POINT = 31  # bits of a prefix from which on IPv4 has no broadcast address


@dataclass(frozen=True)
class Configuration:
    """`addresses`: to be given to the interface; `saved`: by bind, which has the rest, and the
    addresses too if none are given; `tree`: has the sysctls.
    """

    addresses: Sequence[Address] = ()
    saved: Saved | None = None
    tree: Tree = field(default=HOST)

    def apply(self, interface: Interface) -> list[str]:
        """Configure an interface that is up. Return what could not be restored of what was saved.
        Raises Busy for an address that another interface has, NotPermitted, NotSupported, Usage.
        """
        problems: list[str] = []
        if self.addresses:
            self._check_free(interface)
        if self.saved and self.saved.network.get("own"):
            problems = self._restore(self.saved, interface)
        if self.addresses:
            asyncio.run(_add(interface, self.addresses))
        return problems

    def _check_free(self, interface: Interface) -> None:
        from uspnet.binding.netlink import snapshot  # noqa: PLC0415 - pyroute2 is slow to import

        state = snapshot()
        names = {link.index: link.name for link in state.links}
        wanted = {str(each.ip) for each in self.addresses}
        for held in state.addresses:
            if held.address in wanted and held.index != interface.index:
                name = names.get(held.index, "?")
                text = f"{name} has the address {held.address} already"
                where = f"{held.address}/{held.prefix} dev {name}"
                raise Busy(text, f"give another one, or: ip address delete {where}")

    def _restore(self, saved: Saved, interface: Interface) -> list[str]:
        from uspnet.binding.restore import apply  # noqa: PLC0415 - as above

        name = interface.name
        network = renamed(saved.network, name, interface.mtu, interface.mac)
        if self.addresses:
            network |= {key: [] for key in LOST}
        return apply(network, self.tree, {name: name}, time.time() - saved.saved_at)


def saved_mtu(network: Message) -> int | None:
    """Return the MTU in bytes that the NIC's first interface had; None: nothing is known of it."""
    own = network.get("own") or [""]
    links = (raw for raw in network.get("links", ()) if _value(raw, "IFLA_IFNAME") == own[0])
    return next((int(_value(raw, "IFLA_MTU")) for raw in links), None)


def renamed(network: Message, name: str, mtu: int, mac: bytes | None) -> Message:
    """Return what `collect` saved of a NIC's first interface, as if that had been called `name`,
    and had had this MTU in bytes and MAC address.
    """
    made: Message = copy.deepcopy(network)
    old = made["own"][0]
    made["own"] = [name]
    made["names"] = {index: name if each == old else each for index, each in made["names"].items()}
    if old in made["sysctls"]:
        made["sysctls"][name] = made["sysctls"].pop(old)
    others = set(network["own"][1:])  # interfaces of a NIC that has several
    links = [raw for raw in made["links"] if _value(raw, "IFLA_IFNAME") not in others]
    given = {"IFLA_IFNAME": name, "IFLA_MTU": mtu}
    if mac:
        given["IFLA_ADDRESS"] = mac.hex(":")
    for raw in links:
        if _value(raw, "IFLA_IFNAME") == old:
            raw["attrs"] = [(key, given.get(key, value)) for key, value in raw["attrs"]]
    made["links"] = links
    return made


def _value(raw: Message, name: str) -> Attribute:
    return next((value for key, value in raw["attrs"] if key == name), None)


async def _add(interface: Interface, addresses: Sequence[Address]) -> None:
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - as above

    from uspnet.binding.netlink import RTM_NEWADDR, NetlinkSocket  # noqa: PLC0415 - as above
    from uspnet.binding.restore import ACK, CREATE, EXCL  # noqa: PLC0415 - as above

    async with NetlinkSocket() as netlink:
        for address in addresses:
            try:
                message = _message(interface.index, address)
                await netlink.send(RTM_NEWADDR, message, ACK | CREATE | EXCL)
            except NetlinkError as error:
                if error.code != errno.EEXIST:  # which was restored
                    raise _refusal(interface, address, error.code, error.args[-1]) from None


def _message(index: int, address: Address) -> Message:
    """Return an address as netlink takes it."""
    text, prefix = str(address.ip), address.network.prefixlen
    attrs = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    if address.version == 4 and prefix < POINT_TO_POINT:
        attrs.append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    family = IPV4 if address.version == 4 else IPV6
    shared = {"index": index, "prefixlen": prefix, "scope": 0, "flags": 0}
    return {**shared, "family": family, "attrs": attrs}


def _refusal(interface: Interface, address: Address, code: int, why: str) -> UspnetError:
    """Return the error for an address that the kernel did not take."""
    text = f"{interface.name}: address {address}: "
    match code:
        case errno.EACCES if address.version == 6:
            return NotSupported(
                f"{text}IPv6 is disabled", "see: sysctl net.ipv6.conf.default.disable_ipv6"
            )
        case errno.EPERM:
            return NotPermitted(f"{text}not permitted", "run as root, or with CAP_NET_ADMIN")
        case _:
            return Usage(f"{text}{why}", "write it as 192.0.2.1/24 or 2001:db8::1/64")
