# SPDX-License-Identifier: Apache-2.0
"""AF_XDP sockets by system calls: registered memory, rings, bind, statistics.

Reference: Linux Documentation/networking/af_xdp.rst, include/uapi/linux/if_xdp.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple

from uspnet.fastpath import c, ffi, lib
from uspnet.mapping import Mapping
from uspnet.pool import Pool

AF_XDP, SOL_XDP = 44, 283
XDP_MMAP_OFFSETS, XDP_STATISTICS, XDP_OPTIONS, XDP_MAX_TX_SKB_BUDGET = 1, 7, 8, 9
XDP_UMEM_REG = 4
OPTIONS_ZERO_COPY = 1
COPY, ZERO_COPY, NEED_WAKEUP, SEVERAL_BUFFERS = 2, 4, 8, 16  # flags of bind
HEADROOM = 256  # XDP_PACKET_HEADROOM: bytes before a received frame in its chunk
CHUNKS = (4096, 2048)  # bytes that a chunk can have, where buffers are several in a row
BUSY_POLL = {69: 1, 46: 20, 70: 64}  # SO_PREFER_BUSY_POLL; SO_BUSY_POLL: µs; …_BUDGET: frames

Kind = Literal["rx", "tx", "fill", "completion"]


class _Ring(NamedTuple):
    option: int  # of setsockopt(2)
    place: int  # in XDP_MMAP_OFFSETS
    offset: int  # of mmap(2)
    slot: int  # bytes


RINGS: dict[Kind, _Ring] = {
    "rx": _Ring(2, 0, 0, 16),
    "tx": _Ring(3, 1, 0x80000000, 16),
    "fill": _Ring(5, 2, 0x100000000, 8),
    "completion": _Ring(6, 3, 0x180000000, 8),
}


@dataclass(frozen=True)
class Statistics:
    """What the kernel has counted of a socket, by its names."""

    rx_dropped: int = 0
    rx_invalid_descs: int = 0
    tx_invalid_descs: int = 0
    rx_ring_full: int = 0
    rx_fill_ring_empty_descs: int = 0
    tx_ring_empty_descs: int = 0

    @property
    def missed(self) -> int:
        """Return the frames that the kernel could not hand over."""
        return self.rx_dropped + self.rx_ring_full


def chunk_bytes(buffer: int) -> int:
    """Return the bytes of a chunk where a buffer has so many."""
    return next(size for size in CHUNKS if buffer % size == 0)


def room(buffer: int) -> int:
    """Return the bytes of the longest frame that is received in one piece."""
    return chunk_bytes(buffer) - HEADROOM


class XdpSocket:
    """One AF_XDP socket. Every method raises OSError as the system call does."""

    def __init__(self) -> None:
        self.sock = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
        self.maps: dict[Kind, Mapping] = {}
        self.registered = self.bound = False

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.sock.fileno()

    def poll_busily(self) -> None:
        """Have the driver run in the socket's own system calls, where they find nothing."""
        for option, value in BUSY_POLL.items():
            self.sock.setsockopt(socket.SOL_SOCKET, option, value)

    def register(self, pool: Pool) -> None:
        """Make the pool's buffers its memory (UMEM), once."""
        if self.registered:
            return
        address = int(ffi.cast("uintptr_t", pool.memory.base))
        chunk = chunk_bytes(pool.size)
        size = pool.count * pool.size
        self.sock.setsockopt(
            SOL_XDP, XDP_UMEM_REG, struct.pack("=QQIIII", address, size, chunk, 0, 0, 0)
        )
        self.registered = True

    def ring(self, kind: Kind, slots: int) -> Mapping:
        """Make a ring, and map it; the one that there is already."""
        if kind in self.maps:
            return self.maps[kind]
        ring = RINGS[kind]
        self.sock.setsockopt(SOL_XDP, ring.option, slots)
        size = self._offsets(ring)[2] + slots * ring.slot
        self.maps[kind] = Mapping(os.dup(self.fileno()), size, ring.offset)
        return self.maps[kind]

    def _offsets(self, ring: _Ring) -> tuple[int, int, int, int]:
        """Return where producer, consumer, slots and flags are in a ring's mapping."""
        told = self.sock.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128)
        producer, consumer, slots, flags = struct.unpack_from("=4Q", told, 32 * ring.place)
        return producer, consumer, slots, flags

    def send_at_once(self, frames: int) -> None:
        """Have the kernel copy up to so many frames in one call, not 32: Linux 6.18 can. There is a
        transmit ring of as many slots.
        """
        with contextlib.suppress(OSError):
            self.sock.setsockopt(SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames)

    def fill_in(self, target: c.XdpRing, kind: Kind, slots: int) -> None:
        """Make a ring, and set the members of a `struct xdp_ring`."""
        base = self.ring(kind, slots).base
        producer, consumer, first, flags = self._offsets(RINGS[kind])
        target.producer = ffi.cast("uint32_t *", base + producer)
        target.consumer = ffi.cast("uint32_t *", base + consumer)
        target.flags = ffi.cast("uint32_t *", base + flags)
        target.slots = base + first

    def bind(self, ifindex: int, queue: int, flags: int) -> None:
        """Bind it to a queue of an interface."""
        if error := lib.xdp_bind(self.fileno(), ifindex, queue, flags):
            raise OSError(error, os.strerror(error))
        self.bound = True

    def wake(self) -> None:
        """Have the driver take what is in the fill ring, if it waits for that."""
        with contextlib.suppress(OSError):
            self._receive()

    def _receive(self) -> None:
        """Have the kernel look at the fill ring: it hands over nothing here, whatever is asked for;
        for 0 bytes, Python would not ask it.
        """
        self.sock.recv(1, socket.MSG_DONTWAIT)

    def is_unbound(self) -> bool:
        """Return whether the kernel has let go of its queue: the interface went away, and may be
        back under the same index.
        """
        try:
            self._receive()
        except OSError as error:
            return error.errno == errno.ENXIO
        return False

    def zero_copy(self) -> bool:
        """Return whether the driver works on the registered memory itself."""
        (flags,) = struct.unpack("=I", self.sock.getsockopt(SOL_XDP, XDP_OPTIONS, 4))
        return bool(flags & OPTIONS_ZERO_COPY)

    def statistics(self) -> Statistics:
        """Return the kernel's counters."""
        told = self.sock.getsockopt(SOL_XDP, XDP_STATISTICS, 48)
        return Statistics(*struct.unpack("=6Q", told.ljust(48, b"\0")))

    def close(self) -> None:
        """Close it. The mappings go first: they keep it alive."""
        while self.maps:
            self.maps.popitem()[1].close()
        self.sock.close()
