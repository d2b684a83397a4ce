# SPDX-License-Identifier: Apache-2.0
"""Scapy's volatile values in an expression, `sport=RandShort()`: what they are drawn from, as
`--vary` writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import Usage

if TYPE_CHECKING:
    from scapy.packet import Packet


@dataclass(frozen=True)
class Drawn:
    """Stands in a packet for a value that is drawn anew for each: `values` as `--vary` has them."""

    values: str


def _number(low: int = 0, high: int = -1) -> Drawn:
    if not isinstance(low, int) or not isinstance(high, int) or high < low:
        raise Usage("--packet: RandNum draws from a range of numbers", "write RandNum(1,9)")
    return Drawn(f"{low}-{high}:random")


def _network(network: str = "") -> Drawn:
    return Drawn(f"{network}:random" if network else "random")


DRAWS: dict[str, Callable[..., Drawn]] = {
    "RandByte": lambda: _number(0, (1 << 8) - 1),
    "RandShort": lambda: _number(0, (1 << 16) - 1),
    "RandInt": lambda: _number(0, (1 << 32) - 1),
    "RandLong": lambda: _number(0, (1 << 64) - 1),
    "RandNum": _number,
    "RandIP": _network,
    "RandIP6": _network,
    "RandMAC": lambda: Drawn("random"),
}


def take_drawn(packet: Packet) -> list[str]:
    """Take what is drawn out of a packet, whose fields get their defaults. Return it as texts for
    `--vary`. Raise Usage.
    """
    texts, seen = [], dict[str, int]()
    for layer in packet.iterpayloads():
        kind = type(layer).__name__.lower()
        seen[kind] = seen.get(kind, 0) + 1
        for name, value in list(layer.fields.items()):
            if isinstance(value, list) and any(isinstance(each, Drawn) for each in value):
                hint = f"write {name}=RandNum(1,9), or list values"
                raise Usage(f"--packet: {name} can't be drawn from a list of draws", hint)
            if isinstance(value, Drawn):
                texts.append(f"{kind}#{seen[kind]}.{name}={value.values}")
                del layer.fields[name]
    return texts
