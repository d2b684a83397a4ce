# SPDX-License-Identifier: Apache-2.0
"""How much is tested: the only place that reads `USPNET_FULL`.

unset    the normal tier: every layer, with an eighth of the cases that start processes
1        the full tier, which CI runs: more combinations, kills and mutations, in under an hour
all      every combination; takes hours, and is run by hand
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TypeVar

import pytest

from tests.support.lanes import in_order

NAMES = ("normal", "full", "all")
# Tests in these folders start processes or devices, which takes most of the time: of each one's
# cases, the tiers have the first ones, and some of the rest.
SLOW = (
    *("tests/binding/", "tests/cli/", "tests/drivers/", "tests/jobs/", "tests/peers/"),
    *("tests/ports/", "tests/process/", "tests/sandbox/", "tests/system/"),
)
Value = TypeVar("Value")


def chosen(text: str) -> str:
    """Return the name of the tier that a value of `USPNET_FULL` asks for."""
    return {"": "normal", "0": "normal", "all": "all"}.get(text, "full")


TIER = chosen(os.environ.get("USPNET_FULL", ""))


def by_tier(normal: Value, full: Value, everything: Value | None = None) -> Value:
    """Return the value of the current tier; `everything` is that of `full` where it is not given.

    Numbers of rounds and lists of parameters are written so: `ROUNDS = by_tier(8, 100)`.
    """
    if TIER == "all" and everything is not None:
        return everything
    return normal if TIER == "normal" else full


def pytest_collection_modifyitems(config, items):
    """Leave out tests marked `full` in the normal tier, and those marked `everything` in all tiers
    but `all`, and cases of `SLOW`, unless a file is named to pytest.
    """
    if any(".py" in argument for argument in config.args):
        return
    markers = by_tier({"full", "everything"}, {"everything"}, set())
    kept = [item for item in items if not any(map(item.get_closest_marker, markers))]
    kept = by_tier(thinned(kept, 1, 8), thinned(kept, 4, 2), kept)
    left_out = set(items).difference(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = in_order(kept)


def thinned(items, first, every):
    """Return the tests with fewer cases of slow ones: the first ones of a test, and of those behind
    them every second, eighth or so.
    """
    seen = Counter()
    kept = []
    for item in items:
        test, _, case = item.nodeid.partition("[")
        number = seen[test]
        if not (case and test.startswith(SLOW)) or number < first or number % every == 0:
            kept.append(item)
        seen[test] += 1
    return kept


def full(*values):
    """Return a test's parameters that only the full tier has: `[1, *full(2, 3)]`."""
    return [pytest.param(value, marks=pytest.mark.full) for value in values]


def everything(*values):
    """Return a test's parameters that only tier `all` has."""
    return [pytest.param(value, marks=pytest.mark.everything) for value in values]
