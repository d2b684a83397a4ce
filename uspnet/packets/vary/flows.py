# SPDX-License-Identifier: Apache-2.0
"""Flows: distinct tuples of values that move together, played in turn or by Zipf's law."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.fields.program import Index, seed_for
from uspnet.packets.vary.change import HINT, Change
from uspnet.packets.vary.domain import Domain

if TYPE_CHECKING:
    from uspnet.packets.vary.compiler import Entry

ONE = 1 << 32  # probability 1 in an alias table


def flow_index(change: Change) -> Index:
    """Return which flow a packet belongs to."""
    flows = change.flows or 1
    if change.zipf is None:
        return Index(flows)
    weights = [rank**-change.zipf for rank in range(1, flows + 1)]
    table, seed = alias_table(weights), seed_for("flows", change.seed)
    return Index(flows, lib.CHOICE_ALIAS, seed=seed, alias=table)


def draw(change: Change, domains: Sequence[Domain]) -> list[Domain]:
    """Draw as many distinct tuples of these domains. Return each one's column. Raise Usage."""
    flows = change.flows or 1
    if not domains:
        raise Usage("--flows: no field of a header varies", HINT)
    different = [_distinct(each) for each in domains]
    total = math.prod(each.count for each in different)
    if flows > total:
        hint, flow = f"lower --flows to {total}, or vary more fields", "flow" + "s" * (total > 1)
        raise Usage(f"--flows {flows}: the values make only {total:,} {flow}", hint)
    columns: list[list[int]] = [[] for _ in different]
    for row in _sample(total, flows, change.seed):
        left = row
        for column, each in zip(columns, different, strict=True):
            left, index = divmod(left, each.count)
            column.append(each.value(index))
    return [Domain(flows, values=tuple(column)) for column in columns]


def namer(entries: Sequence[Entry]) -> Callable[[int], str]:
    """Return what names a flow, by its number: the fields that tell it from others, as `--vary`
    takes them.
    """
    fields = [each for each in entries if each.place.flow]

    def name(number: int) -> str:
        values = [each.place.notation.show(each.domain.value(number)) for each in fields]
        names = [each.text.partition("=")[0].strip() for each in fields]
        return " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))

    return name


def _distinct(domain: Domain) -> Domain:
    if domain.values is None:
        return domain
    values = tuple(dict.fromkeys(domain.values))
    return Domain(len(values), values=values)


def _sample(total: int, count: int, seed: int) -> list[int]:
    """Draw `count` different numbers below `total`."""
    source = random.Random(seed)  # noqa: S311 - no secret
    if total <= sys.maxsize:
        return source.sample(range(total), count)
    rows: dict[int, None] = {}
    while len(rows) < count:
        rows[source.randrange(total)] = None
    return list(rows)


def alias_table(weights: Sequence[float]) -> list[tuple[int, int]]:
    """Return Walker's table for these weights, made as Vose (1991) does: each row's share of its
    own, of 2^32, and the row that has the rest.
    """
    scale = len(weights) / sum(weights)
    shares = [weight * scale for weight in weights]
    small = [row for row, share in enumerate(shares) if share < 1]
    large = [row for row, share in enumerate(shares) if share >= 1]
    table = [(ONE - 1, row) for row in range(len(shares))]
    while small and large:
        row, other = small.pop(), large[-1]
        table[row] = (min(int(shares[row] * ONE), ONE - 1), other)
        shares[other] -= 1 - shares[row]
        if shares[other] < 1:
            small.append(large.pop())
    return table
