# SPDX-License-Identifier: Apache-2.0
"""A packet in a line, and its bytes below."""

from __future__ import annotations

import time

from uspnet.jobs.choices import Times
from uspnet.jobs.reading.lines import PacketAnswer

NS = 1_000_000_000
COLUMNS = 16  # bytes of a line of a dump


class Clock:
    """Writes the times of a file's packets. `r` counts from the first one on."""

    def __init__(self, kind: Times) -> None:
        self.kind = kind
        self.first: int | None = None
        self.before: int | None = None

    def text(self, ns: int | None) -> str:
        """Return a time as text; a dash: it is not known."""
        if ns is None:
            return "-"
        if self.first is None:
            self.first = self.before = ns
        before, self.before = self.before, ns
        match self.kind:
            case Times.r:
                return seconds(ns - self.first)
            case Times.d:
                return seconds(ns - (before or 0))
            case Times.e:
                return seconds(ns)
        local = self.kind in {Times.a, Times.ad}
        parts = (time.localtime if local else time.gmtime)(ns // NS)
        form = "%Y-%m-%d %H:%M:%S" if self.kind in {Times.ad, Times.ud} else "%H:%M:%S"
        return f"{time.strftime(form, parts)}.{ns % NS:09}"


def seconds(ns: int) -> str:
    """Return nanoseconds as seconds with nine decimals, exactly."""
    sign = "-" if ns < 0 else ""
    return f"{sign}{abs(ns) // NS}.{abs(ns) % NS:09}"


def packet_line(packet: PacketAnswer, when: str) -> str:
    """Return the line of a packet."""
    ends = f"{packet.source:<15} > {packet.destination:<15}" if packet.destination else f"{'':33}"
    cut = "" if packet.captured >= packet.length else f" [{packet.captured} bytes captured]"
    start = f"{packet.number:>6} {when:>13}  {ends}  {packet.protocol:<8} {packet.length:>5}"
    return f"{start}  {packet.info}{cut}"


def dump_lines(data: bytes) -> list[str]:
    """Return bytes as `xxd` and text2pcap have them: offsets, hex digits, and characters."""
    lines = []
    for at in range(0, len(data), COLUMNS):
        part = data[at : at + COLUMNS]
        shown = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        lines.append(f"{at:08x}: {part.hex(' '):<{COLUMNS * 3 - 1}}  {shown}")
    return lines
