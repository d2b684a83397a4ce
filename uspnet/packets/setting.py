# SPDX-License-Identifier: Apache-2.0
"""`fwd --set FIELD=VALUE`: fields of headers by Scapy's names, as `pktgen --vary` has them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.fields.rewrite import NET, Rewrite, SetField, read_net_map, read_port_map
from uspnet.packets.frames import mac_bytes
from uspnet.packets.vary.place import LAYERS, SHOWN

VLAN, VLANS, NONE = "dot1q.vlan", range(4095), "none"
IP4, IP6, MAC = "an IPv4 address", "an IPv6 address", "a MAC address"


@dataclass(frozen=True)
class Place:
    """Where a field is: `size` bytes at an even offset in the header of a layer, of which `mask`
    says the bits. `kind`: what is written there; empty: a number.
    """

    layer: int
    at: int
    size: int
    mask: int = -1
    kind: str = ""
    cover: int = lib.REWRITE_NO_ADDRESS

    @property
    def bits(self) -> int:
        """Return the mask's number."""
        return self.mask & ((1 << 8 * self.size) - 1)

    def made(self, text: str, number: int, within: int) -> SetField:
        """Return what sets those bits `within` to a number, whose other bits are 0."""
        to, mask = (each.to_bytes(self.size, "big") for each in (number, within))
        return SetField(text, self.layer, self.at, to, mask, self.cover)


PLACES = {
    "ether.dst": Place(lib.REWRITE_MAC, 0, 6, kind=MAC),
    "ether.src": Place(lib.REWRITE_MAC, 6, 6, kind=MAC),
    "dot1q.prio": Place(lib.REWRITE_VLAN, 0, 2, 0xE000),
    "ip.tos": Place(lib.REWRITE_IP, 0, 2, 0x00FF),
    "ip.id": Place(lib.REWRITE_IP, 4, 2),
    "ip.ttl": Place(lib.REWRITE_IP, 8, 2, 0xFF00),
    "ip.src": Place(lib.REWRITE_IP, 12, 4, kind=IP4, cover=lib.REWRITE_SRC),
    "ip.dst": Place(lib.REWRITE_IP, 16, 4, kind=IP4, cover=lib.REWRITE_DST),
    "ipv6.tc": Place(lib.REWRITE_IP6, 0, 2, 0x0FF0),
    "ipv6.fl": Place(lib.REWRITE_IP6, 0, 4, 0x000FFFFF),
    "ipv6.hlim": Place(lib.REWRITE_IP6, 6, 2, 0x00FF),
    "ipv6.src": Place(lib.REWRITE_IP6, 8, 16, kind=IP6, cover=lib.REWRITE_SRC),
    "ipv6.dst": Place(lib.REWRITE_IP6, 24, 16, kind=IP6, cover=lib.REWRITE_DST),
    "tcp.sport": Place(lib.REWRITE_TCP, 0, 2),
    "tcp.dport": Place(lib.REWRITE_TCP, 2, 2),
    "tcp.seq": Place(lib.REWRITE_TCP, 4, 4),
    "tcp.ack": Place(lib.REWRITE_TCP, 8, 4),
    "tcp.window": Place(lib.REWRITE_TCP, 14, 2),
    "udp.sport": Place(lib.REWRITE_UDP, 0, 2),
    "udp.dport": Place(lib.REWRITE_UDP, 2, 2),
}
PREFIXED: dict[str, type[NET]] = {IP4: ipaddress.IPv4Network, IP6: ipaddress.IPv6Network}
HINTS = {
    MAC: "write it as 02:00:00:00:00:01",
    IP4: "write 10.0.0.1, or 10.1.0.0/16 to keep the bits behind the prefix",
    IP6: "write 2001:db8::1, or 2001:db8::/32 to keep the bits behind the prefix",
}


def read_rewrite(
    sets: Sequence[str], map_ip: Sequence[str] = (), map_port: Sequence[str] = ()
) -> Rewrite | None:
    """Return what rewrites packets as these options say; None: nothing. Raise Usage."""
    made = Rewrite(
        nets=[read_net_map(text) for text in map_ip],
        ports=[read_port_map(text) for text in map_port],
    )
    names, fields = set(), []
    for text in sets:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise Usage(f"--set {text}: no value behind a =", "write --set ip.dst=10.0.0.1")
        field = full_name(text, name)
        if field in names:
            raise Usage(f"--set {text}: {name} is set twice", "keep one of them")
        names.add(field)
        if field == VLAN:
            made = replace(made, tagging=text, vlan=read_vlan(text, value), untag=value == NONE)
        else:
            fields.append(read_value(text, PLACES[field], value))
    made = replace(made, sets=fields)
    return made or None


def full_name(text: str, name: str) -> str:
    """Return a field's name with Scapy's of its layer. Raise Usage."""
    layer, _, field = name.lower().partition(".")
    known = LAYERS.get(layer, layer)
    made = f"{known}.{field}" if field or known != "dot1q" else VLAN
    if made in PLACES or made == VLAN:
        return made
    shown = [each.split(".") for each in PLACES]
    able = ", ".join(["vlan", *(f"{SHOWN.get(first, first)}.{rest}" for first, rest in shown)])
    raise Usage(f"--set {text}: there is no field {name!r} to set", f"fields are: {able}")


def read_vlan(text: str, value: str) -> int | None:
    """Return a VLAN ID; None: the tag is taken away. Raise Usage."""
    if value == NONE:
        return None
    digits = value.isascii() and value.isdecimal() and len(value) <= len(str(VLANS[-1]))
    if not (digits and int(value) in VLANS):
        hint = "write 0 to 4094, or none to take the tag away"
        raise Usage(f"--set {text}: {value!r} is no VLAN ID", hint)
    return int(value)


def read_value(text: str, place: Place, value: str) -> SetField:
    """Return what sets a field to the value that is written. Raise Usage."""
    if kind := PREFIXED.get(place.kind):
        try:
            net = kind(value)
        except ValueError:
            raise Usage(f"--set {text}: not {place.kind}", HINTS[place.kind]) from None
        return place.made(text, int(net.network_address), int(net.netmask))
    if place.kind == MAC:
        try:
            return place.made(text, int.from_bytes(mac_bytes(value), "big"), place.bits)
        except Usage:
            raise Usage(f"--set {text}: not {MAC}", HINTS[MAC]) from None
    low = (place.bits & -place.bits).bit_length() - 1
    most = place.bits >> low
    try:
        number = int(value, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise Usage(f"--set {text}: {value!r} is out of range", f"write 0 to {most:,}")
    return place.made(text, number << low, place.bits)
