# SPDX-License-Identifier: Apache-2.0
"""What `uspnet demo --json` says."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.telemetry import PortCounters


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One process of the chain: the command, and the packets that it sent, forwarded or wrote."""

    step: str
    command: list[str]
    packets: int
    pps: float


@dataclass(frozen=True, kw_only=True)
class NicHop:
    """What became of the packets between two emulated NICs. `missing`: why there were none, and the
    `hint`; the counts are None then.
    """

    command: list[str]
    missing: str
    hint: str
    offered: int | None
    sent: int | None
    received: int | None
    lost: int | None
    pps: float | None
    tx_bytes: int | None
    rx_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class DemoResult(Answer):
    """offered = written + lost. `complete`: it was not interrupted."""

    elapsed_s: float
    ports: tuple[PortCounters, ...]
    complete: bool
    offered: int
    sent: int
    written: int
    lost: int
    pps: float
    hops: tuple[Hop, ...]
    nic: NicHop
    files: list[str]
