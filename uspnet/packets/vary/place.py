# SPDX-License-Identifier: Apache-2.0
"""Where a field lies in a packet that Scapy made, and which checksums follow it.

No layout of a protocol is written here: packets are made with several values of the field, and
compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.packets.frames import Template
from uspnet.packets.guard import alone
from uspnet.packets.payload import CHECKSUMS, load_of, loosen
from uspnet.packets.vary import domain as d

if TYPE_CHECKING:
    from scapy.fields import AnyField
    from scapy.packet import Packet

LAYERS = {"mac": "ether", "eth": "ether", "vlan": "dot1q", "ip4": "ip", "ipv4": "ip", "ip6": "ipv6"}
ONLY = {"dot1q": "vlan", "mpls": "label", "vxlan": "vni", "geneve": "vni"}  # `vlan` alone
SHOWN = {"ether": "mac", "dot1q": "vlan", "ipv6": "ip6"}
NAMED = re.compile(r"([a-z]\w*)(?:#([0-9]{1,9}))?(?:\.(\w+))?", re.IGNORECASE)
BYTES = re.compile(r"(?:u|seq)(8|16|32|64)@([0-9]{1,9})(?:&(0x[0-9a-f]+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A field of a layer: the number of the layer from outside, and Scapy's name of the field."""

    layer: int
    name: str
    notation: d.Notation
    flow = True

    def put(self, layers: list[Packet], value: int) -> None:
        """Give the field a value."""
        layers[self.layer].setfieldval(self.name, self.notation.show(value))


@dataclass(frozen=True)
class Bytes:
    """Bits of the payload: `at` counts bits from the frame's start, `start` bytes of headers."""

    at: int
    notation: d.Notation
    start: int
    flow = False

    def put(self, layers: list[Packet], value: int) -> None:
        """Give the bits a value."""
        name, load = load_of(layers[0])
        left = 8 * (self.start + len(load)) - self.at - self.notation.bits
        mask = (1 << self.notation.bits) - 1
        number = int.from_bytes(load, "big") & ~(mask << left) | value << left
        setattr(layers[-1], name, number.to_bytes(len(load), "big"))


Place = Named | Bytes
Values = Mapping[Place, int]
Open = tuple[int, str]  # a checksum that Scapy computes: its layer and field


@dataclass(frozen=True)
class Sum:
    """A checksum in a packet: its layer and field, its offset and size in the frame in bytes."""

    layer: int
    name: str
    at: int
    zero: int  # what is sent for a checksum of 0
    size: int = 2


class Layout:
    """A packet, its fields and its checksums."""

    def __init__(self, template: Template) -> None:
        if template.packet is None:
            raise Usage("only packets that Scapy made can vary", "make templates with craft()")
        self.template = template
        self.packet: Packet = template.packet().copy()
        with alone():
            settle(self.packet)
            loosen(self.packet)

    def changed(self, values: Values, sums: Mapping[Open, int | None] | None = None) -> Packet:
        """Return the packet with such values. `sums`: checksums, 0 unless they are named, that are
        not to be computed, or those whose value is None; None: all are.
        """
        made: Packet = self.packet.copy()
        made.clear_cache()
        layers = list(made.iterpayloads())
        for number, name in self.open if sums is not None else ():
            layers[number].setfieldval(name, (sums or {}).get((number, name), 0))
        for place, value in values.items():
            place.put(layers, value)
        return made

    def build(self, values: Values, sums: Mapping[Open, int | None] | None = None) -> bytes:
        """Return the frame with such values. `sums`: as for `changed`."""
        with alone():
            return bytes(self.changed(values, sums))

    @cached_property
    def open(self) -> list[Open]:
        """The checksums that Scapy computes: layer and name."""
        return [
            (number, name)
            for number, layer in enumerate(self.packet.iterpayloads())
            for name in CHECKSUMS
            if name in layer.default_fields and layer.getfieldval(name) is None
        ]

    @cached_property
    def checks(self) -> list[Sum]:
        """Those among them that are in the packet: Internet checksums, and longer ones."""
        from scapy.layers.inet import UDP  # noqa: PLC0415 - Scapy takes a second to import

        layers, empty = list(self.packet.iterpayloads()), self.build({}, {})
        found = []
        for number, name in self.open:
            notation = notation_of(layers[number], name)
            size = notation.bits // 8 if notation else 0
            full = self.build({}, {(number, name): (1 << 8 * size) - 1})
            places = _differing(empty, full)
            if places and len(places) == size:
                zero = 0xFFFF if isinstance(layers[number], UDP) else 0
                found.append(Sum(number, name, places[0], zero, size))
        return found

    @property
    def sums(self) -> list[Sum]:
        """The Internet checksums among them."""
        return [each for each in self.checks if each.size == 2]

    def find(self, text: str) -> Place:
        """Return the place of a field by its name. Raise Usage."""
        if match := BYTES.fullmatch(text):
            return self._bytes(text, int(match[1]), int(match[2]), match[3])
        match = NAMED.fullmatch(text)
        if not match:
            raise Usage(f"--vary {text}: not the name of a field", self.remedy())
        layer = LAYERS.get(match[1].lower(), match[1].lower())
        nth, name = int(match[2] or 1), match[3] or ONLY.get(layer, "")
        if not nth:
            hint = f"write {match[1]}#1 for the outermost one"
            raise Usage(f"--vary {text}: layers are counted from 1", hint)
        fits = [
            number
            for number, each in enumerate(self.packet.iterpayloads())
            if type(each).__name__.lower() == layer or _is_icmp6(each, layer)
        ]
        if nth > len(fits):
            missing = f"{nth} layers {match[1]}" if fits else f"layer {match[1]}"
            raise Usage(f"--vary {text}: the packet has no {missing}", self.remedy())
        return self._named(text, fits[nth - 1], name)

    def _named(self, text: str, number: int, name: str) -> Named:
        layer = list(self.packet.iterpayloads())[number]
        if not name or name not in layer.default_fields:
            names = ", ".join(each.name for each in layer.fields_desc)
            what = f"has no field {name!r}" if name else "is a layer, and no field"
            raise Usage(f"--vary {text}: {text.partition('.')[0]} {what}", f"it has: {names}")
        notation = notation_of(layer, name)
        if not notation:
            raise Usage(
                f"--vary {text}: not a number or an address of fixed length",
                "vary other fields, or bytes of the payload, such as u16@60",
            )
        return Named(number, name, notation)

    def _bytes(self, text: str, bits: int, at: int, mask: str | None) -> Bytes:
        frame, payload = self.template.frame, self.template.payload
        start, end = len(frame) - payload, at + bits // 8
        if at < start or end > len(frame):
            hint = f"the payload is bytes {start} to {len(frame)}; " + self.remedy()
            if not payload:
                hint = "the packet has no payload: add one, /('x'*18); " + self.remedy()
            raise Usage(f"--vary {text}: bytes {at} to {end} are not in the payload", hint)
        place, width = 8 * at, bits
        if mask:
            value = int(mask, 16)
            low = (value & -value).bit_length() - 1
            width = value.bit_length() - max(low, 0)
            if not value or value >> bits or value >> low != (1 << width) - 1:
                hint = f"write bits in a row of {bits}, such as 0x0ff0"
                raise Usage(f"--vary {text}: a mask that can't be used", hint)
            place += bits - low - width
        return Bytes(place, d.number(width), start)

    def remedy(self) -> str:
        """Return which layers the packet has, and how fields are named."""
        names = [type(each).__name__.lower() for each in self.packet.iterpayloads()]
        names = [SHOWN.get(name, name) for name in names if name not in {"raw", "padding"}]
        return f"its layers are {', '.join(names)}; write --vary LAYER.FIELD=VALUES"

    def bits(self, text: str, place: Place) -> int:
        """Return the offset of a place in bits from the frame's start. Raise Usage."""
        if isinstance(place, Bytes):
            return place.at
        width = place.notation.bits
        try:
            zeros, ones = (self.build({place: v}, {}) for v in (0, (1 << width) - 1))
            places = _differing(zeros, ones) if len(zeros) == len(ones) else []
        except Usage:
            raise
        except Exception:  # noqa: BLE001 - Scapy raises anything
            places = []
        if places:
            first, last = places[0], places[-1]
            data = bytes(a ^ b for a, b in zip(zeros, ones, strict=True))[first : last + 1]
            changed = int.from_bytes(data, "big")
            low = (changed & -changed).bit_length() - 1
            if changed >> low == (1 << width) - 1:
                return 8 * (last + 1) - low - width
        raise Usage(
            f"--vary {text}: more of the packet than the field follows from its value",
            "vary other fields",
        )


def settle(packet: Packet) -> None:
    """Write out the addresses that Scapy chooses by others and by the machine's routes: no more of
    the packet follows from those that vary.
    """
    for layer in packet.iterpayloads():
        for each in layer.fields_desc:
            if layer.getfieldval(each.name) is not None or not _is_there(layer, each):
                continue
            if notation_of(layer, each.name) in {d.IP4, d.IP6, d.MAC}:
                field = _plain(layer, each.name)
                chosen = field.i2m(layer, field.default)
                layer.setfieldval(each.name, field.m2i(layer, chosen))


def _is_there(layer: Packet, field: AnyField) -> bool:
    """Return whether a layer has a field, of those that depend on others."""
    from scapy.fields import ConditionalField  # noqa: PLC0415 - Scapy takes a second to import

    return not isinstance(field, ConditionalField) or bool(field._evalcond(layer))  # noqa: SLF001


def _differing(one: bytes, other: bytes) -> list[int]:
    """Return the offsets of the bytes that two frames don't have in common."""
    if len(one) != len(other):
        return []
    return [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def _is_icmp6(layer: Packet, name: str) -> bool:
    return name in {"icmp6", "icmpv6"} and type(layer).__name__.startswith("ICMPv6")


def _plain(layer: Packet, name: str) -> AnyField:
    """Return the field of a layer that its value is written by, out of those it may be."""
    from scapy.fields import MultipleTypeField  # noqa: PLC0415 - Scapy takes a second to import

    field = layer.get_field(name)
    while True:
        if isinstance(field, MultipleTypeField):
            field, _ = field._find_fld_pkt_val(layer, layer.getfieldval(name))  # noqa: SLF001
        elif hasattr(field, "fld"):
            field = field.fld
        else:
            return field


def notation_of(layer: Packet, name: str) -> d.Notation | None:
    """Return how the values of a layer's field are written; None: it has no fixed length."""
    from scapy import fields as f  # noqa: PLC0415 - Scapy takes a second to import

    field = _plain(layer, name)
    if isinstance(field, f.IPField):
        return d.IP4
    if isinstance(field, f.IP6Field):
        return d.IP6
    if isinstance(field, f.MACField):
        return d.MAC
    if isinstance(field, f.BitField | f.BitEnumField | f.FlagsField):
        return d.number(int(field.size)) if field.size <= 64 else None
    if field.islist or field.holds_packets or isinstance(field, f.StrField):
        return None
    return d.number(8 * int(field.sz)) if field.fmt[-1:] in {"B", "H", "I", "Q"} else None
