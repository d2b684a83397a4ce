# SPDX-License-Identifier: Apache-2.0
"""The server's role: it works in memory that a client offers, and trusts nothing."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from uspnet.fastpath import c, ffi, lib
from uspnet.memory import new
from uspnet.ports.memif.closing import let_go
from uspnet.ports.memif.protocol import (
    FLAG_C2S,
    HANDSHAKE_S,
    LOG2_SIZE_MAX,
    MODE_ETHERNET,
    OUR_NAME,
    REGIONS_MAX,
    VERSION,
    Channel,
    Disconnect,
    Type,
    ring_bytes,
    text_of,
)
from uspnet.ports.memif.region import PeerRegion, RingPlace, use_eventfd

if TYPE_CHECKING:
    from uspnet.ports.memif.client import ClientSession


class Interface(Protocol):
    """What a listener needs of a port."""

    name: str
    identity: int
    secret: str
    allow: frozenset[int] | None
    notice: Callable[[str], None]
    pairs: int
    stays: bool
    session: ClientSession | ServerSession | None


class ServerSession:
    """One client, from HELLO to CONNECT. Owns what the client sent."""

    def __init__(self, channel: Channel, user: int, pairs: int) -> None:
        self.channel, self.user = channel, user
        self.port: Interface | None = None
        self.regions: list[PeerRegion] = []
        self.rings: dict[tuple[bool, int], RingPlace] = {}
        self.fault = new("uint32_t *")
        self.up = False
        self.peer = ""
        self.deadline = time.monotonic() + HANDSHAKE_S
        channel.send(
            Type.HELLO,
            OUR_NAME,
            VERSION,
            VERSION,
            REGIONS_MAX - 1,
            pairs - 1,
            pairs - 1,
            LOG2_SIZE_MAX,
        )

    def handle(self, ports: Mapping[int, Interface]) -> None:
        """Handle every message that waits. `ports`: by id, those the client may name. Raises
        Disconnect.
        """
        if not self.up and time.monotonic() > self.deadline:
            raise Disconnect("Handshake took too long", ours=True)
        while (message := self.channel.receive()) is not None:
            kind, fields, fd = message
            match kind:
                case Type.INIT if not self.port:
                    self._init(ports, *fields)
                case Type.ADD_REGION if self.port and not self.up:
                    self._add_region(*fields, fd=fd)
                case Type.ADD_RING if self.port and not self.up:
                    self._add_ring(*fields, fd=fd)
                case Type.CONNECT if self.port and not self.up:
                    self._connect()
                case Type.DISCONNECT:
                    raise Disconnect(text_of(fields[1]) or "the peer left")
                case _:
                    if fd is not None:
                        let_go(fd)
                    raise Disconnect("Unexpected message", ours=True)

    def _init(  # noqa: PLR0913 - the message's fields
        self,
        ports: Mapping[int, Interface],
        version: int,
        number: int,
        mode: int,
        secret: bytes,
        name: bytes,
    ) -> None:
        if version != VERSION:
            raise Disconnect("Incompatible memif version", ours=True)
        port = ports.get(number)
        if not port:
            raise Disconnect("ID not found", ours=True)
        if port.allow is not None and self.user not in port.allow:
            raise Disconnect("User not allowed", ours=True)
        if mode != MODE_ETHERNET:
            raise Disconnect("Only ethernet mode supported", ours=True)
        if port.secret:
            given = secret.split(b"\0")[0]
            if not given:
                raise Disconnect("Secret required", ours=True)
            if not hmac.compare_digest(given, os.fsencode(port.secret)):
                raise Disconnect("Incorrect secret", ours=True)
        if port.session:
            raise Disconnect("Already connected", ours=True)
        self.peer = text_of(name)
        self.port, port.session = port, self
        self.channel.send(Type.ACK)

    def _add_region(self, index: int, size: int, *, fd: int | None) -> None:
        if fd is None:
            raise Disconnect("Missing region fd", ours=True)
        if index != len(self.regions) or index >= REGIONS_MAX:
            let_go(fd)
            raise Disconnect("Invalid region index", ours=True)
        self.regions.append(PeerRegion(fd, size, self.fault))
        self.channel.send(Type.ACK)

    def _add_ring(  # noqa: PLR0913 - the message's fields
        self,
        flags: int,
        index: int,
        region: int,
        at: int,
        log2: int,
        header: int,
        *,
        fd: int | None,
    ) -> None:
        if fd is None:
            raise Disconnect("Missing interrupt fd", ours=True)
        ring = RingPlace(bool(flags & FLAG_C2S), index, region, at, log2, fd)
        key = (ring.c2s, index)
        if not self.port or index >= self.port.pairs or key in self.rings:
            let_go(fd)
            raise Disconnect("Invalid ring index", ours=True)
        self.rings[key] = ring
        if not use_eventfd(fd):
            raise Disconnect("Invalid interrupt fd", ours=True)
        if header or not 1 <= log2 <= LOG2_SIZE_MAX:
            raise Disconnect("Invalid ring size", ours=True)
        if region >= len(self.regions) or at % 16:
            raise Disconnect("Invalid ring region or offset", ours=True)
        if at + ring_bytes(log2) > self.regions[region].size:
            raise Disconnect("Ring is outside its region", ours=True)
        self.channel.send(Type.ACK)

    def _connect(self) -> None:
        for region in self.regions:
            region.check()
            region.settle()
        for place in self.rings.values():
            if self.ring(place).cookie != lib.MEMIF_COOKIE:
                raise Disconnect("Wrong ring", ours=True)
        if self.fault[0]:
            raise Disconnect("Region is shorter than announced", ours=True)
        self.up = True

    @cached_property
    def c_regions(self) -> c.MemifRegion:
        """Return the array of the client's regions. First used while no worker runs."""
        pairs = [(region.base, region.size) for region in self.regions]
        return new("struct memif_region[]", pairs)

    def ring(self, place: RingPlace) -> c.MemifRing:
        """Return one ring, as `struct memif_ring *`."""
        return ffi.cast("struct memif_ring *", self.regions[place.region].base + place.offset)

    def eventfds(self) -> list[int]:
        """Return the eventfds of the rings."""
        return [place.fd for place in self.rings.values()]

    def close(self, reason: str = "") -> None:
        """Close the connection and unmap the client's memory."""
        self.channel.close(reason)
        for place in self.rings.values():
            let_go(place.fd)
        for region in self.regions:
            region.close()
        self.rings, self.regions = {}, []
        if self.port and self.port.session is self:
            self.port.session = None
