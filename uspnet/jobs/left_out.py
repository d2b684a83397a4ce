# SPDX-License-Identifier: Apache-2.0
"""What `capture` left out because somebody asked for it: parts of its result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Deduplicated:
    """What `capture --dedup` has left out."""

    packets: int
    """Packets left out: they are in `drops` as `duplicate`."""
    bytes: int
    """Their bytes, without FCS."""
    forgotten: int
    """Packets that were forgotten before their time, for want of room in the table, so that some
    duplicates of theirs may have been captured: see `packets=`."""


@dataclass(frozen=True, kw_only=True)
class FirstOfFlows:
    """What `capture --first` has seen, and left out."""

    flows: int
    """Flows that began; both directions are one."""
    cut_flows: int
    """Flows of which some packets were left out."""
    packets: int
    """Packets left out: they are in `drops` as `beyond_first`."""
    bytes: int
    """Their bytes, without FCS."""
    forgotten: int
    """Flows that were forgotten for want of room in the table, and may have begun anew: see
    `flows=`."""


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """What `capture --slice` has cut."""

    packets: int
    """Packets of which something was cut."""
    bytes: int
    """The bytes that were cut of them."""
