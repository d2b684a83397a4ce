# SPDX-License-Identifier: Apache-2.0
"""Sizes of frames, one after another: ranges, lists, weights, mixes of Internet traffic (IMIX).

Sizes are bytes without FCS. Those of named mixes and of RFC 6985's letters are with FCS, by their
definition, and 4 bytes less here.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, replace
from fractions import Fraction

from uspnet import units
from uspnet.errors import Usage
from uspnet.units import Unreadable

FCS = 4  # bytes
LETTERS = {  # RFC 6985, section 4
    "a": 64, "b": 128, "c": 256, "d": 512, "e": 1024, "f": 1280, "g": 1518, "h": 2112, "i": 9000,
    "j": 16000,
}  # fmt: skip
MTU, MTU_FRAME = "z", 1518  # the frame of an MTU of 1,500 bytes
MIXES = {  # of the Open Traffic Generator's model, flow size, weight_pairs.predefined
    "imix": "64:7,570:4,1518:1",
    "ipsec_imix": "90:58.67,92:2,594:23.66,1418:15.67",
    "ipv6_imix": "60:58.67,496:2,594:23.66,1518:15.67",
    "standard_imix": "58:58.67,62:2,594:23.66,1518:15.67",
    "tcp_imix": "90:58.67,92:2,594:23.66,1518:15.67",
}
RANDOM_CYCLE = 1 << 16  # sizes drawn, after which they repeat
CYCLE_MAX = 1 << 16  # frames of one cycle
ORDER_MAX = 1 << 21  # the same, where there are several packets of each size
GENOME_MAX = 64  # letters that are shown
HINT = "write --size=60, =60-1514, =60,1514, =60:7,1514:1, =random:60-1514, =imix or =imix:aaab"


@dataclass(frozen=True)
class Sizes:
    """Sizes in bytes without FCS, and the order in which they are sent, again and again."""

    sizes: tuple[int, ...]
    order: tuple[int, ...] = (0,)  # indexes of `sizes`
    drawn: bool = False  # at random
    seed: int = 1  # of what is drawn

    def __str__(self) -> str:
        """Return them as RFC 6985 writes them, or by weights where it has no letters."""
        letters = {size - FCS: letter for letter, size in LETTERS.items()}
        if len(self.sizes) == 1:
            return str(self.sizes[0])
        if self.drawn:
            return f"random:{min(self.sizes)}-{max(self.sizes)}"
        if len(self.order) <= GENOME_MAX and all(size in letters for size in self.sizes):
            return "imix:" + "".join(letters[self.sizes[each]] for each in self.order)
        if self.sizes == tuple(range(self.sizes[0], self.sizes[-1] + 1)) == self._each():
            return f"{self.sizes[0]}-{self.sizes[-1]}"
        weights = [f"{size}:{self.order.count(each)}" for each, size in enumerate(self.sizes)]
        if len(weights) <= 8:
            return ",".join(weights)
        return f"{min(self.sizes)}-{max(self.sizes)}"

    def by(self, seed: int) -> Sizes:
        """Return them, drawn by a seed if they are drawn."""
        return replace(self, order=_draw(len(self.sizes), seed), seed=seed) if self.drawn else self

    def _each(self) -> tuple[int, ...]:
        """Return the sizes of one cycle."""
        return tuple(self.sizes[each] for each in self.order)

    def over(self, packets: int) -> tuple[int, ...]:
        """Return the order for so many templates of each size, which follow one another in a list:
        each size is sent once for each of them. Raise Usage.
        """
        if len(self.sizes) == 1:
            return ()
        if len(self.order) * packets > ORDER_MAX:
            hint = "write fewer values in --packet, or fewer sizes"
            raise Usage(f"{packets:,} packets of {len(self.order):,} sizes are too many", hint)
        return tuple(each * packets + number for each in self.order for number in range(packets))


def read_sizes(text: str | int) -> Sizes:
    """Read sizes as people write them. Raise Unreadable."""
    text = str(text).strip().lower()
    kind, colon, rest = text.partition(":")
    if kind == "imix":
        return _mix(rest if colon else "imix")
    if kind == "random" and colon:
        sizes = _listed(rest)
        return Sizes(sizes, _draw(len(sizes), 1), drawn=True) if len(sizes) > 1 else Sizes(sizes)
    if colon:
        return _weighted(text)
    return in_turn(_listed(text))


def _draw(count: int, seed: int) -> tuple[int, ...]:
    """Draw which of so many sizes each frame of a cycle has."""
    draw = random.Random(f"sizes {seed}")  # noqa: S311 - no secret; others draw from it, too
    return tuple(draw.randrange(count) for _ in range(RANDOM_CYCLE))


def in_turn(sequence: tuple[int, ...]) -> Sizes:
    """Return sizes that are sent as they are listed."""
    sizes = tuple(dict.fromkeys(sequence))
    number = {size: each for each, size in enumerate(sizes)}
    return Sizes(sizes, tuple(number[size] for size in sequence))


def _mix(name: str) -> Sizes:
    full = name if name in MIXES else f"{name}_imix"
    if full in MIXES:
        return _weighted(MIXES[full], FCS)
    genome, comma, mtu = name.partition(f",{MTU}=")
    if not re.fullmatch(f"[a-j{MTU}]+", genome) or len(genome) > CYCLE_MAX:
        names = ", ".join(each.removesuffix("_imix") for each in MIXES if each != "imix")
        letters = ", ".join(f"{letter} {size}" for letter, size in LETTERS.items())
        hint = f"write imix, imix: and {names}, or letters of: {letters}, and {MTU} for the MTU: "
        raise Unreadable("not a mix", f"{hint}{MTU_FRAME}, or as in imix:aaz,z=9018")
    sizes = {**LETTERS, MTU: _size(mtu, FCS) + FCS if comma else MTU_FRAME}
    return in_turn(tuple(_size(str(sizes[letter]), FCS) for letter in genome))


def _listed(text: str) -> tuple[int, ...]:
    """Read sizes and ranges of sizes with commas between."""
    made: list[int] = []
    for each in text.split(","):
        first, dash, last = each.partition("-")
        low = _size(first)
        high = _size(last) if dash else low
        if high < low:
            raise Unreadable(f"the range {each} is empty", HINT)
        made += range(low, high + 1)
        if len(made) > CYCLE_MAX:
            raise Unreadable("too many sizes", f"list at most {CYCLE_MAX:,}")
    return tuple(made)


def _size(text: str, less: int = 0) -> int:
    from uspnet.pool import FRAME_MAX  # noqa: PLC0415 - the command line loads no fast path

    try:
        size = units.count(text) - less
    except Unreadable:
        raise Unreadable("not a size", HINT) from None
    if not 14 <= size <= FRAME_MAX:
        raise Unreadable(f"{size} bytes is not a frame", f"14 to {FRAME_MAX} bytes without FCS")
    return size


def _weighted(text: str, less: int = 0) -> Sizes:
    """Read `SIZE:WEIGHT,…`, and spread the sizes evenly over the shortest cycle that has them in
    these shares exactly.
    """
    pairs: dict[int, Fraction] = {}
    for each in text.split(","):
        size, _, weight = each.partition(":")
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", weight) or not Fraction(weight):
            raise Unreadable(f"{weight!r} is not a weight", HINT)
        number = _size(size, less)
        pairs[number] = pairs.get(number, Fraction(0)) + Fraction(weight)
    scale = math.lcm(*(weight.denominator for weight in pairs.values()))
    counts = [int(weight * scale) for weight in pairs.values()]
    counts = [count // math.gcd(*counts) for count in counts]
    if sum(counts) > CYCLE_MAX:
        hint = f"round the weights: a cycle has at most {CYCLE_MAX:,} frames"
        raise Unreadable(f"a cycle of {sum(counts):,} frames is too long", hint)
    return Sizes(tuple(pairs), tuple(spread(counts)))


def spread(counts: list[int]) -> list[int]:
    """Return each index so many times, spread evenly: the one that lags most is next."""
    total, lag, order = sum(counts), [0] * len(counts), []
    for _ in range(total):
        lag = [behind + count for behind, count in zip(lag, counts, strict=True)]
        chosen = lag.index(max(lag))
        lag[chosen] -= total
        order.append(chosen)
    return order
