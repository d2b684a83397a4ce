# SPDX-License-Identifier: Apache-2.0
"""The result of `pktgen --profile`."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.jobs.punctual import Pacing
from uspnet.jobs.result import GenerateResult
from uspnet.jobs.returned import MeasureResult


@dataclass(frozen=True, kw_only=True)
class StreamResult:
    """A stream of `pktgen --profile`: offered = sent + unsent."""

    name: str
    """Its name."""
    port: str
    """The port that it is sent to."""
    offered: int
    """Packets that were due to be sent."""
    sent: int
    """Packets that the port took: those that it dropped later are among its `drops`."""
    unsent: int
    """Packets that it did not take."""
    pacing: Pacing | None
    """How well its rate was kept; null: it has none."""


@dataclass(frozen=True, kw_only=True)
class ProfileResult(GenerateResult):
    """The result of `pktgen --profile`: offered = sent + unsent, in each stream and in all."""

    streams: tuple[StreamResult, ...]
    """The streams, in the order of the file."""


@dataclass(frozen=True, kw_only=True)
class ReturnedStream(StreamResult):
    """A stream of `pktgen --profile --rx-port`: lost = sent - received."""

    received: int
    """Packets of it that came back."""
    lost: int
    """Packets of it that did not come back, with those that the sending port dropped later."""
    duplicated: int
    """Packets that came back more than once."""
    reordered: int
    """Packets that came back after a later one."""
    reordered_in_flows: int | None
    """Packets that came back after a later one of the same flow; null: without `--per-flow`."""
    stale: int
    """Packets that came back when their numbers had been forgotten."""
    latency_ns: dict[str, int] | None
    """Latencies as in the run's; null: none was measured."""
    jitter_ns: dict[str, int] | None
    """Jitter as in the run's; null: none was measured."""


@dataclass(frozen=True, kw_only=True)
class ProfileMeasureResult(MeasureResult):
    """The result of `pktgen --profile --rx-port`."""

    streams: tuple[ReturnedStream, ...]
    """The streams, in the order of the file."""
