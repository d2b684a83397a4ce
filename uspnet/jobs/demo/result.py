# SPDX-License-Identifier: Apache-2.0
"""What `uspnet demo --json` prints."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.jobs.result import PortResult


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One process of the chain."""

    step: str
    """Its part: `pktgen`, `fwd` or `capture`."""
    command: list[str]
    """Its command line."""
    packets: int
    """Packets that it sent, forwarded or wrote."""
    pps: float
    """Packets a second, while packets flowed."""


@dataclass(frozen=True, kw_only=True)
class NicHop:
    """The run between two emulated NICs. All counts are null when there was none."""

    command: list[str]
    """Its command line."""
    missing: str
    """Why there was no such run; empty when there was."""
    hint: str
    """What to do about that."""
    offered: int | None
    """Packets that were due to be sent."""
    sent: int | None
    """Packets sent."""
    received: int | None
    """Packets received by the other NIC."""
    lost: int | None
    """Packets sent and not received."""
    pps: float | None
    """Packets a second."""
    tx_bytes: int | None
    """Bytes sent, without FCS."""
    rx_bytes: int | None
    """Bytes received, without FCS."""


@dataclass(frozen=True, kw_only=True)
class DemoResult(Answer):
    """The result of `demo`: offered = written + lost."""

    elapsed_s: float
    """Seconds that pktgen ran."""
    ports: tuple[PortResult, ...]
    """The counters of all processes' ports."""
    complete: bool
    """It was not interrupted."""
    offered: int
    """Packets that pktgen was to send."""
    sent: int
    """Packets sent by pktgen."""
    written: int
    """Packets written by capture."""
    lost: int
    """Packets that did not arrive in the file."""
    pps: float
    """Packets a second that pktgen sent."""
    hops: tuple[Hop, ...]
    """The processes of the chain."""
    nic: NicHop
    """The run between two emulated NICs."""
    files: list[str]
    """The capture file that was named; none when the run was interrupted."""
