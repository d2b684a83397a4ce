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
MAC = 6  # bytes


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


def words(packed: bytes, size: int = 4) -> list[int]:
    """Return words of so many bytes in memory order."""
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    return [int.from_bytes(part, sys.byteorder) for part in parts]


def _swapped(port: int) -> int:
    """Return a number whose bytes in memory are the port's in network order."""
    return int.from_bytes(port.to_bytes(2, "big"), sys.byteorder)


@dataclass(frozen=True)
class SetField:
    """A field of a header gets a value. `layer`, `cover`: of C's enums; `at`: the offset in the
    header of the bytes `to`, an even number; `mask`: their bits that are the field's.
    """

    text: str
    layer: int
    at: int
    to: bytes
    mask: bytes
    cover: int = lib.REWRITE_NO_ADDRESS

    def row(self) -> dict[str, object]:
        """Return it as C's `struct rewrite_set`."""
        keep = bytes(byte ^ 0xFF for byte in self.mask)
        return {
            "layer": self.layer,
            "cover": self.cover,
            "at": self.at,
            "words": len(self.to) // 2,
            "to": words(self.to, 2),
            "keep": words(keep, 2),
        }


@dataclass(frozen=True)
class WrongField:
    """A field of a header that is made wrong: as in C's `struct rewrite_wrong`."""

    text: str
    layer: int
    how: int
    at: int
    value: int
    mask: int
    check: int
    times: int

    def row(self) -> dict[str, object]:
        """Return it as C's `struct rewrite_wrong`."""
        return {name: value for name, value in vars(self).items() if name != "text"}


def set_mac(text: str, mac: bytes, at: int) -> SetField:
    """Return what sets a MAC address, at this offset in the frame."""
    return SetField(text, lib.REWRITE_MAC, at, mac, b"\xff" * len(mac))


@dataclass
class Rewrite(Field, name="rewrite"):
    """Replaces MAC addresses (None: kept), IP addresses by the first of `nets` that fits, TCP's
    and UDP's ports by the first of `ports`, pairs of an old and a new one, and then the fields
    `sets`.
    """

    dst_mac: bytes | None = None
    src_mac: bytes | None = None
    nets: Sequence[NetMap] = ()
    ports: Sequence[tuple[int, int]] = ()
    vlan: int | None = None  # of the outermost tag, which is added where there is none
    untag: bool = False  # take the outermost tag away
    sets: Sequence[SetField] = ()
    tagging: str = ""  # how the tag was asked for
    wrongs: Sequence[WrongField] = ()
    every: int = 0  # one of so many packets gets these, and is cut to `runt` bytes; 0: none
    runt: int = 0
    _owned: Owned = field(default_factory=Owned)

    def __bool__(self) -> bool:
        macs = self.dst_mac is not None or self.src_mac is not None
        tags = self.vlan is not None or self.untag
        return bool(macs or self.nets or self.ports or tags or self.sets or self.every)

    def _tag(self) -> int:
        if self.vlan is not None:
            return int(lib.REWRITE_TAG_SET)
        return int(lib.REWRITE_TAG_REMOVE if self.untag else lib.REWRITE_TAG_KEEP)

    def in_order(self) -> list[SetField]:
        """Return the fields that are set, by layer."""
        macs = [("--dst-mac", self.dst_mac, 0), ("--src-mac", self.src_mac, MAC)]
        made = [set_mac(text, mac, at) for text, mac, at in macs if mac is not None]
        return sorted([*made, *self.sets], key=lambda each: each.layer)

    def make(self, following: c.Field = ffi.NULL, part: tuple[int, int] = (0, 1)) -> c.Struct:
        """Make the C struct for one worker."""
        del part
        rows, sets = [each.row() for each in self.nets], self.in_order()
        deep = any(each.layer > lib.REWRITE_VLAN for each in sets)
        ports = [(_swapped(old), _swapped(new)) for old, new in self.ports]
        made: c.Struct = new(
            "struct rewrite_field *",
            {
                "nets": self._owned.keep(new("struct rewrite_net[]", rows)),
                "n_nets": len(rows),
                "ports": self._owned.keep(new("struct rewrite_port[]", ports)),
                "n_ports": len(ports),
                "sets": self._owned.keep(
                    new("struct rewrite_set[]", [each.row() for each in sets])
                ),
                "n_sets": len(sets),
                "deep": deep or bool(rows or ports or self.wrongs),
                "tag": self._tag(),
                "vlan": self.vlan or 0,
                "wrongs": self._owned.keep(
                    new("struct rewrite_wrong[]", [each.row() for each in self.wrongs])
                ),
                "n_wrongs": len(self.wrongs),
                "every": self.every,
                "runt": self.runt,
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
