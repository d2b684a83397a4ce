# SPDX-License-Identifier: Apache-2.0
"""What the blocks of a capture file say that are no packets: how it was made, and what was lost.

Names of blocks and options are those of draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

NS = 1_000_000_000


@dataclass(frozen=True)
class Block:
    """A block. `kind`: its type, 0 for the header of a pcap file; `interfaces`: those of the
    sections before.
    """

    kind: int
    data: bytes
    swapped: bool
    interfaces: int

    @property
    def order(self) -> str:
        """Return the byte order, as `struct` has it."""
        return ">" if self.swapped else "<"

    def numbers(self, form: str, at: int) -> tuple[int, ...]:
        """Return numbers at an offset of the block; zeros where it ends before them."""
        form = self.order + form
        part = self.data[at : at + struct.calcsize(form)].ljust(struct.calcsize(form), b"\0")
        return struct.unpack(form, part)

    def options(self, at: int) -> Iterator[tuple[int, bytes]]:
        """Yield the codes and values of the options that begin at an offset."""
        end = len(self.data) - 4
        while at + 4 <= end:
            code, size = self.numbers("HH", at)
            if code == 0 or at + 4 + size > end:
                return
            yield code, self.data[at + 4 : at + 4 + size]
            at += 4 + size + -size % 4


def text(value: bytes) -> str:
    """Return an option's text."""
    return value.rstrip(b"\0").decode(errors="surrogateescape")


def number(value: bytes, order: str, *, signed: bool = False) -> int:
    """Return an option's number."""
    return int.from_bytes(value, "little" if order == "<" else "big", signed=signed)


@dataclass(frozen=True)
class Clock:
    """How an interface writes times: a power of ten or two of a second, and seconds to add."""

    resolution: int = 6
    offset_s: int = 0

    @property
    def units(self) -> int:
        """Return how many there are in a second."""
        power = self.resolution & 127
        return int(2**power if self.resolution & 128 else 10**power)

    @property
    def name(self) -> str:
        """Return the unit as people write it."""
        power = self.resolution & 127
        known = {0: "1 s", 3: "1 ms", 6: "1 µs", 9: "1 ns", 12: "1 ps"}
        if self.resolution & 128:
            return f"2^-{power} s"
        return known.get(power, f"10^-{power} s")

    def time_ns(self, halves: bytes, order: str) -> int | None:
        """Return the ns since 1970 that two words of 32 bits say."""
        if len(halves) != 8:
            return None
        high, low = number(halves[:4], order), number(halves[4:], order)
        return ((high << 32 | low) * NS) // self.units + self.offset_s * NS
