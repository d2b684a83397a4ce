# SPDX-License-Identifier: Apache-2.0
"""Several packets with weights: `3:Ether()/…` is sent three times as often as one without."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.packets.sizes import ORDER_MAX, spread

if TYPE_CHECKING:
    from uspnet.packets.frames import Template

WEIGHT = re.compile(r"\s*([0-9]+)\s*:(.*)", re.DOTALL)
WEIGHT_MAX = 1_000_000
HINT = "write 3:Ether()/IP()/UDP(), with a weight from 1 to 1,000,000"


@dataclass(frozen=True)
class Weighted:
    """A Scapy expression, and how often it is sent in proportion to others."""

    expression: str
    weight: int = 1


def read_weighted(text: str) -> Weighted:
    """Read `EXPR` or `WEIGHT:EXPR`. Raise Usage."""
    match = WEIGHT.fullmatch(text)
    if not match:
        return Weighted(text)
    if len(match[1]) > len(str(WEIGHT_MAX)) or not 1 <= int(match[1]) <= WEIGHT_MAX:
        raise Usage(f"--packet: {match[1][:20]} is not a weight", HINT)
    return Weighted(match[2], int(match[1]))


def craft_all(texts: Sequence[str], size: int | None) -> tuple[list[Template], list[str], Order]:
    """Build the frames of several expressions, as `craft_drawn` does each; return their order, too.
    Raise Usage, which names the expression where there are several.
    """
    from uspnet.packets.craft import craft_drawn  # noqa: PLC0415 - Scapy takes a second

    templates: list[Template] = []
    counts, weights, drawn = [], [], []
    for number, text in enumerate(texts, 1):
        each = read_weighted(text)
        try:
            made, draws = craft_drawn(each.expression, size)
        except Usage as error:
            if len(texts) == 1:
                raise
            message = error.message.replace("--packet", f"--packet {number}", 1)
            raise Usage(message, error.hint) from None
        templates += made
        counts.append(len(made))
        weights.append(each.weight)
        drawn.append(draws)
    if differing := [number for number, draws in enumerate(drawn, 1) if draws != drawn[0]]:
        text = f"--packet {differing[0]} draws other fields than --packet 1"
        raise Usage(text, "draw the same ones in each, or use --vary")
    return templates, drawn[0], order_of(counts, weights) if len(texts) > 1 else ()


Order = tuple[int, ...]


def order_of(counts: Sequence[int], weights: Sequence[int]) -> Order:
    """Return the shortest cycle of templates, `counts` of each expression, one expression's behind
    the other's: expressions come in proportion to their weights, evenly spread, and the templates
    of each in turn. Raise Usage.
    """
    shares = [weight // math.gcd(*weights) for weight in weights]
    pairs = list(zip(counts, shares, strict=True))
    rounds = math.lcm(*(held // math.gcd(held, share) for held, share in pairs))
    if rounds * sum(shares) > ORDER_MAX:
        text = f"--packet: a cycle of {rounds * sum(shares):,} packets is too long"
        raise Usage(text, "give rounder weights, or list fewer values")
    firsts = [sum(counts[:number]) for number in range(len(counts))]
    turns = [count() for _ in counts]
    return tuple(
        firsts[each] + next(turns[each]) % counts[each] for each in spread(shares) * rounds
    )
