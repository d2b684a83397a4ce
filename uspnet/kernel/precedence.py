# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's tables counts: `local` before `main`, whatever the prefixes' lengths are.

Linux keeps IPv4's two tables in one trie until somebody adds a rule (`ip rule`), and there the
longest prefix of both counts. That state is told by nothing but what the kernel decides: so it is
asked, in the rare case that a prefix of `main` lies within a shorter one of `local`.
"""

from __future__ import annotations

from collections.abc import Iterable

from uspnet.kernel import fib
from uspnet.kernel.netlink import Netlink

TRIES = 64  # prefixes that the kernel is asked about at most, of each family
Prefixes = dict[int, set[int]]  # by length, shortened to it


def effective(netlink: Netlink, routes: Iterable[fib.KernelRoute]) -> list[fib.KernelRoute]:
    """Return the routes without those of `main` that `local` hides. Raises OSError."""
    found = list(routes)
    local: dict[int, Prefixes] = {size: {} for size in fib.SIZES.values()}
    for route in found:
        if not route.rank[0]:
            same = local[len(route.address)].setdefault(route.length, set())
            same.add(_shortened(route.address, route.length))
    hidden: set[fib.KernelRoute] = set()
    for size, prefixes in local.items():
        within = [each for each in found if len(each.address) == size and _within(each, prefixes)]
        if within and _local_is_first(netlink, within):
            hidden.update(within)
    return [each for each in found if each not in hidden] if hidden else found


def _shortened(address: bytes, length: int) -> int:
    return int.from_bytes(address) >> (8 * len(address) - length)


def _within(route: fib.KernelRoute, local: Prefixes) -> bool:
    """Return whether it is a route of `main` to a part of a prefix of `local`."""
    return route.rank[0] and any(
        length < route.length and _shortened(route.address, length) in prefixes
        for length, prefixes in local.items()
    )


def _local_is_first(netlink: Netlink, within: list[fib.KernelRoute]) -> bool:
    """Ask the kernel by which prefix it sends packets that both tables have one for. What a longer
    one decides, or a route that leads nowhere now, says nothing.
    """
    routes = [route for route in within if route.kind == fib.UNICAST and route.ways]
    for route in routes[:TRIES]:
        length = fib.length_for(netlink, _middle(route))
        if length is not None and length <= route.length:
            return length < route.length
    return True


def _middle(route: fib.KernelRoute) -> bytes:
    """Return an address of a prefix that is hardly one of our own, nor its broadcast address."""
    size = len(route.address)
    half = (1 << (8 * size - route.length)) >> 1
    return (int.from_bytes(route.address) + half).to_bytes(size)
