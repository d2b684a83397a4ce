# SPDX-License-Identifier: Apache-2.0
"""The result of `pktgen --rx-port`: what came back, when, and what did not."""

from __future__ import annotations

from dataclasses import dataclass, field

from uspnet.jobs.result import GenerateResult


@dataclass(frozen=True, kw_only=True)
class Second:
    """What happened in a second of a run; the last one may be shorter."""

    begins_s: float
    """Seconds from the start of the run to its begin."""
    ends_s: float
    """Seconds from the start of the run to its end."""
    sent: int
    """Packets sent in it."""
    received: int
    """Packets of this run that came back in it."""
    lost: int
    """Packets that were missing at its end more than at its begin: less than 0 when late ones came
    back. Without sequence numbers, those on their way are missing, too."""
    latency_ns: dict[str, int] | None
    """Latencies of what came back in it, as in the run's: `p50`, `p99`, `max`; null: none."""
    jitter_ns: dict[str, int] | None
    """Jitter as in the run's: `rfc3550` at its end, `mean` of what came back in it; null: none."""


@dataclass(frozen=True, kw_only=True)
class LatencyBin:
    """How many packets had a latency of so many nanoseconds."""

    from_ns: int
    """The shortest."""
    to_ns: int
    """The longest."""
    packets: int
    """Packets with it."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Packets lost in a row. Its time is that between its neighbours that came back, as sent."""

    queue: int
    """Number of the sending queue, or of the stream of --profile; each has sequence numbers of its
    own, from 0 on."""
    first: int
    """Sequence number of the first packet of them."""
    last: int
    """Sequence number of the last packet of them."""
    packets: int
    """How many they are."""
    begins_s: float
    """Seconds from the start of the run until the last packet before them that came back was
    sent; 0: none did."""
    duration_s: float
    """Seconds from then until the first packet after them that came back was sent; or until the end
    of the run."""
    ended: bool
    """Whether a packet after them came back."""
    stream: str | None = None
    """Name of the stream of --profile; null: there is no profile."""


@dataclass(frozen=True, kw_only=True)
class FlowLoss:
    """A flow, and how much of it was lost."""

    flow: str
    """The fields that make it, and their values, as `--vary` names them: `ip.src=10.0.0.1 …`."""
    packets: int
    """Packets of it that are in the file of `--lost`."""
    stream: str | None = None
    """Name of the stream of --profile that it is of; null: there is no profile."""


@dataclass(frozen=True, kw_only=True)
class LostFile:
    """The file of `--lost`."""

    file: str
    """Its name."""
    written: int
    """Packets written, as they were sent."""
    not_written: int
    """Lost packets that are not in it: more were on their way than are kept in mind, or the file
    took them too slowly."""


@dataclass(frozen=True, kw_only=True)
class InFlows:
    """The order within each flow. A flow is what one sending queue, or stream of --profile, sends
    in one direction between the same addresses and ports by one protocol; of packets that are not
    IP, between the same MAC addresses by one EtherType.
    """

    flows: int
    """Flows that came back."""
    reordered: int
    """Packets that came back after a later one of the same flow; duplicates are none of them."""
    flows_reordered: int
    """Flows that they are of."""
    unknown: int
    """Packets of flows that the table had no place for: whether they are in order is not known."""


@dataclass(frozen=True, kw_only=True)
class MeasureResult(GenerateResult):
    """The result of `pktgen --rx-port`: offered = sent + unsent; lost = sent - received."""

    received: int
    """Packets of this run that came back."""
    lost: int
    """Packets sent that did not come back."""
    duplicated: int | None
    """Packets that came back more than once; null: packets without sequence numbers."""
    reordered: int | None
    """Packets that came back after a later one of the same queue; null: packets without sequence
    numbers."""
    stale: int | None
    """Packets that came back when their numbers had been forgotten; null: packets without sequence
    numbers."""
    in_flows: InFlows | None = None
    """The order within each flow; null: without `--per-flow`."""
    foreign: int
    """Packets received that pktgen did not send."""
    latency_ns: dict[str, int] | None
    """Latencies in nanoseconds, each to 0.8 %: `min`, `p50`, `p90`, `p99`, `p999`, `max`; null:
    none was measured. With a rate, they count from when a packet was due, and so include `late_ns`
    of `pacing`; without one, from when its burst was made."""
    jitter_ns: dict[str, int] | None = None
    """By how many nanoseconds the latency of a packet differs from that of the one before, if it
    comes next after it by number, in the same sending queue: `mean` and `max` over all such packets
    (packet delay variation, RFC 3393), and `rfc3550`, the interarrival jitter of RFC 3550 at the
    end, which follows the latest ones; of several queues the largest. Packets of one burst are
    received at one time. Null: there are none, or packets have no sequence numbers."""
    latency_histogram: tuple[LatencyBin, ...] = ()
    """Packets by latency, in steps of a quarter of an octave, from the shortest to the longest."""
    seconds: tuple[Second, ...] = ()
    """What happened in each second, the latest 3,600 of them; while the run goes on, the last."""
    losses: tuple[Loss, ...] = ()
    """Packets lost in a row, by queue and number, the first 1,000 times and the longest one; empty
    while the run goes on, and without sequence numbers. Packets that the sending port dropped after
    they got their numbers are among them."""
    losses_left_out: int = 0
    """Times that packets were lost in a row that `losses` has no room for."""
    longest_loss: Loss | None = None
    """The longest of them by time; null: there is none. While the run goes on, what was sent in the
    latest 65,536 packets may still come, and is none."""
    lost_by_size: dict[str, int] = field(default_factory=dict)
    """Packets written to the file of `--lost`, by their bytes without FCS."""
    lost_by_flow: tuple[FlowLoss, ...] = ()
    """The ten flows of `--flows` that most of them are of, when the run is over."""
    flows_with_losses: int | None = None
    """How many flows they are of; null: there are none, or the run goes on."""
    lost_file: LostFile | None = None
    """The file that lost packets were written to; null: none was asked for."""
