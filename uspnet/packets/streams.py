# SPDX-License-Identifier: Apache-2.0
"""Several packets with weights: `3:Ether()/…` is sent three times as often as one without. What is
no Scapy expression is hexadecimal text, `hex:ffff…`, or frames that somebody has read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.packets.given import Given, templates_of
from uspnet.packets.hexdump import read_hex
from uspnet.packets.sizes import ORDER_MAX, spread
from uspnet.packets.vary.change import Change
from uspnet.text import printable

if TYPE_CHECKING:
    from uspnet.packets.frames import Template

WEIGHT = re.compile(r"\s*([0-9]+)\s*:(.*)", re.DOTALL)
WEIGHT_MAX = 1_000_000
STDIN, HEX, SHOWN = "-", "hex:", 24
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


def read_packets(texts: Sequence[str], stdin: Callable[[], str]) -> list[Weighted | Given]:
    """Read the values of `--packet`; `-` stands for the text of `stdin`, once. Raise Usage."""
    made: list[Weighted | Given] = []
    for text in texts:
        each = read_weighted(text)
        if each.expression.strip() == STDIN:
            if any(isinstance(before, Given) and before.name == "stdin" for before in made):
                raise Usage("--packet -: stdin can be read once", "drop one of them")
            made.append(Given("stdin", read_hex(stdin(), "stdin"), each.weight))
        elif each.expression.startswith(HEX):
            made.append(Given(f"--packet {HEX}", _read_hex(each.expression), each.weight))
        else:
            made.append(each)
    return made


def _read_hex(text: str) -> list[bytes]:
    """Read `hex:ffff…`. Raise Usage, which shows it, and names the line if there are several."""
    shown = printable(text, SHOWN)
    digits = text.removeprefix(HEX)
    return read_hex(digits, f"--packet {shown}", lines="\n" in digits.strip())


def craft_all(
    packets: Sequence[Weighted | Given],
    size: int | None,
    sizes: Sequence[int] = (0,),
    *,
    alike: bool = False,
) -> tuple[list[Template], Change, Order]:
    """Build the frames of several expressions, as `craft_changing` does each, or take those that
    are given, as `templates_of` does; return what changes in all of them, and their order: for
    `order_of`, they are made once for each of `sizes`. Raise Usage, which names the expression
    where there are several.
    """
    templates: list[Template] = []
    counts, drawn = [], []
    for number, each in enumerate(packets, 1):
        made, draws = _craft(each, size, alike=alike, number=number if len(packets) > 1 else None)
        templates += made
        counts.append(len(made))
        drawn.append(draws)
    if differing := [n for n, draws in enumerate(drawn, 1) if [*draws.vary] != [*drawn[0].vary]]:
        text = f"--packet {differing[0]} draws other fields than --packet 1"
        raise Usage(text, "draw the same ones in each, or use --vary")
    return templates, drawn[0], _order(packets, counts, sizes)


def _craft(
    packet: Weighted | Given, size: int | None, *, alike: bool, number: int | None
) -> tuple[list[Template], Change]:
    if isinstance(packet, Given):
        return templates_of(packet, size, alike=alike), Change()
    from uspnet.packets.craft import craft_changing  # noqa: PLC0415 - Scapy takes a second

    try:
        return craft_changing(packet.expression, size, turning=number is None)
    except Usage as error:
        if number is None:
            raise
        message, *lines = error.lines
        text = message.replace("--packet", f"--packet {number}", 1)
        raise Usage(text, error.hint, lines) from None


def _order(
    packets: Sequence[Weighted | Given], counts: Sequence[int], sizes: Sequence[int]
) -> Order:
    return order_of(counts, [each.weight for each in packets], sizes) if len(packets) > 1 else ()


Order = tuple[int, ...]


def order_of(counts: Sequence[int], weights: Sequence[int], sizes: Sequence[int] = (0,)) -> Order:
    """Return the shortest cycle of templates, `counts` of each expression, one expression's behind
    the other's, and all of them once for each size: expressions come in proportion to their
    weights, evenly spread, and the templates of each in turn, in the order of `sizes`. Raise Usage.
    """
    shares = [weight // math.gcd(*weights) for weight in weights]
    turns = [held * len(sizes) for held in counts]
    pairs = list(zip(turns, shares, strict=True))
    rounds = math.lcm(*(held // math.gcd(held, share) for held, share in pairs))
    if rounds * sum(shares) > ORDER_MAX:
        text = f"--packet: a cycle of {rounds * sum(shares):,} packets is too long"
        raise Usage(text, "give rounder weights, or list fewer values")
    firsts = [sum(counts[:number]) for number in range(len(counts))]
    owns = [
        [size * sum(counts) + first + each for size in sizes for each in range(held)]
        for first, held in zip(firsts, counts, strict=True)
    ]
    numbers = [count() for _ in counts]
    return tuple(owns[each][next(numbers[each]) % turns[each]] for each in spread(shares) * rounds)
