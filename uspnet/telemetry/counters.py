# SPDX-License-Identifier: Apache-2.0
"""What queues count, under the kernel's names, and why packets were dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from uspnet.answer import Json
from uspnet.fastpath import c, ffi

# The kernel's names (rtnl_link_stats64) for what a queue counts.
NAMES = {
    "rx": {
        "packets": "rx_packets",
        "bytes": "rx_bytes",
        "errors": "rx_errors",
        "dropped": "rx_dropped",
        "missed": "rx_missed_errors",
    },
    "tx": {
        "packets": "tx_packets",
        "bytes": "tx_bytes",
        "errors": "tx_errors",
        "dropped": "tx_dropped",
    },
}
# What the kernel counts of a port besides, by scheme: the members of struct xdp_statistics.
STATISTICS: dict[str, tuple[str, ...]] = {
    "xdp": (
        "rx_dropped",
        "rx_invalid_descs",
        "tx_invalid_descs",
        "rx_ring_full",
        "rx_fill_ring_empty_descs",
        "tx_ring_empty_descs",
    )
}
UNKNOWN = 2**64 - 1  # a queue's counter that can't be known any more
INTERRUPTIONS = ("interruptions", "interrupted_s")  # of a port's device
COUNTERS = [*(name for names in NAMES.values() for name in names.values()), *INTERRUPTIONS]
# Why packets are dropped, by the fast path's own list: "no_room" and so on.
_REASONS: dict[str, int] = ffi.typeof("enum drop_reason").relements
REASONS = {
    name.removeprefix("DROP_").lower(): place
    for name, place in sorted(_REASONS.items(), key=lambda item: item[1])
    if name not in {"DROP_ERRORS", "DROP_REASONS"}
}


@dataclass(frozen=True, kw_only=True)
class PortCounters:
    """One port's counters, under the names of the kernel's `rtnl_link_stats64`; null: not known."""

    port: str
    """The port spec, without secrets."""
    driver: str
    """The NIC driver, or the scheme of a port that is no NIC."""
    rx_packets: int | None
    """Packets received."""
    rx_bytes: int | None
    """Bytes received, without FCS."""
    rx_errors: int | None
    """Packets received that were malformed, and dropped."""
    rx_dropped: int | None
    """Packets received that were dropped; `drops` has the reasons."""
    rx_missed_errors: int | None
    """Packets that the device, the kernel or the peer lost before they were received."""
    tx_packets: int | None
    """Packets sent."""
    tx_bytes: int | None
    """Bytes sent, without FCS."""
    tx_errors: int | None
    """Packets that could not be sent, and were dropped."""
    tx_dropped: int | None
    """Packets to send that were dropped; `drops` has the reasons."""
    drops: dict[str, int]
    """Packets dropped here by reason, whichever of the counters above has them."""
    interruptions: int = 0
    """How often its device was reset, or away, and started again. What the device lost just before
    and meanwhile is in no counter."""
    interrupted_s: float = 0.0
    """Seconds that its device could not be used, in all."""
    statistics: dict[str, int] = field(default_factory=dict)
    """What the kernel counts of it besides, by the kernel's names: `XDP_STATISTICS` of `xdp:`,
    over all its sockets. `rx_missed_errors` has its `rx_dropped` and `rx_ring_full`. Empty: another
    port."""

    @property
    def dropped(self) -> int:
        """Packets dropped in either direction, for any reason."""
        counts = (self.rx_dropped, self.rx_errors, self.tx_dropped, self.tx_errors)
        return sum(count or 0 for count in counts)


def drops_by_reason(blocks: Iterable[c.Counters | c.Answer]) -> dict[str, int]:
    """Sum dropped packets by reason over `struct counters *`, or others with such `drops`. Reasons
    that never happened are left out.
    """
    listed = list(blocks)
    totals = {name: sum(int(c.drops[place]) for c in listed) for name, place in REASONS.items()}
    return {name: total for name, total in totals.items() if total}


def statistics_of(driver: str, blocks: Iterable[c.Counters]) -> dict[str, int]:
    """Sum over `struct counters *` what the kernel counts of a port of this driver besides, by the
    kernel's names; empty for drivers without.
    """
    listed = list(blocks)
    names = enumerate(STATISTICS.get(driver, ()))
    return {name: sum(int(c.statistics[place]) for c in listed) for place, name in names}


def reasons_text(drops: Mapping[str, int]) -> str:
    """Format dropped packets by reason: `too long 8, no room 4`."""
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in drops.items())


def port_counters(queues: Iterable[tuple[str, c.Counters]], unknown: frozenset[str]) -> Json:
    """Sum a port's counters over its queues, under the kernel's names.

    `queues`: pairs of a direction and a `struct counters *`. What can't be known is None.
    """
    total: dict[str, int] = dict.fromkeys(COUNTERS, 0)
    lost, interrupted_ns = set(unknown), 0
    for direction, counters in queues:
        for ours, name in NAMES[direction].items():
            value = int(getattr(counters, ours))
            total[name] += value
            if value == UNKNOWN:
                lost.add(name)
        total["interruptions"] += int(counters.interruptions)
        interrupted_ns += int(counters.interrupted_ns)
    known = {**total, "interrupted_s": interrupted_ns / 1e9}
    return {name: None if name in lost else value for name, value in known.items()}
