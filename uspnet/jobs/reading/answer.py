# SPDX-License-Identifier: Apache-2.0
"""read: what files add up to, how their packets came, and what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.ports.pcap.about import InterfaceAbout, SectionAbout, StatisticsAbout


@dataclass(frozen=True, kw_only=True)
class FlowCount:
    """Packets between two ends, in both directions."""

    protocol: str
    """`tcp`, `udp`, …; the number of another IP protocol, or the EtherType of what is no IP."""
    source: str
    """The address of the end that sent the first packet; empty: none is known."""
    source_port: int | None
    """Its port; null: the protocol has none, or the packet does not have it."""
    destination: str
    """The address of the other end."""
    destination_port: int | None
    """Its port."""
    packets: int
    """Packets from the source."""
    bytes: int
    """Their bytes on the wire."""
    back_packets: int
    """Packets to the source."""
    back_bytes: int
    """Their bytes on the wire."""
    first_ns: int | None
    """The time of the earliest packet, in nanoseconds since 1970."""
    last_ns: int | None
    """That of the latest."""


@dataclass(frozen=True, kw_only=True)
class SizeCount:
    """Packets of similar sizes."""

    up_to: int | None
    """The largest size, in bytes on the wire; null: no limit."""
    packets: int
    """How many there are."""


@dataclass(frozen=True, kw_only=True)
class RateCount:
    """Packets of a part of the time."""

    from_ns: int
    """When it begins, in nanoseconds since 1970; a packet before the first such time counts to
    that.
    """
    packets: int
    """Packets in it."""
    bytes: int
    """Their bytes on the wire."""


@dataclass(frozen=True, kw_only=True)
class InterfaceCount:
    """What was captured on an interface, and lost there."""

    interface: int
    """Its number in the file."""
    name: str | None
    """Its name; null: the file does not say, as below."""
    packets: int
    """Packets of it in the file."""
    cut: int
    """Those of which the file has only a part."""
    received: int | None
    """Packets that had arrived, by the file's last statistics of it."""
    dropped: int | None
    """Packets that were lost, by the same."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What the packets of a file add up to. With a filter: those that it accepts."""

    packets: int
    """How many there are."""
    bytes: int
    """Their bytes on the wire, without FCS."""
    captured_bytes: int
    """Their bytes in the file."""
    cut: int
    """Packets of which the file has only a part."""
    timeless: int
    """Packets without a time."""
    disordered: int
    """Packets whose time is before that of the packet before."""
    first_ns: int | None
    """The earliest time, in nanoseconds since 1970; null: there is none."""
    last_ns: int | None
    """The latest one."""
    duration_s: float | None
    """Seconds between them."""
    pps: float | None
    """Packets a second of that; null: it is 0."""
    bps: float | None
    """Bits on the wire a second."""
    shortest: int | None
    """Bytes of the shortest packet; null: there is none."""
    longest: int | None
    """Bytes of the longest."""
    sizes: tuple[SizeCount, ...]
    """How many packets have which size."""
    step_s: float | None
    """The time that each of `rates` is for."""
    rates: tuple[RateCount, ...]
    """Packets by time; none are left out between the first and the last."""
    interfaces: tuple[InterfaceCount, ...]
    """The interfaces."""
    flows: int
    """How many flows there are: ends that exchange packets."""
    beyond: int
    """Packets of flows beyond those that there was memory for."""
    top: tuple[FlowCount, ...]
    """The flows with the most bytes."""


@dataclass(frozen=True, kw_only=True)
class WindowPeak:
    """The most that came within a time that begins with any packet. Bits and bytes are those of
    layer 1: with FCS, preamble and gap.
    """

    seconds: float
    """The time."""
    pps: float | None
    """The most packets, by second; null: there was no memory to tell, as below."""
    bps: float | None
    """The most bits, by second."""
    at_ns: int | None
    """When the most bits came: the time of the first packet, in nanoseconds since 1970."""
    first: int | None
    """The number of the first packet then."""
    last: int | None
    """The number of the last one."""
    bytes: int | None
    """The bytes on the wire of these packets, as those of flows; null: the file can't be read
    again."""
    top: tuple[FlowCount, ...] | None
    """The flows with the most bytes then; null: the file can't be read again."""


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """The most packets in a row without a longer gap between the times of two."""

    gap_s: float
    """The gap."""
    packets: int
    """How many they are."""
    bytes: int
    """Their bytes on layer 1."""
    at_ns: int | None
    """The time of the first one; null: no packet has a time."""
    first: int | None
    """Its number."""
    seconds: float
    """The time from the first to the last."""


@dataclass(frozen=True, kw_only=True)
class LinkQueue:
    """The queue that these packets would need before a link."""

    link_bps: int
    """The speed of the link, on layer 1."""
    bytes: int
    """The most bytes that wait or are being sent, on layer 1."""
    seconds: float
    """The time that these take."""
    at_ns: int | None
    """When that is; null: no packet has a time."""
    number: int | None
    """The number of the packet that came last then."""


@dataclass(frozen=True, kw_only=True)
class BurstCount:
    """How packets came in bursts. A time before that of the packet before counts as that."""

    windows: tuple[WindowPeak, ...]
    """The peaks over several times."""
    longest: RunLength
    """The longest burst."""
    queue: LinkQueue | None
    """The queue before `--link`; null: none was given."""


@dataclass(frozen=True, kw_only=True)
class FileAbout:
    """What a file says of itself."""

    sections: tuple[SectionAbout, ...]
    """Its sections; a pcap file has none."""
    interfaces: tuple[InterfaceAbout, ...]
    """Its interfaces."""
    statistics: tuple[StatisticsAbout, ...]
    """Its statistics, in the order of the file."""
    left_out: int
    """Blocks beyond the first 262,144 of a kind, which are not among these."""


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """A file."""

    file: str
    """Its name."""
    format: str | None
    """`pcapng`, `pcap` or `nsecpcap`; null: it could not be read."""
    whole: bool
    """It was read to its end, or to the packet that `-c` names."""
    statistics: Statistics | None
    """With `--stats`."""
    bursts: BurstCount | None
    """With `--burst`."""
    about: FileAbout | None
    """With `--about`."""


@dataclass(frozen=True, kw_only=True)
class ReadAnswer(Answer):
    """What `read --stats`, `--burst` and `--about` have found."""

    files: tuple[FileAnswer, ...]
    """The files that could be opened, in the order of the command line."""
