# SPDX-License-Identifier: Apache-2.0
"""Packets that are broken on purpose: wrong checksums, lengths and other fields, runts, and frames
with a wrong FCS of their own.

A wrong checksum differs from the right one by a constant, so what varies or is numbered in a packet
is updated in it as in the right one, and it stays wrong.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from uspnet.errors import Usage
from uspnet.packets.fields.field import Field
from uspnet.packets.following import SUMS, Patch, Renew, Spot, checks_of
from uspnet.packets.frames import FRAME_MIN, Template
from uspnet.packets.guard import alone
from uspnet.packets.payload import CHECKSUMS, made_of
from uspnet.packets.sizes import FCS, ORDER_MAX
from uspnet.packets.vary import domain as d
from uspnet.packets.vary.place import Layout, Named, Place

RUNT, RUNT_MIN = 40, 18  # bytes: what is left of a frame, and at least
VALUE_BITS, VALUE_SHOWN = 64, 24  # characters of one that is too large
MORE = 8  # by how much a field is wrong
HINT = "write ip.chksum, udp.chksum, ip.len, udp.len=4, runt, runt=32 or fcs, with commas between"


@dataclass(frozen=True)
class Break:
    """What is wrong: a field by its name, `runt` or `fcs`. `value`: the field's, or the length."""

    name: str
    value: int | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


@dataclass(frozen=True)
class Wrong:
    """All that is wrong in every `every`-th packet."""

    breaks: tuple[Break, ...] = ()
    every: int = 1

    def __bool__(self) -> bool:
        return bool(self.breaks)

    def has(self, name: str) -> bool:
        """Return whether this is among what is wrong."""
        return any(each.name == name for each in self.breaks)

    def break_all(
        self, templates: Sequence[Template], order: Sequence[int], fields: Sequence[Field]
    ) -> tuple[list[Template], tuple[int, ...]]:
        """Return templates, of which those that are sent as every `every`-th are broken, and their
        order. `fields`: what varies in them. Raise Usage.
        """
        broken = [self._broken(each, fields) for each in templates]
        if self.every == 1:
            return broken, tuple(order)
        right = list(templates)
        if self.has("fcs"):
            if fields:
                text = "--break fcs: the right FCS of packets that vary is not computed"
                raise Usage(text, "drop --break-every, or --vary")
            right = [_with_fcs(each, 0) for each in templates]
        turns = tuple(order) or tuple(range(len(right)))
        length = math.lcm(len(turns), self.every)
        if length > ORDER_MAX:
            text = f"--break-every: a cycle of {length:,} packets is too long"
            raise Usage(text, "give a smaller or a rounder number, or fewer packets")
        places = (turns[i % len(turns)] for i in range(length))
        shift = len(right)
        cycle = (at if (i + 1) % self.every else at + shift for i, at in enumerate(places))
        return [*right, *broken], tuple(cycle)

    def _broken(self, template: Template, fields: Sequence[Field]) -> Template:
        named = [each for each in self.breaks if each.name not in {"runt", "fcs"}]
        for each in named:
            template = _summed(template, each, fields)
        layout = Layout(template)
        for _, patch in sorted((_patch(layout, each, fields) for each in named), key=_last):
            template = _patched(template, patch)
        for each in self.breaks:
            if each.name == "runt":
                template = _cut(template, each.value or RUNT)
        return _with_fcs(template, 0xFFFFFFFF) if self.has("fcs") else template


def read_breaks(texts: Sequence[str]) -> tuple[Break, ...]:
    """Read `ip.chksum,udp.len=4`, several times. Raise Usage."""
    found = [_read(part.strip()) for text in texts for part in text.split(",")]
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Usage(f"--break: {twice[0]} is given twice", "name it once")
    return tuple(found)


def _read(text: str) -> Break:
    name, equals, value = text.partition("=")
    try:
        number = int(value, 0) if equals else None
    except ValueError:
        raise Usage(f"--break {text}: {value!r} is not a number", HINT) from None
    if number is not None and number.bit_length() > VALUE_BITS:
        text = f"--break {name}={value[:VALUE_SHOWN]}…: no field has more than {VALUE_BITS} bits"
        raise Usage(text, HINT)
    if name == "fcs" and equals:
        raise Usage(f"--break {text}: an FCS has no value", "write fcs")
    if name == "runt" and not RUNT_MIN <= (RUNT if number is None else number) < FRAME_MIN:
        text = f"--break {text}: a runt has {RUNT_MIN} to {FRAME_MIN - 1} bytes, without FCS"
        raise Usage(text, "write runt=40")
    if name not in {"runt", "fcs"} and "." not in name:
        raise Usage(f"--break {text}: not the name of a field", HINT)
    return Break(name, number)


def _patched(template: Template, patch: Callable[[bytes], bytes]) -> Template:
    rebuild = template.rebuild

    def again(at: int, data: bytes) -> bytes:
        return patch(rebuild(at, data))

    return Template(patch(template.frame), template.payload, again, template.packet)


def _cut(template: Template, length: int) -> Template:
    """Return what is left of a frame; lengths in its headers stay."""
    if length > len(template.frame):
        text = f"--break runt: the packet has {len(template.frame)} bytes, less than {length}"
        raise Usage(text, "give a smaller one: runt=32")
    payload = max(template.payload - (len(template.frame) - length), 0)
    cut = _patched(template, lambda frame: frame[:length])
    return Template(cut.frame, payload, cut.rebuild, cut.packet)


def _with_fcs(template: Template, wrong: int) -> Template:
    """Return a frame with an FCS at its end, of which these bits are wrong."""

    def add(frame: bytes) -> bytes:
        return frame + (zlib.crc32(frame) ^ wrong).to_bytes(FCS, "little")

    made = _patched(template, add)
    return Template(made.frame, 0, made.rebuild, made.packet)


def _find(layout: Layout, wrong: Break) -> tuple[Place, int]:
    """Return the place of a field, and its offset in bits. Raise Usage."""
    try:
        place = layout.find(wrong.name)
        return place, layout.bits(wrong.name, place)
    except Usage as error:
        message = error.message.replace("--vary", "--break")
        raise Usage(
            message, error.hint.replace("--vary LAYER.FIELD=VALUES", "--break LAYER.FIELD")
        ) from None


def _summed(template: Template, wrong: Break, fields: Sequence[Field]) -> Template:
    """Return the template with a UDP checksum where there is none, but 0, and it is to be wrong:
    whatever was put there could be right. Raise Usage.
    """
    from scapy.layers.inet import UDP  # noqa: PLC0415 - Scapy takes a second to import

    layout = Layout(template)
    place, _ = _find(layout, wrong)
    if wrong.value is not None or not isinstance(place, Named) or place.name not in CHECKSUMS:
        return template
    packet = layout.packet.copy()
    layer = list(packet.iterpayloads())[place.layer]
    if not isinstance(layer, UDP) or layer.fields.get(place.name) != 0:
        return template
    if fields:
        text = f"--break {wrong.name}: there is none, chksum=0, and its right value would vary"
        raise Usage(text, "leave chksum=0 out of --packet, or drop --vary")
    del layer.fields[place.name]
    packet.clear_cache()
    with alone():
        return made_of(packet, bytes(packet), template.payload)


def _patch(layout: Layout, wrong: Break, fields: Sequence[Field]) -> tuple[Named, Patch]:
    """Return a field, and what makes it wrong in a frame of this layout. Raise Usage."""
    place, bit = _find(layout, wrong)
    if not isinstance(place, Named) or place.notation in {d.IP4, d.IP6, d.MAC}:
        raise Usage(f"--break {wrong.name}: an address is never wrong", "give it by --packet")
    bits = place.notation.bits
    if wrong.value is not None and wrong.value >> bits:
        text = f"--break {wrong.name}: {wrong.value} does not fit into {bits} bits"
        raise Usage(text, f"give a value of 0 to {(1 << bits) - 1:,}")
    if any(each.writes(bit // 8, (bit + bits + 7) // 8 - bit // 8) for each in fields):
        raise Usage(f"--break {wrong.name}: --vary changes it", "name it in one of them")
    if wrong.value is not None and any(each.follows(bit // 8) for each in fields):
        text = f"--break {wrong.name}: the checksum follows what --vary changes"
        raise Usage(text, "drop its value, or --vary; to send none: UDP(chksum=0) in --packet")
    spot = Spot(bit, bits)
    return place, Patch(spot, _renewal(place, wrong.value), checks_of(layout, place, spot))


def _last(found: tuple[Named, Patch]) -> tuple[bool, int]:
    """Return the place in the order of what is made wrong: checksums follow the fields, and the
    outer ones the inner ones; what they are to be in the end comes last.
    """
    place, _ = found
    return place.name in CHECKSUMS, -place.layer


def _renewal(place: Named, value: int | None) -> Renew:
    """Return what makes the wrong value of a field out of the right one."""
    bits = place.notation.bits
    if value is not None:
        return partial(_put, value)
    if place.name in CHECKSUMS:
        return _spoil if bits == 16 else _flip
    return partial(_add, (1 << bits) - 1)


def _spoil(was: int) -> int:
    """Return a wrong Internet checksum, by a constant: one that is 1 more by its own arithmetic,
    and never 0.
    """
    return ~(((~was & SUMS) + 1) % SUMS) & SUMS


def _flip(was: int) -> int:
    """Return a wrong CRC: one with another bit."""
    return was ^ 1


def _add(mask: int, was: int) -> int:
    """Return another value of a field that has these bits."""
    return (was + (MORE & mask or 1)) & mask


def _put(value: int, was: int) -> int:
    """Return the value that was asked for."""
    del was
    return value
