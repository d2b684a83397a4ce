# SPDX-License-Identifier: Apache-2.0
"""Fields of Scapy's packets that have several values: `dport=[53,123]`, `dst="10.0.0.0/8"`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from uspnet.errors import Usage
from uspnet.packets.vary.domain import IP4, IP6, LIST_MAX, MAC, Domain, Notation

if TYPE_CHECKING:
    from scapy.packet import Packet

Part = Any  # a range of numbers, a network, a packet, or one value


@dataclass(frozen=True)
class Several:
    """The values of a field of a layer, whose number is from outside: some ranges and networks, and
    single values, in Scapy's order. `named`: the field, as `--vary` names it.
    """

    layer: int
    name: str
    named: str
    parts: tuple[Part, ...]

    def count(self) -> int:
        """Return how many values there are."""
        return sum(map(_count, self.parts))

    def value(self, index: int) -> object:
        """Return one of them, as Scapy has it."""
        for part in self.parts:
            if index < (count := _count(part)):
                return _nth(part, index)
            index -= count
        raise IndexError(index)

    def domain(self, notation: Notation) -> Domain | None:
        """Return them as numbers, as that notation reads them; None: some are none."""
        found = []
        for part in self.parts:
            first = _number(_nth(part, 0), notation)
            last = _number(_nth(part, _count(part) - 1), notation)
            if first is None or last is None or not _fits(notation, first, last):
                return None
            step = part.step if isinstance(part, range) else 1
            found.append(Domain(_count(part), first, step))
        if len(found) == 1:
            return found[0]
        if self.count() > LIST_MAX:
            return None
        values = tuple(each.value(index) for each in found for index in range(each.count))
        return Domain(len(values), values=values)


def several(packet: Packet) -> Iterator[Several]:
    """Yield the fields of a packet with several values or none, the one that advances last,
    first.
    """
    seen = dict[str, int]()
    for number, layer in enumerate(packet.iterpayloads()):
        kind = type(layer).__name__.lower()
        seen[kind] = seen.get(kind, 0) + 1
        for name in reversed(list(layer.fields)):
            made = Several(number, name, f"{kind}#{seen[kind]}.{name}", _parts(layer, name))
            if made.count() != 1:
                yield made


def combinations(packet: Packet) -> int:
    """Count the packets that Scapy makes of one, without making them."""
    return prod(each.count() for each in several(packet))


def _parts(layer: Packet, name: str) -> tuple[Part, ...]:
    """Return a field's values as Scapy's SetGen has them."""
    from scapy.base_classes import SetGen  # noqa: PLC0415 - Scapy takes a second to import

    value = layer.fields[name]
    return (None,) if layer.get_field(name).islist else tuple(SetGen(value).values)


def _count(part: Part) -> int:
    from scapy.base_classes import Net  # noqa: PLC0415
    from scapy.packet import Packet  # noqa: PLC0415

    if isinstance(part, Net):
        return max(int(part.count), 0)
    if isinstance(part, Packet):
        return combinations(part)
    return len(part) if isinstance(part, range) else 1


def _nth(part: Part, index: int) -> object:
    """Return the value of an index, counted from 0."""
    from scapy.base_classes import Net  # noqa: PLC0415

    if isinstance(part, Net):
        return None if part.scope else part.int2ip(part.start + index)
    return part[index] if isinstance(part, range) else part


def _number(value: object, notation: Notation) -> int | None:
    """Return a value as a number; None: it is none."""
    from scapy.fields import FlagValue  # noqa: PLC0415

    if notation in (IP4, IP6, MAC):
        if isinstance(value, bytes) and notation == MAC:
            return int.from_bytes(value, "big")
        try:
            return notation.read(value) if isinstance(value, str) else None
        except (ValueError, Usage):
            return None
    return int(value) if isinstance(value, int | FlagValue) else None


def _fits(notation: Notation, *values: int) -> bool:
    return all(0 <= value < 1 << notation.bits for value in values)
