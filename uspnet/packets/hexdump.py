# SPDX-License-Identifier: Apache-2.0
"""Frames from hexadecimal text, as other programs print packets: plain digits (`xxd -p`, the hex
stream of Wireshark), or lines with offsets (`xxd`, `hexdump -C`, `od -Ax -tx1`, `tcpdump -xx`, the
hex dump of Wireshark, what text2pcap reads).
"""

from __future__ import annotations

import re

from uspnet.errors import Usage
from uspnet.packets.frames import FRAMES_MAX
from uspnet.pool import FRAME_MAX

TEXT_MAX = 128 << 20  # characters
OFFSET = re.compile(
    r"\s*(?:0x([0-9a-f]{4,8}):?|([0-9a-f]{4,8}):|([0-9a-f]{4,8}))(?=\s|$)", re.IGNORECASE
)
PAIR = re.compile(r"\s+[0-9a-f]{2}(\s|$)", re.IGNORECASE)
PAIRS = re.compile(r"(?:0x)?((?:[0-9a-f]{2})+)", re.IGNORECASE)
GAP = re.compile(r"\s*")
IGNORED = re.compile(r"\s*#|[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+ ")  # comments, tcpdump's summaries
HINT = "write hex digits, or lines of xxd or text2pcap; an empty line between two packets"


def read_hex(text: str, name: str, *, lines: bool = True) -> list[bytes]:
    """Return the frames that a text holds, 14 to FRAME_MAX bytes each. `name`: what messages call
    it. Raise Usage, which names the line, unless it has no `lines`.
    """
    if len(text) > TEXT_MAX:
        raise Usage(f"{name}: more than {TEXT_MAX >> 20} MiB of text", "write fewer packets")
    frames = _Frames(name, lines=lines)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            frames.end(number)
        elif not IGNORED.match(line):
            frames.add(number, line)
    frames.end(number if text else 1)
    if not frames.made:
        raise Usage(f"{name}: no packet in it", HINT)
    return frames.made


class _Frames:
    """Puts frames together, line by line."""

    def __init__(self, name: str, *, lines: bool) -> None:
        self.name, self.lines = name, lines
        self.made: list[bytes] = []
        self.frame = b""
        self.dumped = False  # lines of this frame have offsets

    def add(self, number: int, line: str) -> None:
        """Add the bytes of a line. Raise Usage."""
        match = OFFSET.match(line)
        offset = int(match[1] or match[2] or match[3], 16) if match else None
        if match and self._is_offset(match, line, offset):
            if offset == 0:
                self.end(number)
            if offset != len(self.frame):
                text = f"offset {offset:#06x} after {len(self.frame)} bytes"
                raise self._wrong(number, text)
            self.dumped = True
            self.frame += _dumped(line[match.end() :])
        elif self.dumped:
            raise self._wrong(number, "a line without offset in a dump that has them")
        else:
            self.frame += self._plain(number, line)
        if len(self.frame) > FRAME_MAX:
            raise self._wrong(number, f"a packet of more than {FRAME_MAX:,} bytes")

    def _is_offset(self, match: re.Match[str], line: str, offset: int | None) -> bool:
        """Return whether a line begins with an offset: digits alone may be bytes, too."""
        if match[1] or match[2] or self.dumped:
            return True
        return offset == len(self.frame) and PAIR.match(line, match.end()) is not None

    def _plain(self, number: int, line: str) -> bytes:
        digits = re.sub(r"0x|[\s:.,-]", "", line, flags=re.IGNORECASE)
        if wrong := re.search(r"[^0-9a-f]", digits, re.IGNORECASE):
            raise self._wrong(number, f"{wrong[0]!r} is no hex digit")
        if len(digits) % 2:
            one = "1 hex digit is no byte"
            many = one if len(digits) == 1 else f"{len(digits)} hex digits are no bytes"
            raise self._wrong(number, f"{many}: two make one")
        return bytes.fromhex(digits)

    def end(self, number: int) -> None:
        """End a packet, which may be empty. Raise Usage."""
        if self.frame and len(self.frame) < 14:
            text = f"a packet of {len(self.frame)} bytes is shorter than an Ethernet header (14)"
            raise self._wrong(number, text)
        if self.frame:
            self.made.append(self.frame)
        if len(self.made) > FRAMES_MAX:
            raise self._wrong(number, f"more than {FRAMES_MAX:,} packets")
        self.frame, self.dumped = b"", False

    def _wrong(self, number: int, text: str) -> Usage:
        place = f"{self.name}:{number}" if self.lines else self.name
        return Usage(f"{place}: {text}", HINT)


def _dumped(line: str) -> bytes:
    """Return the bytes of a line of a dump, behind its offset: up to the column of characters."""
    data, at = b"", 0
    while True:
        gap = GAP.match(line, at)
        start = gap.end() if gap else at
        if data and start - at > 1 and _is_shown(data, line[start:]):
            return data
        match = PAIRS.match(line, start)
        if not match or line[match.end() : match.end() + 1].strip():
            return data
        data += bytes.fromhex(match[1])
        at = match.end()


def _is_shown(data: bytes, text: str) -> bool:
    """Return whether a text is what dumps show for bytes: characters, and dots for others."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return text.strip().strip("|").replace(" ", "") == shown.replace(" ", "").strip("|")
