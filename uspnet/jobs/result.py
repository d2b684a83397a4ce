# SPDX-License-Identifier: Apache-2.0
"""What a job says at its end, or so far. `--json` prints `as_json()`; the JSON schema is made from
these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from uspnet.answer import Answer
from uspnet.telemetry import PortCounters

Ended = Literal["count", "duration", "signal", "stopped", "source", "error"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the run was asked for. None: no limit."""

    count: int | None = None
    duration_s: float | None = None
    rate_pps: float | None = None


@dataclass(frozen=True, kw_only=True)
class Result(Answer):
    """What every run says. Times in seconds; `active_s`: from the first packet to the last.

    `missed` was lost before it reached us, as far as the ports know; None when none does.
    `ended`: why the run is over; None while it is not.
    """

    elapsed_s: float
    active_s: float
    ended: Ended | None
    asked: Asked
    ports: tuple[PortCounters, ...]
    missed: int | None
    dropped: int
    drops: dict[str, int]
    pps: float
    bps: float


@dataclass(frozen=True, kw_only=True)
class GenerateResult(Result):
    """offered = sent + unsent, in which is what was dropped. `found_ring_full`: packets that the
    ring did not take at once. `l1_bps`: with preamble, gap and FCS.
    """

    offered: int
    sent: int
    unsent: int
    found_ring_full: int
    l1_bps: float


@dataclass(frozen=True, kw_only=True)
class MeasureResult(GenerateResult):
    """What became of the packets, too: sent = received + lost. `foreign`: packets that are none of
    ours. Latencies in ns, each to 3 %. None: not known of packets without numbers.
    """

    received: int
    lost: int
    duplicated: int | None
    reordered: int | None
    stale: int | None
    foreign: int
    latency_ns: dict[str, int] | None


@dataclass(frozen=True, kw_only=True)
class CaptureResult(Result):
    """received = filtered + written + dropped + discarded; packets are discarded only when there is
    no file to write.
    """

    received: int
    filtered: int
    written: int
    discarded: int
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ForwardResult(Result):
    """received + copied = forwarded + dropped (+ what still waits, while it runs). `copied`:
    packets that a mode sent by a further port.
    """

    received: int
    copied: int
    forwarded: int
