# SPDX-License-Identifier: Apache-2.0
"""How the process that writes a capture goes on from one file to the next.

It can open none: it asks the process that holds the paths, which answers with a descriptor. Of all
descriptors it may have three more than it began with, for which it has closed the standard ones.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from uspnet.fastpath import c, ffi, lib
from uspnet.ports.pcap.hold import Hold
from uspnet.ports.pcap.packing import Packer

# Said by the writer; FULL with a place for each queue, DONE with packets and bytes of the file.
FULL, LAST, DONE = b"full", b"last", b"done"
# Said to it; NEXT and TAIL with the file's end.
TURN, NEXT, OVER, STAY, END, TAIL = b"turn", b"next", b"over", b"stay", b"ends", b"tail"
COUNTS = struct.Struct("=QQ")
PLACE = struct.Struct("=QQ")  # the position in a queue, and its packets in all files so far
WORD = 4  # bytes
MOST = WORD + lib.PCAP_TAIL
SHORTEST = 16  # bytes of a record's header
SOON_MS = 20
ENDLESS = (1 << 64) - 1


@dataclass(frozen=True)
class Part:
    """How a file is written: the longest that a record waits in memory while the writer has nothing
    to do, and how many bytes and packets a file may hold, if the writer `asks` for others. `eager`:
    as soon as one is full, not with the next packet. `pack` makes what
    compresses a file; `hold`: what is kept in memory before a trigger; `direct`: blocks go past the
    page cache.
    """

    patience_ms: int = 100
    asks: bool = False
    octets: int = ENDLESS
    packets: int = ENDLESS
    eager: bool = False
    pack: Callable[[], Packer] | None = None
    hold: Hold | None = None
    direct: bool = False


class Parts:
    """The writer's side. `over`: no file follows; `stays`: this one takes all that is left;
    `ends`: nothing more will come.
    """

    def __init__(self, line: int, watched: int, part: Part) -> None:
        self.line = socket.socket(fileno=line)
        self.watched, self.part = watched, part
        self.octets = self.packets = 0  # in this file
        self.written = [0] * lib.PCAP_RINGS  # packets of each queue in all files
        self.turn = self.over = self.ends = self.stays = False
        self.poll = select.poll()
        self.poll.register(self.line, select.POLLIN)
        self.poll.register(watched, select.POLLIN)

    def begin(self) -> None:
        """Make room for the descriptors of files."""
        os.close(0)
        os.close(1)

    def turns(self, waiting: int, out: int) -> bool:
        """Return whether it is time for the next file, when so many bytes wait. Each has a packet,
        unless its time is over.
        """
        if not self.octets:
            self.measure(out)
        if self.stays or self.over:
            return False
        full = self.octets >= self.part.octets or self.packets >= self.part.packets
        return self.turn or (full and bool(self.packets) and bool(waiting or self.part.eager))

    def patience_ms(self) -> float:
        """Return how long records may wait: only a moment if they may be those that end it all."""
        left = min(self.part.octets - self.octets, (self.part.packets - self.packets) * SHORTEST)
        near = self.part.eager and not self.stays and left <= lib.PCAP_CHUNK
        return min(self.part.patience_ms, SOON_MS) if near else self.part.patience_ms

    def measure(self, out: int) -> None:
        """Count what the file has already: its header."""
        with contextlib.suppress(OSError):  # a pipe
            self.octets = os.lseek(out, 0, os.SEEK_CUR)

    def cut(self, queue: int, ring: c.PcapRing, start: c.Pointer[int], length: int) -> int:
        """Return how many bytes of a queue's records belong into this file, and count them. A
        header alone may fill a file.
        """
        packets = ffi.new("uint64_t *", ENDLESS if self.stays else self.part.packets - self.packets)
        room = ENDLESS if self.stays else max(self.part.octets - self.octets, 1)
        fits = int(lib.pcap_cut(ring, start, length, room, packets)) or length
        self.octets, self.packets = self.octets + fits, self.packets + int(packets[0])
        self.written[queue] += int(packets[0])
        return fits

    def packed(self, length: int, written: int) -> None:
        """Count what became of so many bytes when they were compressed."""
        if not self.stays:
            self.octets += written - length

    def hear(self) -> None:
        """Take in what was said meanwhile."""
        while not self.ends and any(fd == self.line.fileno() for fd, _ in self.poll.poll(0)):
            self._take(self._hear()[0])

    def _hear(self) -> tuple[bytes, list[int]]:
        """Return what is said next, and the descriptors with it; b"": nobody is there any more."""
        try:
            said, fds, _, _ = socket.recv_fds(self.line, MOST, 1)
        except OSError:  # ended before it had read all that we have said
            return b"", []
        return said, fds

    def _take(self, said: bytes) -> None:
        self.turn = self.turn or said == TURN
        self.ends = self.ends or said in (b"", END)
        self.over = self.over or said == OVER
        self.stays = self.stays or said in (b"", STAY)

    def ask(self, taken: Sequence[int]) -> tuple[int, bytes] | None:
        """Ask for the next file, and return its descriptor and the end of the one before, which has
        the queues up to these positions. None: no file follows, or nobody answers any more, and the
        rest goes into this one.
        """
        places = zip(taken, self.written, strict=False)
        self._say(FULL + b"".join(PLACE.pack(*place) for place in places))
        while not self.stays:
            said, fds = self._hear()
            if fds:
                return fds[0], said[WORD:]
            self._take(said)
            if self.over:
                return None
        return None

    def ask_tail(self) -> bytes:
        """Ask for the end of the last file, of which all packets are written, or left out."""
        with contextlib.suppress(OSError):  # nobody answers any more
            self.line.send(LAST)
            while said := self.line.recv(MOST):
                if said[:WORD] == TAIL:
                    return said[WORD:]
        return b""

    def done(self) -> None:
        """Say that a file is complete, and count anew for the next."""
        self._say(DONE + COUNTS.pack(self.packets, self.octets))
        self.octets, self.packets, self.turn = 0, 0, False

    def _say(self, words: bytes) -> None:
        try:
            self.line.send(words)
        except OSError:
            self.stays = True
