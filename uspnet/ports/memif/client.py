# SPDX-License-Identifier: Apache-2.0
"""The client's role: it owns all the memory, and offers it to the server."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property

from uspnet.errors import NoMemory
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import SharedMemory, new
from uspnet.pool import Pool
from uspnet.ports.memif.access import peer_user
from uspnet.ports.memif.closing import let_go
from uspnet.ports.memif.protocol import (
    FLAG_C2S,
    HANDSHAKE_S,
    MODE_ETHERNET,
    OUR_NAME,
    VERSION,
    Channel,
    Disconnect,
    Type,
    ring_bytes,
    text_of,
)

CONNECT_S = struct.pack("=qq", 0, 50_000)  # struct timeval
SHARED_MAX = 1 << 32  # a descriptor's offset has 32 bits
Waiting = tuple[Type, tuple[int | bytes, ...], int | None]  # a message: its fields, its descriptor


class ClientMemory:
    """What one connection shares: region 0 with rings, and buffers unless the pool is region 1."""

    def __init__(self, pairs: int, log2_size: int, buffer_size: int, pool: Pool | None) -> None:
        self.pairs, self.log2_size, self.pool = pairs, log2_size, pool
        self.buffer_size = buffer_size
        rings = 2 * pairs * ring_bytes(log2_size)
        self.buffers_at = -(-rings // 4096) * 4096
        buffers = 0 if pool else (2 * pairs << log2_size) * buffer_size
        if max(self.buffers_at + buffers, pool.memory.size if pool else 0) > SHARED_MAX:
            raise NoMemory(
                "memif can't share more than 4 GiB of buffers",
                "use smaller rings, fewer queues, or a shorter frame=",
            )
        self.memory = SharedMemory("uspnet-memif", self.buffers_at + buffers, huge=bool(buffers))
        self.fds: list[int] = []
        try:
            self.memory.guard()
            for _ in range(2 * pairs):
                self.fds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise NoMemory(f"memif's eventfds: {error.strerror}", "see: ulimit -n") from None
            raise
        for c2s in (True, False):
            for index in range(pairs):
                self.ring(c2s, index).cookie = lib.MEMIF_COOKIE

    @cached_property
    def regions(self) -> c.MemifRegion:
        """Return the array of its one region. First used while no worker runs."""
        return new("struct memif_region[]", [(self.memory.base, self.memory.size)])

    def number(self, c2s: bool, index: int) -> int:
        """Return a ring's number: those from client to server come first."""
        return index if c2s else self.pairs + index

    def offset(self, c2s: bool, index: int) -> int:
        """Return a ring's offset in region 0, in bytes."""
        return self.number(c2s, index) * ring_bytes(self.log2_size)

    def ring(self, c2s: bool, index: int) -> c.MemifRing:
        """Return one ring, as `struct memif_ring *`."""
        return ffi.cast("struct memif_ring *", self.memory.base + self.offset(c2s, index))

    def buffers(self, c2s: bool, index: int) -> c.Pointer[int]:
        """Return the first buffer of a ring's slots, without zero copy."""
        first = (self.number(c2s, index) << self.log2_size) * self.buffer_size
        return self.memory.base + self.buffers_at + first

    def close(self) -> None:
        """Free the memory and its descriptors."""
        for fd in self.fds:
            os.close(fd)
        self.memory.close()


class ClientSession:
    """One connection of a client, from connect to CONNECTED. `up` is true at the end."""

    def __init__(
        self, address: str, identity: int, secret: str, make: Callable[[int, int], ClientMemory]
    ) -> None:
        """Connect to a server. `make(max pairs, max log2 size)` makes the memory when the server
        has stated its limits. Raises OSError if the connection is not accepted within CONNECT_S.
        """
        self.identity, self.secret, self.make = identity, os.fsencode(secret), make
        self.memory: ClientMemory | None = None
        self.waiting: deque[Waiting] = deque()
        self.up = False
        self.peer = ""
        self.deadline = time.monotonic() + HANDSHAKE_S
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            # Where many want to connect, those that wait are let in one after the other.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, CONNECT_S)
            sock.connect(address)
            self.user = peer_user(sock)
        except OSError:
            sock.close()
            raise
        self.channel = Channel(sock)

    def handle(self) -> None:
        """Handle every message that waits. Raises Disconnect."""
        if not self.up and time.monotonic() > self.deadline:
            raise Disconnect("Handshake took too long", ours=True)
        while (message := self.channel.receive()) is not None:
            kind, fields, fd = message
            if fd is not None:
                let_go(fd)  # a server has none to give
            match kind:
                case Type.HELLO if not self.memory:
                    self._hello(*fields)
                case Type.ACK if self.waiting:
                    self._next()
                case Type.CONNECTED if self.memory and not self.waiting and not self.up:
                    self.up = True
                case Type.DISCONNECT:
                    raise Disconnect(text_of(fields[1]) or "the peer left")
                case _:
                    raise Disconnect("Unexpected message", ours=True)

    def _hello(  # noqa: PLR0913 - the message's fields
        self, name: bytes, low: int, high: int, regions: int, s2c: int, c2s: int, log2: int
    ) -> None:
        if not low <= VERSION <= high:
            raise Disconnect("Incompatible memif version", ours=True)
        self.peer = text_of(name)
        memory = self.memory = self.make(min(s2c, c2s) + 1, log2)
        if memory.pool and regions < 1:
            raise Disconnect("Zero copy needs two regions", ours=True)
        send = self.waiting.append
        send((Type.ADD_REGION, (0, memory.memory.size), memory.memory.fd))
        if memory.pool:
            send((Type.ADD_REGION, (1, memory.pool.memory.size), memory.pool.memory.fd))
        for direction in (True, False):
            for index in range(memory.pairs):
                flags, fd = FLAG_C2S * direction, memory.fds[memory.number(direction, index)]
                at = memory.offset(direction, index)
                send((Type.ADD_RING, (flags, index, 0, at, memory.log2_size, 0), fd))
        send((Type.CONNECT, (OUR_NAME,), None))
        self.channel.send(Type.INIT, VERSION, self.identity, MODE_ETHERNET, self.secret, OUR_NAME)

    def lost(self) -> bool:
        """Return whether the peer has removed pages from our memory."""
        memory = self.memory and self.memory.memory
        return bool(memory and memory.lost and memory.lost[0])

    def _next(self) -> None:
        kind, fields, fd = self.waiting.popleft()
        self.channel.send(kind, *fields, fd=fd)

    def eventfds(self) -> list[int]:
        """Return the eventfds of the rings."""
        return list(self.memory.fds) if self.memory else []

    def close(self, reason: str = "") -> None:
        """Close the connection and free its memory."""
        self.channel.close(reason)
        if self.memory:
            self.memory.close()
            self.memory = None
