# SPDX-License-Identifier: Apache-2.0
"""The options of `pktgen` for the packets that it makes itself, and the traffic that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli.offered import changing, check_header, offered
from uspnet.errors import Usage
from uspnet.packets.sizes import Sizes, read_sizes
from uspnet.packets.vary.change import FLOWS_MAX, Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uspnet.jobs.traffic import Traffic
    from uspnet.packets.breaking import Wrong
    from uspnet.packets.given import Given
    from uspnet.packets.streams import Weighted
    from uspnet.port import Port

DEFAULT_SIZE = Sizes((60,))
UDP_PORT = units.whole(0, 65535)

Size = Annotated[
    Sizes,
    typer.Option(
        "--size",
        metavar="BYTES",
        parser=read_sizes,
        help="Frame size without FCS: 60, several in turn (60-1514 or 60,566,1514), by weights "
        "(60:7,566:4,1514:1), random:60-1514, or a mix whose sizes count the FCS: imix, "
        "imix:ipsec, imix:ipv6, imix:standard, imix:tcp, or RFC 6985's letters, imix:aaab, with z "
        "for the MTU: imix:aaz,z=9018.",
    ),
]
Packet = Annotated[
    list[str] | None,
    typer.Option(
        "--packet",
        metavar="EXPR",
        help="A Scapy expression, such as Ether()/IP()/UDP(). Fields with several values, as in "
        "IP(dst='10.0.0.0/8'), make several packets, sent in Scapy's order; RandShort(), "
        "RandNum(1,9), RandIP('10.0.0.0/8') and the like are drawn anew for each packet, as by "
        "--vary; --size pads them. May be given several times, with weights: 3:Ether()/… is sent "
        "three times as often as one without. "
        "Hexadecimal text, as hex:ffffffffffff0200…, stands for a frame; - for the text of stdin: "
        "hex digits, or what xxd, hexdump -C, tcpdump -xx and Wireshark print, with an empty line "
        "between packets.",
    ),
]
Pcap = Annotated[
    list[str] | None,
    typer.Option(
        "--pcap",
        metavar="FILE",
        help="Send the packets of a capture file in turn, again and again: at a --rate, with "
        "fields that --vary changes, padded to --size. Up to 16,384 packets are kept in memory; "
        "--replay sends files of any length, by their own timing. May be given several times.",
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="FIELD=VALUES",
        help="Change a field from packet to packet, and the checksums that follow: "
        "ip.src=10.0.0.0/16, udp.sport=1024-65535:random, ip.dst=list:10.0.0.1,10.0.0.9, "
        "vlan=1-100:step=5, tcp.dport=100-200:dec, ip#2.src=… (the second IP header), or bytes of "
        "the payload: seq32@60, u16@60&0x0ff0=1-9. May be given several times.",
    ),
]
FlowCount = Annotated[
    int | None,
    typer.Option(
        "--flows",
        metavar="N",
        parser=units.whole(1, FLOWS_MAX),
        help="Make N distinct flows of the header fields that --vary names, drawn by --seed: "
        "their values move together. Bytes of the payload go on changing with every packet.",
    ),
]
Zipf = Annotated[
    float | None,
    typer.Option(
        "--zipf",
        metavar="S",
        help="Flows get shares by Zipf's law, 1/rank^S, instead of equal ones in turn.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        parser=units.whole(0, (1 << 64) - 1),
        help="What is drawn at random follows from this number: the same number, the same packets.",
    ),
]
Broken = Annotated[
    list[str] | None,
    typer.Option(
        "--break",
        metavar="WHAT",
        help="Break packets on purpose: a wrong checksum (ip.chksum, udp.chksum, ip#2.chksum), a "
        "wrong length or other field (ip.len, udp.len=4), with all else right; a runt (runt, "
        "runt=32), cut to 40 bytes without FCS; a wrong FCS (fcs), which takes a NIC of Intel. "
        "Several with commas between. With --replay, a packet that has no such field stays right.",
    ),
]
BreakEvery = Annotated[
    int | None,
    typer.Option(
        "--break-every",
        metavar="N",
        parser=units.whole(1, 1_000_000),
        help="Break every N-th packet, and send the others as they are.",
    ),
]
SrcMac = Annotated[str, typer.Option(metavar="MAC", help="Source MAC address.")]
DstMac = Annotated[str, typer.Option(metavar="MAC", help="Destination MAC address.")]
SrcIp = Annotated[str, typer.Option(metavar="IP", help="Source IPv4 address.")]
DstIp = Annotated[str, typer.Option(metavar="IP", help="Destination IPv4 address.")]
SrcPort = Annotated[int, typer.Option(metavar="N", parser=UDP_PORT, help="Source UDP port.")]
DstPort = Annotated[int, typer.Option(metavar="N", parser=UDP_PORT, help="Destination UDP port.")]


@dataclass(frozen=True)
class Made:
    """What to send, as asked: UDP/IPv4 with a header of these values, in the order of HEADER, or
    the packets of expressions and files; and what changes in them.
    """

    header: tuple[str | int, ...]
    size: Sizes
    packet: list[str] | None
    pcap: list[str] | None
    vary: list[str] | None
    flows: int | None
    zipf: float | None
    seed: int
    broken: list[str] | None = None
    break_every: int | None = None

    def wrong(self) -> Wrong:
        """Return what is to be wrong in packets. Raise Usage."""
        from uspnet.packets.breaking import Wrong, read_breaks

        if self.break_every and not self.broken:
            raise Usage("--break-every needs --break", "say what is wrong: --break ip.chksum")
        return Wrong(read_breaks(self.broken or ()), self.break_every or 1)

    def port(self, spec: str) -> Port:
        """Return a port that packets like these can be sent to, not yet opened. Raise Usage."""
        from uspnet.ports.registry import make_port

        port, wrong = make_port(spec), self.wrong()
        given = {}
        for name, option in (("fcs", "tx-fcs"), ("runt", "tx-pad")):
            if wrong.has(name) and option in port.known_options():
                given[option] = "off"
        if wrong.has("fcs") and not given:
            text = f"--break fcs: {port.name} does not send frames with an FCS of their own"
            raise Usage(text, "a NIC of Intel does, such as 0000:03:00.0, or qemu:e1000")
        if not given:
            return port
        return type(port)(replace(port.spec, given={**port.spec.given, **given}))

    def traffic(self, given: set[str], *, numbered: bool) -> Traffic:
        """Make it. `given`: the names of the parameters that were; `numbered`: packets carry
        sequence numbers. Raise Usage, and what can be wrong with files.
        """
        from uspnet.cli.given import all_packets
        from uspnet.packets.resize import NothingFollows, probes

        size = self.size.by(self.seed)
        exact = size if not (self.packet or self.pcap) or "size" in given else None
        check_header(given)
        packets, notes = all_packets(self.packet or (), self.pcap or ())
        varied, wrong = self.vary or [], self.wrong()
        alike = not (varied or wrong) and (not numbered or not packets)
        few = probes(exact.sizes) if exact and not wrong and (packets or not alike) else []
        try:
            traffic = self._sized(packets, exact, few, alike=alike)
        except NothingFollows:
            traffic = self._sized(packets, exact, [], alike=alike)
        if wrong:
            traffic.break_packets(wrong)
        traffic.sequence, traffic.notes = numbered, notes
        return traffic

    def _sized(
        self,
        packets: Sequence[Weighted | Given],
        sizes: Sizes | None,
        few: Sequence[int],
        *,
        alike: bool,
    ) -> Traffic:
        """Make packets of a few sizes, and the others as they follow from these; without any, all
        one by one. Raise Usage, and NothingFollows.
        """
        templates, own, order = offered(packets, self.header, sizes, few, alike=alike)
        vary = (*own.vary, *(self.vary or ()))
        change = Change(vary, self.seed, self.flows, self.zipf, own.turns)
        return changing(templates, change, sizes, few, order)
