# SPDX-License-Identifier: Apache-2.0
"""Packets with other addresses and ports: see fastpath/fields/rewrite.c."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from uspnet import units
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import new
from uspnet.packets.fields.field import Field

NET = ipaddress.IPv4Network | ipaddress.IPv6Network
NET_HINT = "write it as 10.0.0.0/8=192.168.0.0/16"
PORT_HINT = "write it as 80=8080"
PORT_MAX = 65535


@dataclass(frozen=True)
class NetMap:
    """Addresses within `old` get the prefix of `new`, and keep the bits behind it."""

    old: NET
    new: NET

    def row(self) -> dict[str, object]:
        """Return it as C's `struct rewrite_net`."""
        numbers = {
            "from": self.old.network_address,
            "mask": self.old.netmask,
            "to": self.new.network_address,
            "keep": self.new.hostmask,
        }
        size = self.old.max_prefixlen // 32
        return {"words": size} | {name: words(each.packed) for name, each in numbers.items()}


def words(packed: bytes) -> list[int]:
    """Return 32-bit words in memory order."""
    parts = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return [int.from_bytes(part, sys.byteorder) for part in parts]


def _swapped(port: int) -> int:
    """Return a number whose bytes in memory are the port's in network order."""
    return int.from_bytes(port.to_bytes(2, "big"), sys.byteorder)


@dataclass
class Rewrite(Field, name="rewrite"):
    """Replaces MAC addresses (None: kept), IP addresses by the first of `nets` that fits, and TCP's
    and UDP's ports by the first of `ports`, pairs of an old and a new one.
    """

    dst_mac: bytes | None = None
    src_mac: bytes | None = None
    nets: Sequence[NetMap] = ()
    ports: Sequence[tuple[int, int]] = ()
    vlan: int | None = None  # of the outermost tag, which is added where there is none
    untag: bool = False  # take the outermost tag away
    _owned: Owned = field(default_factory=Owned)

    def __bool__(self) -> bool:
        macs = self.dst_mac is not None or self.src_mac is not None
        return bool(macs or self.nets or self.ports or self.vlan is not None or self.untag)

    def _tag(self) -> int:
        if self.vlan is not None:
            return int(lib.REWRITE_TAG_SET)
        return int(lib.REWRITE_TAG_REMOVE if self.untag else lib.REWRITE_TAG_KEEP)

    def make(self, following: c.Field = ffi.NULL, part: tuple[int, int] = (0, 1)) -> c.Struct:
        """Make the C struct for one worker."""
        del part
        rows = [each.row() for each in self.nets]
        ports = [(_swapped(old), _swapped(new)) for old, new in self.ports]
        made: c.Struct = new(
            "struct rewrite_field *",
            {
                "nets": self._owned.keep(new("struct rewrite_net[]", rows)),
                "n_nets": len(rows),
                "ports": self._owned.keep(new("struct rewrite_port[]", ports)),
                "n_ports": len(ports),
                "set_dst": self.dst_mac is not None,
                "set_src": self.src_mac is not None,
                "tag": self._tag(),
                "vlan": self.vlan or 0,
                "macs": (self.dst_mac or bytes(6)) + (self.src_mac or bytes(6)),
            },
        )
        self.link(made, following)
        return made


def read_net_map(text: str) -> NetMap:
    """Read `10.0.0.0/8=192.168.0.0/16`, or IPv6 networks. Raise Usage."""
    old, equals, new_ = text.partition("=")
    try:
        if not equals:
            raise ValueError("no second network behind a =")
        made = NetMap(ipaddress.ip_network(old.strip()), ipaddress.ip_network(new_.strip()))
    except ValueError as error:
        raise Usage(f"--map-ip {text}: {error}", NET_HINT) from None
    if made.old.version != made.new.version:
        raise Usage(f"--map-ip {text}: one is IPv4, and the other IPv6", NET_HINT)
    return made


def read_port_map(text: str) -> tuple[int, int]:
    """Read `80=8080`. Raise Usage."""
    old, equals, new_ = text.partition("=")
    read = units.whole(0, PORT_MAX)
    try:
        if not equals:
            raise units.Unreadable("no second port behind a =")
        return read(old), read(new_)
    except units.Unreadable as error:
        raise Usage(f"--map-port {text}: {error}", PORT_HINT) from None
