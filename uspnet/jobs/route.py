# SPDX-License-Identifier: Apache-2.0
"""Where packets come from and where they may leave, and which worker does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from uspnet.port import Port

End = tuple[Port, int]  # a port, and the number of one of its queues
Route = tuple[End | None, Sequence[End]]  # a receive queue, and transmit queues


def owners(routes: Iterable[Route]) -> list[list[Route]]:
    """Group routes so that no two groups share a transmit queue: each queue has one owner."""
    groups: list[tuple[set[End], list[Route]]] = []
    for route in routes:
        exits, members = set(route[1]), [route]
        apart = []
        for ends, others in groups:
            if ends & exits:
                exits |= ends
                members = others + members
            else:
                apart.append((ends, others))
        groups = [*apart, (exits, members)]
    return [members for _, members in groups]
