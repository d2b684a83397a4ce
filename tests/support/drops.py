# SPDX-License-Identifier: Apache-2.0
"""What a queue dropped, by reason."""

from uspnet.fastpath import lib
from uspnet.telemetry import REASONS


def reasons(counters):
    """Dropped packets by reason, checked against the two sums."""
    drops = counters.drops
    assert counters.dropped == sum(drops[0 : lib.DROP_ERRORS])
    assert counters.errors == sum(drops[lib.DROP_ERRORS : len(drops)])
    return {name: drops[place] for name, place in REASONS.items() if drops[place]}
