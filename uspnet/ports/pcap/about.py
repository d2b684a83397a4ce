# SPDX-License-Identifier: Apache-2.0
"""What a capture file says of itself: sections, interfaces, and statistics of what was lost."""

from __future__ import annotations

import ipaddress
from collections.abc import Sized
from dataclasses import dataclass

from uspnet.ports.pcap import foreign
from uspnet.ports.pcap import format as pcapfile
from uspnet.ports.pcap.blocks import Block, Clock, number, text

KINDS = frozenset(
    {0, pcapfile.INTERFACE, pcapfile.STATISTICS, pcapfile.SECTION}
)  # 0: a pcap file's header
CUSTOM = frozenset({2988, 19372})  # text of some program's own
MOST = 1 << 18  # blocks of a kind
NANOSECONDS = {0xA1B23C4D, 0x4D3CB2A1}
LONG = 8  # bytes of a number of 64 bits


@dataclass(frozen=True, kw_only=True)
class SectionAbout:
    """A section of a file, of which most have one."""

    hardware: str | None
    """The machine that it was captured on; null where it does not say, as below."""
    os: str | None
    """Its operating system."""
    application: str | None
    """The program that wrote it."""
    comments: tuple[str, ...]
    """What people and programs have added, in words."""
    byte_order: str
    """`little` or `big`."""


@dataclass(frozen=True, kw_only=True)
class InterfaceAbout:
    """An interface that packets were captured from."""

    interface: int
    """Its number in the file, from 0 on."""
    section: int
    """The number of its section, from 0 on."""
    link_type: int
    """What its packets begin with, by the numbers of tcpdump.org/linktypes.html."""
    link: str
    """The same, in words."""
    snaplen: int | None
    """Bytes kept of each packet; null: all."""
    time_unit: str
    """The resolution of its times."""
    name: str | None
    """Its name; null where the file does not say, as below."""
    description: str | None
    """What it is."""
    hardware: str | None
    """Its hardware."""
    os: str | None
    """The operating system of its machine."""
    filter: str | None
    """The capture filter."""
    mac: str | None
    """Its MAC address."""
    addresses: tuple[str, ...]
    """Its IP addresses, with the prefix or mask."""
    speed_bps: int | None
    """Its speed."""
    comments: tuple[str, ...]
    """Comments, and texts of programs."""


@dataclass(frozen=True, kw_only=True)
class StatisticsAbout:
    """Counters of an interface since the start of the capture, at some time."""

    interface: int
    """Its number in the file."""
    time_ns: int | None
    """When they were read, in nanoseconds since 1970."""
    start_ns: int | None
    """When the capture began; null where the file does not say, as below."""
    end_ns: int | None
    """When it ended."""
    received: int | None
    """Packets that arrived."""
    dropped: int | None
    """Packets that were lost on the interface or before."""
    accepted: int | None
    """Packets that the filter accepted."""
    os_dropped: int | None
    """Packets that the operating system dropped."""
    delivered: int | None
    """Packets that were passed on to be written."""
    comments: tuple[str, ...]
    """Comments, and texts of programs."""


class About:
    """Collects what the blocks of a file say, up to `most` of each kind; of statistics, `latest`
    has the last of each interface that is described in any case.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most, self.left_out = most, 0
        self.latest: dict[int, StatisticsAbout] = {}
        self.sections: list[SectionAbout] = []
        self.interfaces: list[InterfaceAbout] = []
        self.statistics: list[StatisticsAbout] = []
        self.clocks: list[Clock] = []

    def add(self, block: Block) -> None:
        """Take in a block."""
        match block.kind:
            case 0:
                self._header(block)
            case pcapfile.INTERFACE if self._fits(self.interfaces):
                self._interface(block)
            case pcapfile.STATISTICS:
                self._statistics(block)
            case pcapfile.SECTION if self._fits(self.sections):
                self._section(block)

    def _fits(self, found: Sized) -> bool:
        """Return whether there may be one more. A file that a stranger made may have any number."""
        self.left_out += len(found) >= self.most
        return len(found) < self.most

    def _header(self, block: Block) -> None:
        magic, _, _, _, _, snaplen, link = block.numbers("IHHiIII", 0)
        unit = Clock(9 if magic in NANOSECONDS else 6)
        self._described(block, link & 0xFFFF, snaplen, unit, _Said({}, block))

    def _section(self, block: Block) -> None:
        said = _Said.of(block, 24)
        self.sections.append(
            SectionAbout(
                hardware=said.text(pcapfile.SHB_HARDWARE),
                os=said.text(pcapfile.SHB_OS),
                application=said.text(pcapfile.SHB_USERAPPL),
                comments=said.comments(),
                byte_order="big" if block.swapped else "little",
            )
        )

    def _interface(self, block: Block) -> None:
        link, _, snaplen = block.numbers("HHI", 8)
        said = _Said.of(block, 16)
        resolution = said.first(pcapfile.IF_TSRESOL)
        offset = said.number(pcapfile.IF_TSOFFSET, signed=True) or 0
        unit = Clock(resolution[0] if resolution else 6, offset)
        self._described(block, link, snaplen, unit, said)

    def _described(self, block: Block, link: int, snaplen: int, unit: Clock, said: _Said) -> None:
        self.clocks.append(unit)
        mac = said.first(pcapfile.IF_MACADDR)
        self.interfaces.append(
            InterfaceAbout(
                interface=len(self.interfaces),
                section=max(len(self.sections) - 1, 0),
                link_type=link,
                link=link_name(link),
                snaplen=snaplen or None,
                time_unit=unit.name,
                name=said.text(pcapfile.IF_NAME),
                description=said.text(pcapfile.IF_DESCRIPTION),
                hardware=said.text(pcapfile.IF_HARDWARE),
                os=said.text(pcapfile.IF_OS),
                filter=said.filter(),
                mac=mac.hex(":") if mac else None,
                addresses=said.addresses(),
                speed_bps=said.number(pcapfile.IF_SPEED),
                comments=said.comments(),
            )
        )

    def _statistics(self, block: Block) -> None:
        (own,) = block.numbers("I", 8)
        index = block.interfaces + own
        clock = self.clocks[index] if index < len(self.clocks) else Clock()
        said = _Said.of(block, 20)
        found = StatisticsAbout(
            interface=index,
            time_ns=clock.time_ns(block.data[12:20], block.order),
            start_ns=said.time(pcapfile.ISB_STARTTIME, clock),
            end_ns=said.time(pcapfile.ISB_ENDTIME, clock),
            received=said.number(pcapfile.ISB_IFRECV),
            dropped=said.number(pcapfile.ISB_IFDROP),
            accepted=said.number(pcapfile.ISB_FILTERACCEPT),
            os_dropped=said.number(pcapfile.ISB_OSDROP),
            delivered=said.number(pcapfile.ISB_USRDELIV),
            comments=said.comments(),
        )
        if index < len(self.interfaces):
            self.latest[index] = found
        if self._fits(self.statistics):
            self.statistics.append(found)


@dataclass
class _Said:
    """The options of a block, by their codes."""

    values: dict[int, list[bytes]]
    block: Block

    @classmethod
    def of(cls, block: Block, at: int) -> _Said:
        values: dict[int, list[bytes]] = {}
        for code, value in block.options(at):
            values.setdefault(code, []).append(value)
        return cls(values, block)

    def first(self, code: int) -> bytes | None:
        return self.values.get(code, [None])[0]

    def text(self, code: int) -> str | None:
        value = self.first(code)
        return None if value is None else text(value)

    def number(self, code: int, *, signed: bool = False) -> int | None:
        value = self.first(code)
        if value is None or len(value) != LONG:
            return None
        return number(value, self.block.order, signed=signed)

    def time(self, code: int, clock: Clock) -> int | None:
        value = self.first(code)
        return None if value is None else clock.time_ns(value, self.block.order)

    def comments(self) -> tuple[str, ...]:
        own = [text(value[4:]) for code in CUSTOM for value in self.values.get(code, ())]
        return (*map(text, self.values.get(pcapfile.COMMENT, ())), *own)

    def filter(self) -> str | None:
        value = self.first(pcapfile.IF_FILTER)
        if not value:
            return None
        return text(value[1:]) if value[0] == 0 else f"a program of {len(value) - 1} bytes"

    def addresses(self) -> tuple[str, ...]:
        ipv4, ipv6 = (
            self.values.get(code, ()) for code in (pcapfile.IF_IPV4ADDR, pcapfile.IF_IPV6ADDR)
        )
        found = [_ipv4(value) for value in ipv4 if len(value) == 8]
        return (*found, *(_ipv6(value) for value in ipv6 if len(value) == 17))


def _ipv4(value: bytes) -> str:
    return f"{ipaddress.IPv4Address(value[:4])}/{ipaddress.IPv4Address(value[4:])}"


def _ipv6(value: bytes) -> str:
    return f"{ipaddress.IPv6Address(value[:16])}/{value[16]}"


def link_name(link_type: int) -> str:
    """Return a link type in words."""
    return "Ethernet" if link_type == 1 else foreign.LINKS.get(link_type, f"type {link_type}")
