# SPDX-License-Identifier: Apache-2.0
"""The results of jobs, at their end or so far. `--json` prints `as_json()`; the JSON schema and its
page in the documentation are made from these classes and the text below each field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from uspnet.answer import Answer, Json
from uspnet.jobs.filtering import FilterCode
from uspnet.jobs.forward.result import (
    Balanced,
    Impaired,
    Routed,
    Ruled,
    SetCount,
    Switched,
    TracedPacket,
)
from uspnet.jobs.left_out import Deduplicated, FirstOfFlows, Sliced
from uspnet.jobs.punctual import Pacing
from uspnet.sandbox.enforced import Enforced
from uspnet.telemetry import PortCounters

Ended = Literal["count", "duration", "signal", "stopped", "source", "error", "upgrade"]

# Reasons to drop that somebody asked for, or that are what bridges and routers are for: no loss.
INTENDED = (
    *("filtered", "policed", "truncated", "same_port", "link_local", "loss", "ended"),
    *("queue_full", "codel"),
    *("untriggered", "beyond_first", "duplicate", "not_routed", "other_host", "to_router"),
)


def unintended(drops: Mapping[str, int]) -> int:
    """Return how many packets were dropped for reasons that nobody asked for."""
    return sum(count for reason, count in drops.items() if reason not in INTENDED)


@dataclass(frozen=True, kw_only=True)
class PortResult(PortCounters):
    """One port's counters and its link."""

    link_bps: int | None = None
    """Speed of its link in bits a second, as device or kernel have it; null: not known."""
    how: str | None = None
    """Which way to the device or into the kernel it took, where there are several: a transport, or
    `native, zero copy`; null: there is one."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The limits that the run was given."""

    count: int | None = None
    """`--count`, packets; null: no limit."""
    duration_s: float | None = None
    """`--duration`, seconds; null: no limit."""
    rate_pps: float | None = None
    """`--rate` in packets a second; null: as fast as the port takes them, or `ramp`."""
    ramp: str | None = None
    """`--ramp`; null: one rate."""
    burst_size: int | None = None
    """`--burst-size`, packets; null: no bursts."""
    poisson: bool = False
    """`--poisson`: gaps are random."""
    size: str | None = None
    """`--size` in bytes without FCS, or as RFC 6985 writes sizes: imix:aab; null: those of
    `--packet`."""
    vary: tuple[str, ...] = ()
    """`--vary`: the fields that change from packet to packet, and their values."""
    broken: tuple[str, ...] = ()
    """`--break`: what is wrong in packets: a field, `runt` or `fcs`."""
    break_every: int | None = None
    """`--break-every`: one of so many packets is broken; null: none is."""
    flows: int | None = None
    """`--flows`; null: values don't move together."""
    zipf: float | None = None
    """`--zipf`; null: flows are sent in turn."""
    seed: int | None = None
    """`--seed`; null: nothing is drawn."""
    dry_run: bool = False
    """`--dry-run`: what counts as sent was written to a file instead, as fast as it takes it."""
    profile: str | None = None
    """`--profile`: the file of streams; null: none."""
    replay: tuple[str, ...] = ()
    """`--replay`: the capture files."""
    loop: int | None = None
    """`--loop`: how often they are played, 0 for without end; null: nothing is replayed."""
    speed: float | None = None
    """`--speed`: how much faster than the files' own timing; null: not by that."""
    merge: bool = False
    """`--merge`: the files are played as one, by the times of their packets."""
    split_by: str | None = None
    """`--split-by`: the packets that are sent to the first port; null: all."""
    filter: str | None = None
    """`--filter`: the packets of the files that are sent, or of a port that are captured; null:
    all."""
    filters: tuple[str, ...] = ()
    """`PORT,filter=`: the filter of each port that is captured, empty for all of its packets; no
    list: no port has its own."""
    dedup: str | None = None
    """`--dedup`: within which time the same packet is a duplicate, and what of it is ignored;
    null: all are captured."""
    first: str | None = None
    """`--first`: how much of each flow is captured; null: all."""
    slice: str | None = None
    """`--slice`: up to which header packets are written; null: whole."""
    rate_bps: float | None = None
    """`--rate` of a replay in bits a second, of frames without FCS (L2); null: not in bits."""
    rate_l1_bps: float | None = None
    """`--rate` of a replay in percent, as bits a second on the wire (L1); null: not in percent."""
    swap: str | None = None
    """`--swap` of `reflect`: the addresses that are exchanged; null: nothing is reflected."""


@dataclass(frozen=True, kw_only=True)
class Result(Answer):
    """What all runs have in common."""

    elapsed_s: float
    """Seconds that the run took, by the workers' clocks."""
    active_s: float
    """Seconds from the first packet to the last; 0 while the run goes on, and without packets."""
    ended: Ended | None
    """What ended the run: its `count` or `duration`, a `signal`, the end of its `source`, an
    `error`, an `upgrade` after which another version goes on, or `stopped`: after the last packet
    of `fwd --trace`, or by the program that uses uspnet as a library; null while it goes on."""
    asked: Asked
    """The limits that the run was given."""
    ports: tuple[PortResult, ...]
    """The ports' counters, in the order of the command line."""
    missed: int | None
    """Packets lost before uspnet received them, as far as devices and the kernel count them; null:
    none of the receiving ports can know."""
    dropped: int
    """Packets dropped, for any reason: the sum of `drops`."""
    drops: dict[str, int]
    """Packets dropped by reason; reasons that never occurred are left out."""
    restarts: int
    """Times that the process with the loops was replaced, because it had died or hung."""
    upgrades: int
    """Times that `uspnet upgrade` has replaced the loops, or the whole program."""
    before: list[Json]
    """The results until each cold upgrade, the first one first: they are not in these counters."""
    pps: float
    """Packets a second, over the whole run."""
    bps: float
    """Bits a second, over the whole run: of frames without FCS, preamble and gap (L2)."""
    sandbox: Enforced | None
    """What is enforced on the process that runs the loops; null: they run in the job's own."""
    filter_code: FilterCode | None = None
    """What has run the filters: `x86-64` machine code made of them, or an `interpreter`; null: no
    filter has run."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Requests for addresses that `pktgen --answer` names. The answers are in the port's
    `tx_packets`, and are not packets sent.
    """

    arp: int
    """ARP requests, for IPv4 addresses."""
    ndp: int
    """Neighbor solicitations, for IPv6 addresses."""
    unsent: int
    """Those of them whose answer was not sent, for want of room in the transmit ring."""
    drops: dict[str, int] = field(default_factory=dict)
    """Answers that the port dropped, by reason: they are in its `drops`, and not in the run's."""


@dataclass(frozen=True, kw_only=True)
class GenerateResult(Result):
    """The result of `pktgen`: offered = sent + unsent."""

    offered: int
    """Packets that were due to be sent."""
    sent: int
    """Packets sent."""
    unsent: int
    """Packets not sent, among them those that were dropped."""
    found_ring_full: int
    """Packets that the transmit ring had no room for at first, and took later."""
    l1_bps: float
    """Bits a second on the wire (L1): with FCS, preamble and gap, 24 bytes a packet. What pads
    short frames is not counted."""
    pacing: Pacing | None = None
    """How well the rate was kept; null: none was asked for, files are replayed, or streams have
    rates of their own."""
    answered: Answered | None = None
    """Requests for MAC addresses that were answered; null: there was no --answer."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What was read of one file of `pktgen --replay`."""

    file: str
    """Its name."""
    passes: int
    """How often it was begun."""
    packets: int
    """Packets offered, over all passes."""
    bytes: int
    """Their bytes, without FCS."""
    skipped: dict[str, int]
    """Packets that could not be offered, or were not wanted, by reason."""
    truncated: int
    """Packets of which the file has only a part, over all passes."""
    when_truncated: str
    """What became of those: `send`, as they are; `pad`, with zeros up to their length on the wire;
    `skip`, nothing."""
    share: float | None
    """How far it was read in this pass, 0 to 1; null: a stream, whose size is not known."""


@dataclass(frozen=True, kw_only=True)
class ReplayResult(GenerateResult):
    """The result of `pktgen --replay`: offered = sent + unsent; what is skipped is not offered."""

    skipped: dict[str, int]
    """Packets of the files that could not be offered, or were not wanted, by reason:
    `not_ethernet`, `truncated`, …"""
    broken: dict[str, int] = field(default_factory=dict)
    """Packets that had what `--break` names, and are wrong in it; the others are as they were."""
    replayed: tuple[Replayed, ...]
    """The files, in the order in which they are played."""


@dataclass(frozen=True, kw_only=True)
class FileBuffer:
    """The memory between the ports of `capture` and its file."""

    full: float
    """How full it is, 0 to 1, where it is fullest: each queue has a part of its own."""
    passed_bytes: int
    """Bytes of records that have left it, before compression, as if each 256 KiB chunk had been
    full: too many by up to one record a chunk."""


@dataclass(frozen=True, kw_only=True)
class CaptureResult(Result):
    """The result of `capture`: received = filtered + written + dropped + discarded."""

    received: int
    """Packets that entered the port."""
    filtered: int
    """Packets that the filter rejected."""
    written: int
    """Packets written to the file."""
    discarded: int
    """Packets that were only counted: there is no file to write."""
    files: list[str] = field(default_factory=list)
    """Files written, and kept."""
    triggered_ns: int | None = None
    """Time of the packet or signal that triggered, in ns since 1970; null: nothing did."""
    deleted_files: int = 0
    """Files of a ring that were deleted again, the oldest first."""
    deleted_packets: int = 0
    """Packets written to those."""
    deduplicated: Deduplicated | None = None
    """What `--dedup` left out; null: it was not given."""
    first: FirstOfFlows | None = None
    """What `--first` left out; null: it was not given."""
    sliced: Sliced | None = None
    """What `--slice` has cut; null: it was not given."""
    writing: str | None = None
    """Which way the files go: `direct` (past the page cache), or `buffered`; null: a pipe, none."""
    buffer: FileBuffer | None = None
    """What waits to be written; null: there is no file."""


@dataclass(frozen=True, kw_only=True)
class ForwardResult(Result):
    """The result of `fwd`: received + copied = forwarded + dropped, when it is over."""

    received: int
    """Packets that entered the ports."""
    copied: int
    """Packets that the mode sent by a further port."""
    forwarded: int
    """Packets that left by a port."""
    switch: Switched | None = None
    """The table of `--mode switch`; null: another mode."""
    rules: tuple[Ruled, ...] = ()
    """The rules of `--mode filter`, in their order; empty: another mode."""
    balance: Balanced | None = None
    """What `--mode balance` counts; null: another mode."""
    impaired: Impaired | None = None
    """What `--mode impair` has done to packets; null: another mode."""
    route: Routed | None = None
    """The table of `--mode route`; null: another mode."""
    set: tuple[SetCount, ...] = ()
    """The fields that `--set` sets, by their place in the frame; empty: it was not given."""
    traced: tuple[TracedPacket, ...] | None = None
    """What `--trace` has followed; null: it was not given."""


@dataclass(frozen=True, kw_only=True)
class ReflectResult(Result):
    """The result of `reflect`: received = reflected + dropped, when it is over."""

    received: int
    """Packets that entered the port."""
    reflected: int
    """Packets that were sent back."""
