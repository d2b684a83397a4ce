# SPDX-License-Identifier: Apache-2.0
"""What modes of fwd count beside the packets: parts of its result."""

from __future__ import annotations

from dataclasses import dataclass

LOOP_MOVES, LOOP_MOVES_EACH = 1000, 10  # of addresses, and of each that is known, in LOOP_S
LOOP_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Switched:
    """The table of `fwd --mode switch`."""

    macs: int
    """MAC addresses that are known now, by VLAN."""
    moved: int
    """Times that an address was seen behind another port than before."""
    flooded: int
    """Packets that were sent by all other ports: groups, and addresses that were not known."""
    unlearned: int
    """Packets whose source could not be learned, for want of room in the table: see `--macs`."""


def seems_loop(moved: int, macs: int, elapsed_s: float) -> bool:
    """Return whether addresses moved so often that packets seem to come back by other ports."""
    often = moved / max(elapsed_s / LOOP_S, 1)
    return often >= LOOP_MOVES and often > LOOP_MOVES_EACH * macs


@dataclass(frozen=True, kw_only=True)
class Ruled:
    """One rule of `fwd --mode filter`."""

    rule: str
    """The rule, as it was written; a last `pass` stands for what no rule accepts."""
    packets: int
    """Packets that it decided on."""
    bytes: int
    """Their bytes, without FCS."""


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """What `fwd --mode balance` counts beside the ports' packets."""

    rerouted: int
    """Packets that left by another port than the one of their flow, because that was down."""


@dataclass(frozen=True, kw_only=True)
class Impaired:
    """What `fwd --mode impair` has done; packets lost by `--loss` are in `drops`."""

    delayed: int
    """Packets that waited for `--delay`, with `--jitter`."""
    duplicated: int
    """Packets sent twice."""
    corrupted: int
    """Packets with one bit changed."""
    reordered: int
    """Packets that left at once, before those that waited."""
    bad_state: int
    """Packets that came while the line was in the bad state of `--loss gemodel`."""
    most_waiting: int
    """The most packets that waited at once in one direction of a queue: see `--limit`."""
    most_queued: int
    """The most packets that waited at once in the queue of a bottleneck: see `--queue`."""
    longest_queued_ns: int
    """The longest time in ns that a packet waited in such a queue before it was sent."""


@dataclass(frozen=True, kw_only=True)
class Routed:
    """The table of `fwd --mode route`."""

    ipv4: int
    """IPv4 prefixes of the file or the kernel, the router's own addresses among them."""
    ipv6: int
    """IPv6 prefixes, likewise."""
    next_hops: int
    """Different next hops that packets are sent to, neighbors on a link among them."""
    memory_bytes: int
    """Bytes of memory that the tables take."""
    neighbors: int
    """Neighbors whose MAC address is known."""
    unanswered: tuple[str, ...]
    """With `--kernel-routes`, neighbors that are asked for and do not answer, with interfaces."""


@dataclass(frozen=True, kw_only=True)
class SetCount:
    """A field that `fwd --set` sets."""

    set: str
    """What was to be set, as it was written."""
    packets: int
    """Packets that had the field, and have this value now; copies count, too."""
    without: int
    """Packets that had none, and left as they were in this."""


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """Bytes of a packet that are others when it leaves."""

    at: int
    """The first one's number, from 0."""
    before: str
    """They, in hexadecimal."""
    after: str
    """What they are then."""


@dataclass(frozen=True, kw_only=True)
class AtExit:
    """A port that a packet, or a copy of it, was to leave by."""

    port: str
    """The port spec, without secrets."""
    became: str
    """`sent`; `waits` for room; or the reason for which it was dropped there."""


@dataclass(frozen=True, kw_only=True)
class TracedPacket:
    """A packet that `fwd --trace` has followed."""

    time_ns: int
    """When the loop looked at it, in ns since 1970."""
    port: str
    """The port that it came from."""
    bytes: int
    """Its length, without FCS."""
    data: str
    """Its first 2,048 bytes, in hexadecimal."""
    steps: tuple[str, ...]
    """What the mode has found, and decided on."""
    rewritten: tuple[Rewritten, ...]
    """What was changed in it."""
    dropped: str | None
    """The reason for which the mode dropped it; null: it did not."""
    exits: tuple[AtExit, ...]
    """The ports that it was to leave by."""
