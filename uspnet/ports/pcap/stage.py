# SPDX-License-Identifier: Apache-2.0
"""Blocks of a capture file on their way past the page cache.

O_DIRECT takes whole pages, at multiples of a page in memory and in the file; records have any
length, and lie in several rings. So they are copied behind one another into one block, which goes
to the disk when it is full, or when its records have waited long enough. A queue's records keep
their room in the ring until they are in the file: so whoever is killed, the counts are right.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import time
from collections import deque
from dataclasses import dataclass

from uspnet.fastpath import c, ffi, lib
from uspnet.ports.pcap.output import Output

PAGE = mmap.PAGESIZE
BLOCK = 1 << 20  # bytes
LEAST = 64 << 10  # bytes: fewer go through the page cache, at once


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
    """One block, and what is in it, for the files of one capture, one after another. `shared`: it
    is said there when a file system takes nothing past the page cache after all.
    """

    def __init__(self, shared: c.PcapShared) -> None:
        self.shared = shared
        memory = mmap.mmap(-1, BLOCK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view, self.base = memoryview(memory), ffi.from_buffer("uint8_t[]", memory)
        self.start = self.end = 0  # of what is in it: where that will be in a page of the file
        self.pieces: deque[Piece] = deque()
        self.rings: list[c.PcapRing] = []  # of the pieces
        self.since = 0.0  # when the oldest came, by the monotonic clock

    def age_ms(self) -> float | None:
        """Return how long something waits here; None: nothing does."""
        return (time.monotonic() - self.since) * 1e3 if self.end > self.start else None

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
            if self.start == self.end:
                self.start = self.end = os.lseek(file.fd, 0, os.SEEK_CUR) % PAGE
                self.since = time.monotonic()
            fits = min(octets - taken, BLOCK - self.end)
            ffi.memmove(self.base + self.end, start + taken, fits)
            self.end, taken = self.end + fits, taken + fits
            if self.end == BLOCK:
                self.flush(file)
        if ring and self._crowds(ring):
            self.flush(file)

    def _crowds(self, ring: c.PcapRing) -> bool:
        """Return whether too much of a ring's room is taken by what waits here."""
        waiting = (int(ring.taken) >> 32) - (int(ring.positions.written) >> 32)
        return bool(ring.staged) and waiting >= max(ring.n_chunks // 2, 1)

    def flush(self, file: Output) -> None:
        """Write what is here. Raises OSError: then the file ends with the last whole record."""
        octets = self.end - self.start
        done = self._write(file) if octets else 0
        torn = self._settle(done)
        if done < octets:
            file.cut(torn)
            raise OSError(file.error or errno.EIO, "")
        self.start = self.end = 0

    def _write(self, file: Output) -> int:
        """Write, and return how many bytes were."""
        first, last = -(-self.start // PAGE) * PAGE, self.end // PAGE * PAGE
        edges, direct = [self.start, self.end], last - first >= LEAST and not self.shared.cached
        if direct:
            edges[1:1] = [first, last]
        done = 0
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            written = 0
            if direct and number == 1:
                written = file.put_direct(self.view[begin:end])
                if written < end - begin and file.error in {errno.EINVAL, errno.EOPNOTSUPP}:
                    self.shared.cached = 1
            # What did not get past the page cache may get through it: so more of it is on a full
            # disk, and the reason is the right one.
            written += file.put(self.view[begin + written : end])
            done += written
            if written < end - begin:
                break
        return done

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
