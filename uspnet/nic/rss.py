# SPDX-License-Identifier: Apache-2.0
"""Receive side scaling: what every NIC that spreads flows over its queues is told alike."""

from __future__ import annotations

# The key of Microsoft's "Verifying the RSS Hash Calculation": its results are published.
RSS_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
)
ENTRIES = 128  # of the table that leads from a hash to a queue


def spread(queues: list[int]) -> list[int]:
    """Return a redirection table that assigns these queues in turn."""
    return [queues[i % len(queues)] for i in range(ENTRIES)]
