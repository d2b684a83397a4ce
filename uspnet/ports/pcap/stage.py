# SPDX-License-Identifier: Apache-2.0
"""Records of a capture file on their way past the page cache.

O_DIRECT takes whole pages, at multiples of a page in memory and in the file; records have any
length, and lie in several rings. So they are copied behind one another into blocks. A block goes to
the disk (disk.py) when it is full, or when its records have waited long enough. A queue's records
keep their room in the ring until they are in the file: so whoever is killed, the counts are right.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from dataclasses import dataclass

from uspnet.fastpath import c, lib
from uspnet.ports.pcap.disk import BLOCK, BLOCKS, PAGE, Block, Disk, blocks
from uspnet.ports.pcap.output import Output


@dataclass
class Piece:
    """Whole records of a ring, from a position on, and where they are; None: other bytes. `done` of
    them are in the file.
    """

    ring: c.PcapRing | None
    position: int
    start: c.Pointer[int]
    octets: int
    done: int = 0

    def settle(self) -> int:
        """Release the records that are in the file, and return how many bytes more are in it."""
        if not self.ring:
            return self.done
        whole = self.octets
        if self.done < self.octets:
            whole = int(lib.pcap_whole(self.ring, self.start, self.done))
        lib.pcap_settle(self.ring, self.position + whole)
        return self.done - whole


class Stage:
    """Blocks, and what is in them, for the files of one capture, one after another. `shared` and
    `bell` are those of `Disk`.
    """

    def __init__(self, shared: c.PcapShared, bell: int = -1) -> None:
        self.disk = Disk(shared, bell)
        self.free = blocks()
        self.block = self.free.pop()  # that is filled
        self.pieces: deque[Piece] = deque()
        self.rings: list[c.PcapRing] = []  # of the pieces
        self.since = 0.0  # when the oldest of the block came, by the monotonic clock

    def age_ms(self) -> float | None:
        """Return how long something waits for a block to be full; None: nothing does."""
        return (time.monotonic() - self.since) * 1e3 if self.block.octets else None

    def add(
        self, file: Output, start: c.Pointer[int], octets: int, ring: c.PcapRing | None
    ) -> None:
        """Take whole records of a ring, or other bytes. Raises OSError as `flush` does."""
        position = 0
        if ring:
            position = int(lib.pcap_taken(ring))
            lib.pcap_take(ring, octets)
            if ring not in self.rings:
                self.rings.append(ring)
        self.pieces.append(Piece(ring, position, start, octets))
        taken = 0
        while taken < octets:
            block = self._open(file)
            fits = min(octets - taken, BLOCK - block.end)
            # Unlike ffi.memmove, without Python's lock: the other thread may need it meanwhile.
            lib.pcap_stage(block.base + block.end, start + taken, fits)
            block.end, taken = block.end + fits, taken + fits
            if block.end == BLOCK:
                self._send(file)
        while ring and self._crowds(ring):
            if self.disk.under_way:
                self.settle(file, self.disk.under_way - 1)
            else:
                self.flush(file)

    def _open(self, file: Output) -> Block:
        """Return the block that is filled."""
        if not self.block.octets:
            # A block that is full ends with a page.
            at = 0 if self.disk.under_way else os.lseek(file.fd, 0, os.SEEK_CUR) % PAGE
            self.block.start = self.block.end = at
            self.since = time.monotonic()
        return self.block

    def _crowds(self, ring: c.PcapRing) -> bool:
        """Return whether too much of a ring's room is taken by what waits here."""
        waiting = (int(ring.taken) >> 32) - (int(ring.positions.written) >> 32)
        return bool(ring.staged) and waiting >= max(ring.n_chunks // 2, 1)

    def _send(self, file: Output, most: int = BLOCKS - 1) -> None:
        """Have the block written, and take another."""
        self.disk.put(self.block, file)
        self.settle(file, most)
        self.block = self.free.pop()

    def flush(self, file: Output) -> None:
        """Write what is here, and wait for it. Raises OSError: then the file ends with the last
        whole record.
        """
        if self.block.octets:
            self._send(file, 0)
        self.settle(file, 0)
        self._settle(0)

    def settle(self, file: Output, most: int = BLOCKS) -> None:
        """Release what is in the file meanwhile; wait while more than `most` blocks are under way.
        Raises OSError as `flush` does.
        """
        for block in self.disk.done(most):
            torn = self._settle(block.done)
            if block.done < block.octets:
                for _ in self.disk.done(0):
                    pass
                file.cut(torn)
                raise OSError(file.error or errno.EIO, "")
            block.start = block.end = 0
            self.free.append(block)

    def _settle(self, octets: int) -> int:
        """Release what is in the file, with so many bytes more. Return how many of them belong to
        a record that is not whole.
        """
        while self.pieces and octets >= (left := self.pieces[0].octets - self.pieces[0].done):
            octets -= left
            piece = self.pieces.popleft()
            piece.done = piece.octets
            piece.settle()
        if self.pieces:
            self.pieces[0].done += octets
            return self.pieces[0].settle()
        for ring in self.rings:  # what was discarded behind the last piece, too
            if ring.staged:  # otherwise it has moved on meanwhile
                lib.pcap_settle(ring, ring.taken)
        self.rings.clear()
        return 0
