# SPDX-License-Identifier: Apache-2.0
"""What a receiver says of numbered packets, by a capture of its own: which came, and when."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

FILE_HEADER, RECORD_HEADER = 24, struct.Struct("<IIII")  # of nsecpcap: s, ns, bytes, length
# pktgen's signature (fastpath/loops/template.h), behind Ethernet, IPv4 and UDP.
SIGNATURE, SIGNATURE_AT, MAGIC = struct.Struct("<BBQ"), 14 + 20 + 8, 0x75


class Arrival(NamedTuple):
    """When a packet came, in ns since 1970, and the number that its sender gave it."""

    ns: int
    number: int


def arrivals(path: Path) -> Iterator[Arrival]:
    """Yield the numbered packets of an nsecpcap file."""
    data, at = path.read_bytes(), FILE_HEADER
    while at + RECORD_HEADER.size <= len(data):
        seconds, ns, size, _ = RECORD_HEADER.unpack_from(data, at)
        at += RECORD_HEADER.size
        if size >= SIGNATURE_AT + SIGNATURE.size:
            magic, _, number = SIGNATURE.unpack_from(data, at + SIGNATURE_AT)
            if magic == MAGIC:
                yield Arrival(seconds * 1_000_000_000 + ns, number)
        at += size


class Arrivals:
    """All of one file."""

    def __init__(self, path: Path) -> None:
        self.all = list(arrivals(path))
        self._ns = sorted(each.ns for each in self.all)

    def faults(self, sent: int) -> dict[str, int]:
        """Count packets that are missing, came twice, or came after a later one."""
        seen = Counter(each.number for each in self.all)
        late = sum(each.number > after.number for each, after in pairwise(self.all))
        return {
            "lost": sent - len(seen),
            "duplicated": len(self.all) - len(seen),
            "reordered": late,
        }

    def longest(self, spans: list[tuple[int, int]]) -> list[float]:
        """Return the longest time in seconds without a packet, within each of these spans of ns."""
        return [
            _longest(self._ns[bisect_left(self._ns, begin) : bisect_right(self._ns, end)])
            for begin, end in spans
        ]

    def silence(self, spans: list[tuple[int, int]]) -> list[float]:
        """Return the longest time in seconds without a packet that lies in or around each of these
        spans: the last packet before it and the first one after it count, too.
        """
        found = []
        for begin, end in spans:
            first, last = bisect_right(self._ns, begin), bisect_left(self._ns, end)
            found.append(_longest(self._ns[max(first - 1, 0) : last + 1]))
        return found


def _longest(times: list[int]) -> float:
    """Return the longest of the gaps between times in ns, in seconds."""
    return max((after - before for before, after in pairwise(times)), default=0) / 1e9
