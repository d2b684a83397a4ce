# SPDX-License-Identifier: Apache-2.0
"""What changes from packet to packet, as people ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import Usage

if TYPE_CHECKING:
    from uspnet.packets.vary.domain import Domain

FLOWS_MAX = 1 << 20
ZIPF_MAX = 10.0
HINT = "add fields of headers, as --vary ip.src=10.0.0.0/16 --vary udp.sport=random"


@dataclass(frozen=True)
class Turn:
    """A field, by its name, whose values are played in turn, each in `every` packets in a row."""

    name: str
    domain: Domain
    every: int = 1


@dataclass(frozen=True)
class Change:
    """Texts `NAME=VALUES`; the seed of what is drawn; the number of flows to make of the header
    fields among them (None: no flows), and the exponent s of their shares, 1/rank^s (None: in
    turn). `turns`: what changes besides, unless a text names the same field. Raises Usage.
    """

    vary: Sequence[str] = ()
    seed: int = 1
    flows: int | None = None
    zipf: float | None = None
    turns: Sequence[Turn] = ()

    def __post_init__(self) -> None:
        """Raise Usage for what does not fit together."""
        if self.flows is not None and not self.vary:
            raise Usage("--flows: nothing varies", HINT)
        if self.zipf is not None and self.flows is None:
            raise Usage("--zipf gives shares to flows, and there are none", "add --flows 1000")
        if self.flows is not None and not 1 <= self.flows <= FLOWS_MAX:
            raise Usage(f"--flows {self.flows}", f"from 1 to {FLOWS_MAX:,}")
        if self.zipf is not None and not 0 < self.zipf <= ZIPF_MAX:
            raise Usage(f"--zipf {self.zipf}", f"an exponent above 0, up to {ZIPF_MAX:g}: 1.1, say")
