# SPDX-License-Identifier: Apache-2.0
"""Statistics of each second on their way into one of several files.

They are made while packets wait in memory, of which a file that is full meanwhile has only some. So
each note says up to where it has counted, and is written when all before that is in files: by then
the process that writes knows how many packets these have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from uspnet.fastpath import c, ffi, lib
from uspnet.ports.pcap.format import (
    ISB_FILTERACCEPT,
    ISB_IFRECV,
    ISB_USRDELIV,
    STATISTICS,
)

GATE = 0x80000001  # a block of ours, which no file has: local use in the draft, section 10.1
HEAD, FRAME = struct.Struct("=II"), 12  # a block's type and length; with the length at its end
PLACE = struct.Struct("=QQ")  # of a queue: a position (pcap.h), and its interface
OPTION, NUMBER, FIXED = struct.Struct("=HH"), struct.Struct("=Q"), 20  # bytes before ISB's options
SUMS = (ISB_IFRECV, ISB_FILTERACCEPT, ISB_USRDELIV)  # in which packets that were written are


def gated(places: Sequence[tuple[int, int]], blocks: bytes) -> bytes:
    """Return statistics behind the block that says what they have counted: of each queue, the
    position, and the number of its interface.
    """
    body = b"".join(PLACE.pack(*place) for place in places)
    length = len(body) + FRAME
    return HEAD.pack(GATE, length) + body + struct.pack("=I", length) + blocks


class Notes:
    """The writer's side of such notes: they are in the last of all rings."""

    def __init__(self, rings: c.PcapRing) -> None:
        self.rings, self.n = rings, len(rings) - 1
        self.ring = ffi.addressof(rings, self.n)

    def taken(self) -> list[int]:
        """Return up to where the queues' records are taken."""
        return [int(lib.pcap_taken(ffi.addressof(self.rings, i))) for i in range(self.n)]

    def take(self, taken: Sequence[int] | None, written: Sequence[int]) -> bytes:
        """Take the blocks out of the ring that have counted nothing behind these positions (None:
        all blocks), with the packets that are in files, by queues.
        """
        start, found, waits = ffi.new("uint8_t **"), bytearray(), False
        while not waits and (length := int(lib.pcap_peek(self.ring, start))):
            data, done = bytes(ffi.buffer(start[0], length)), 0
            interfaces: list[int] = []
            for at, kind, size in _blocks(data):
                block = data[at : at + size]
                if kind == GATE:
                    places = list(PLACE.iter_unpack(block[8 : 8 + (size - FRAME) // 16 * 16]))
                    ends = [place for place, _ in places]
                    waits = taken is not None and any(map(int.__gt__, ends, taken))
                    if waits:
                        break
                    interfaces = [interface for _, interface in places]
                else:
                    found += _true(block, interfaces, written) if kind == STATISTICS else block
                done = at + size
            lib.pcap_release(self.ring, done if waits else length)
        return bytes(found)


def _blocks(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield offset, type and length of each block that is whole."""
    at = 0
    while at + FRAME <= len(data):
        kind, size = HEAD.unpack_from(data, at)
        if size < FRAME or size > len(data) - at:
            return
        yield at, kind, size
        at += size


def _true(block: bytes, interfaces: Sequence[int], written: Sequence[int]) -> bytes:
    """Return statistics with the packets of its interface that are in files."""
    changed, places, at = bytearray(block), {}, FIXED
    while at + OPTION.size <= len(block) - 4:
        code, size = OPTION.unpack_from(block, at)
        if size == NUMBER.size and at + OPTION.size + size <= len(block) - 4:
            places[code] = at + OPTION.size
        at += OPTION.size + size + -size % 4
    if interfaces and all(code in places for code in SUMS):
        own = int.from_bytes(block[8:12], "little")
        known = sum(n for number, n in zip(interfaces, written, strict=False) if number == own)
        more = known - NUMBER.unpack_from(block, places[ISB_USRDELIV])[0]
        for code in SUMS:
            value = NUMBER.unpack_from(block, places[code])[0]
            NUMBER.pack_into(changed, places[code], (value + more) % (1 << 64))
    return bytes(changed)
