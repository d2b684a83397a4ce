# SPDX-License-Identifier: Apache-2.0
"""read --stats, --burst and --about: reads files once, and says what is in them."""

from __future__ import annotations

import ipaddress
import os
import stat
from dataclasses import dataclass

from uspnet.fastpath import c, lib
from uspnet.jobs.reading.answer import (
    BurstCount,
    FileAbout,
    FileAnswer,
    FlowCount,
    InterfaceCount,
    LinkQueue,
    RateCount,
    RunLength,
    SizeCount,
    Statistics,
    WindowPeak,
)
from uspnet.jobs.reading.counting import GAP_NS, Bursts, Counting, Table, slices
from uspnet.ports.pcap.about import About
from uspnet.ports.pcap.looking import UNKNOWN, Look

NS = 1_000_000_000
FORMATS = {lib.PCAP_NG: "pcapng", lib.PCAP_US: "pcap", lib.PCAP_NS: "nsecpcap"}
PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 50: "esp",
             51: "ah", 58: "icmpv6", 89: "ospf", 132: "sctp", 136: "udplite"}  # fmt: skip
ETHER_TYPES = {
    0: "other",
    0x0800: "bad ipv4",
    0x86DD: "bad ipv6",
    0x0806: "arp",
    0x88CC: "lldp",
    0x8847: "mpls",
    0x8864: "pppoe",
}
WITH_PORTS = {6, 17, 33, 132, 136}
IP = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}


@dataclass(frozen=True)
class Wanted:
    """What is to be told of files. `top`: flows to name; `link_bps`: the link of `bursts`."""

    statistics: bool = False
    bursts: bool = False
    about: bool = False
    top: int = 10
    link_bps: float | None = None


class Examination:
    """Of one open file."""

    def __init__(self, file: Look, wanted: Wanted) -> None:
        self.file, self.wanted = file, wanted
        self.about = About()
        self.bursts = Bursts(wanted.link_bps) if wanted.bursts else None
        self.counting = Counting(file, bursts=self.bursts)
        self.whole = False
        file.on_block = self.about.add

    def run(self) -> None:
        """Read the file. Raises Malformed if it is not whole; the answer is of what is."""
        self.file.run()
        self.whole = True

    def answer(self) -> FileAnswer:
        """Return what was found so far."""
        wanted = self.wanted
        return FileAnswer(
            file=self.file.label,
            format=FORMATS.get(self.file.source.c.format),
            whole=self.whole,
            statistics=self._statistics() if wanted.statistics else None,
            bursts=self._bursts(self.bursts.c) if self.bursts else None,
            about=FileAbout(
                sections=tuple(self.about.sections),
                interfaces=tuple(self.about.interfaces),
                statistics=tuple(self.about.statistics),
                left_out=self.about.left_out,
            )
            if wanted.about
            else None,
        )

    def _statistics(self) -> Statistics:
        t, flows = self.counting.tally, self.counting.flows
        timed = t.packets > t.timeless
        span = int(t.last_ns - t.first_ns)
        return Statistics(
            packets=int(t.packets),
            bytes=int(t.bytes),
            captured_bytes=int(t.captured),
            cut=int(t.cut),
            timeless=int(t.timeless),
            disordered=int(t.disordered),
            first_ns=int(t.first_ns) if timed else None,
            last_ns=int(t.last_ns) if timed else None,
            duration_s=span / NS if timed else None,
            pps=t.packets * NS / span if span else None,
            bps=8 * t.bytes * NS / span if span else None,
            shortest=int(t.shortest) if t.packets else None,
            longest=int(t.longest) if t.packets else None,
            sizes=_sizes(t),
            step_s=t.bin_ns / NS if timed else None,
            rates=_rates(t) if timed else (),
            interfaces=self._interfaces(t),
            flows=int(flows.c.used),
            beyond=int(flows.c.beyond),
            top=_top(flows, self.wanted.top),
        )

    def _interfaces(self, t: c.PcapTally) -> tuple[InterfaceCount, ...]:
        return tuple(
            InterfaceCount(
                interface=each.interface,
                name=each.name,
                packets=int(t.of_interface[each.interface]),
                cut=int(t.cut_of_interface[each.interface]),
                received=last.received if last else None,
                dropped=last.dropped if last else None,
            )
            for each in self.about.interfaces[: lib.PCAP_INTERFACES]
            for last in [self.about.latest.get(each.interface)]
        )

    def _bursts(self, b: c.PcapBursts) -> BurstCount:
        known = b.head > 0
        tops = self._tops(b)
        queue = LinkQueue(
            link_bps=int(b.link_bps),
            bytes=int(b.longest_wait_ps) * int(b.link_bps) // (8 * 10**12),
            seconds=b.longest_wait_ps / 1e12,
            at_ns=int(b.queue_at_ns) if known else None,
            number=int(b.queue_number) if known else None,
        )
        run = b.longest
        return BurstCount(
            windows=tuple(
                _peak(each, top, known=known and not each.lost)
                for each, top in zip(b.windows, tops, strict=True)
            ),
            longest=RunLength(
                gap_s=GAP_NS / NS,
                packets=int(run.packets),
                bytes=int(run.bytes),
                at_ns=int(run.from_ns) if known else None,
                first=int(run.first) if known else None,
                seconds=(run.to_ns - run.from_ns) / NS,
            ),
            queue=queue if b.link_bps else None,
        )

    def _tops(self, b: c.PcapBursts) -> list[tuple[tuple[FlowCount, ...], int] | None]:
        """Return the flows and bytes of each worst window, for which the file is read once more."""
        parts = [(int(each.first), int(each.last)) for each in b.windows]
        if not b.head or not _is_file(self.file.path):
            return [None] * len(parts)
        most = max((last for _, last in parts), default=0)  # packets, of which no more are needed
        with Look(self.file.path, self.file.only, most) as again:
            found = slices(again, parts)
            return [(_top(table, self.wanted.top), total) for table, total in found]


def _is_file(path: str) -> bool:
    return path != "-" and stat.S_ISREG(os.stat(path).st_mode)


def _peak(
    each: c.PcapWindow, top: tuple[tuple[FlowCount, ...], int] | None, *, known: bool
) -> WindowPeak:
    return WindowPeak(
        seconds=each.ns / NS,
        pps=each.most_packets * NS / each.ns if known else None,
        bps=8 * each.most_bytes * NS / each.ns if known else None,
        at_ns=int(each.at_ns) if known else None,
        first=int(each.first) if known else None,
        last=int(each.last) if known else None,
        bytes=top[1] if top and known else None,
        top=top[0] if top and known else None,
    )


def _sizes(t: c.PcapTally) -> tuple[SizeCount, ...]:
    limits = [20 * 2**n - 1 for n in range(lib.TALLY_SIZES - 1)]
    return tuple(
        SizeCount(up_to=limit, packets=int(n))
        for limit, n in zip([*limits, None], t.sizes, strict=True)
    )


def _rates(t: c.PcapTally) -> tuple[RateCount, ...]:
    used = max((n for n in range(lib.TALLY_BINS) if t.bin_packets[n]), default=-1) + 1
    return tuple(
        RateCount(
            from_ns=int(t.bins_from_ns + n * t.bin_ns),
            packets=int(t.bin_packets[n]),
            bytes=int(t.bin_bytes[n]),
        )
        for n in range(used)
    )


def _top(table: Table, n: int) -> tuple[FlowCount, ...]:
    return tuple(_flow(each) for each in table.top(n))


def _flow(flow: c.PcapFlow) -> FlowCount:
    near = int(flow.begun_by)
    far = 1 - near
    ports = flow.ends.protocol in WITH_PORTS and flow.ends.ports[0] + flow.ends.ports[1] > 0
    return FlowCount(
        protocol=_protocol(flow),
        source=_address(flow, near),
        source_port=int(flow.ends.ports[near]) if ports else None,
        destination=_address(flow, far),
        destination_port=int(flow.ends.ports[far]) if ports else None,
        packets=int(flow.packets[near]),
        bytes=int(flow.bytes[near]),
        back_packets=int(flow.packets[far]),
        back_bytes=int(flow.bytes[far]),
        first_ns=None if flow.first_ns == UNKNOWN else int(flow.first_ns),
        last_ns=None if flow.last_ns == UNKNOWN else int(flow.last_ns),
    )


def _protocol(flow: c.PcapFlow) -> str:
    if flow.ends.version:
        return PROTOCOLS.get(flow.ends.protocol, f"ip-{flow.ends.protocol}")
    return ETHER_TYPES.get(flow.ends.ether_type, f"0x{flow.ends.ether_type:04x}")


def _address(flow: c.PcapFlow, side: int) -> str:
    data = bytes(flow.ends.addresses[side])
    if kind := IP.get(flow.ends.version):
        return str(kind(data[:4] if flow.ends.version == 4 else data))
    return data[:6].hex(":") if any(data) or flow.ends.ether_type else ""
