# SPDX-License-Identifier: Apache-2.0
"""The server's role: it listens, works in memory that a client offers, and trusts nothing."""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
import socket
import stat
import time
from collections.abc import Iterator
from typing import Any, Protocol

from uspnet.errors import Busy, NoDevice, NotPermitted
from uspnet.fastpath import ffi, lib
from uspnet.memif.protocol import (
    FLAG_C2S,
    HANDSHAKE_S,
    LOG2_SIZE_MAX,
    MODE_ETHERNET,
    OUR_NAME,
    REGIONS_MAX,
    VERSION,
    Channel,
    Disconnect,
    PeerRegion,
    RingPlace,
    Type,
    is_eventfd,
    ring_bytes,
    text_of,
)

ALONE_S = 1.0  # how long another program may keep a folder locked
STRANGERS_MAX = 16  # connections that have not said which interface they want


class Interface(Protocol):
    """What a listener needs of a port."""

    name: str
    identity: int
    secret: str
    pairs: int
    session: Any


class ServerSession:
    """One client, from HELLO to CONNECT. Owns what the client sent."""

    def __init__(self, channel: Channel, pairs: int) -> None:
        self.channel = channel
        self.port: Interface | None = None
        self.regions: list[PeerRegion] = []
        self.rings: dict[tuple[bool, int], RingPlace] = {}
        self.fault = ffi.new("uint32_t *")
        self.c_regions: Any = ffi.NULL
        self.up = False
        self.peer = ""
        self.deadline = time.monotonic() + HANDSHAKE_S
        channel.send(
            Type.HELLO, OUR_NAME, VERSION, VERSION, REGIONS_MAX - 1, pairs - 1, pairs - 1,
            LOG2_SIZE_MAX,
        )

    def handle(self, listener: Listener) -> None:
        """Handles every message that waits. Raises Disconnect."""
        if not self.up and time.monotonic() > self.deadline:
            raise Disconnect("Handshake took too long", ours=True)
        while (message := self.channel.receive()) is not None:
            kind, fields, fd = message
            match kind:
                case Type.INIT if not self.port:
                    self._init(listener, *fields)
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
                        os.close(fd)
                    raise Disconnect("Unexpected message", ours=True)

    def _init(  # noqa: PLR0913 - the message's fields
        self, listener: Listener, version: int, number: int, mode: int, secret: bytes, name: bytes
    ) -> None:
        if version != VERSION:
            raise Disconnect("Incompatible memif version", ours=True)
        port = listener.ports.get(number)
        if not port:
            raise Disconnect("ID not found", ours=True)
        if mode != MODE_ETHERNET:
            raise Disconnect("Only ethernet mode supported", ours=True)
        if port.secret:
            given = secret.split(b"\0")[0]
            if not given:
                raise Disconnect("Secret required", ours=True)
            if not hmac.compare_digest(given, port.secret.encode()):
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
            os.close(fd)
            raise Disconnect("Invalid region index", ours=True)
        self.regions.append(PeerRegion(fd, size))
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
            os.close(fd)
            raise Disconnect("Invalid ring index", ours=True)
        self.rings[key] = ring
        if not is_eventfd(fd):
            raise Disconnect("Invalid interrupt fd", ours=True)
        if header or not 1 <= log2 <= LOG2_SIZE_MAX:
            raise Disconnect("Invalid ring size", ours=True)
        if region >= len(self.regions) or at % 16:
            raise Disconnect("Invalid ring region or offset", ours=True)
        if at + ring_bytes(log2) > self.regions[region].size:
            raise Disconnect("Ring is outside its region", ours=True)
        os.set_blocking(fd, False)
        self.channel.send(Type.ACK)

    def _connect(self) -> None:
        for region in self.regions:
            region.map_in(self.fault)
        self.c_regions = ffi.new(
            "struct memif_region[]", [(region.base, region.size) for region in self.regions]
        )
        for place in self.rings.values():
            if self.ring(place).cookie != lib.MEMIF_COOKIE:
                raise Disconnect("Wrong ring", ours=True)
        self.up = True

    def ring(self, place: RingPlace) -> Any:
        """One ring, as `struct memif_ring *`."""
        return ffi.cast("struct memif_ring *", self.regions[place.region].base + place.offset)

    def close(self, reason: str = "") -> None:
        """Ends the connection and lets go of the client's memory."""
        self.channel.close(reason)
        for place in self.rings.values():
            os.close(place.fd)
        for region in self.regions:
            region.close()
        self.rings, self.regions = {}, []
        if self.port and self.port.session is self:
            self.port.session = None


class Listener:
    """A listening socket, shared by the ports of one process that use the same path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ports: dict[int, Interface] = {}
        self.strangers: list[ServerSession] = []
        self.sock = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        self.inode: tuple[int, int] | None = None
        try:
            with alone(address):
                self._bind()
                self.sock.listen(STRANGERS_MAX)
        except BaseException:
            self.close()
            raise

    def _bind(self) -> None:
        if not self.address.startswith("\0"):
            remove_stale(self.address)
            os.fchmod(self.sock.fileno(), 0o660)  # the mode that the path will get
        try:
            self.sock.bind(self.address)
        except FileNotFoundError:
            folder = os.path.dirname(self.address)
            raise NoDevice(f"{folder}: no such folder", f"mkdir -p {folder}") from None
        except PermissionError:
            raise NotPermitted(
                f"{self.address}: may not be made by this user",
                "use a folder of yours, or an abstract socket: memif:@name",
            ) from None
        except OSError as error:
            raise Busy(
                f"{printable(self.address)}: {error.strerror}", "another program listens there"
            ) from None
        if not self.address.startswith("\0"):
            status = os.stat(self.address)
            self.inode = (status.st_dev, status.st_ino)

    def accept(self) -> None:
        """Greets the clients that wait at the door, a few at a time."""
        for _ in range(STRANGERS_MAX):  # a flood must not keep us here
            try:
                sock, _address = self.sock.accept()
            except OSError:
                return
            if len(self.strangers) >= STRANGERS_MAX:
                self.strangers.pop(0).close("Too many connections")
            try:
                pairs = max(port.pairs for port in self.ports.values())
                self.strangers.append(ServerSession(Channel(sock), pairs))
            except Disconnect:
                sock.close()

    def handle(self) -> None:
        """Lets strangers introduce themselves; those that did belong to their port from then on."""
        self.accept()
        for session in list(self.strangers):
            try:
                session.handle(self)
            except Disconnect as error:
                self.strangers.remove(session)
                session.close(error.message if error.ours else "")
                continue
            if session.port:
                self.strangers.remove(session)

    def fds(self) -> list[int]:
        """What calls for `handle`."""
        return [self.sock.fileno(), *(session.channel.fileno() for session in self.strangers)]

    def close(self) -> None:
        """Stops listening; removes the path if it is still ours."""
        for session in self.strangers:
            session.close()
        self.sock.close()
        if self.inode:
            try:
                status = os.stat(self.address, follow_symlinks=False)
                if (status.st_dev, status.st_ino) == self.inode:
                    os.unlink(self.address)
            except FileNotFoundError:
                pass


def printable(address: str) -> str:
    """An address as people type it."""
    return address.replace("\0", "@")


@contextlib.contextmanager
def alone(address: str) -> Iterator[None]:
    """Inside, no other uspnet takes a path in the same folder: between bind and listen, a socket
    looks as if its owner had left it behind.
    """
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):  # bind says what is wrong with the folder
            if not address.startswith("\0"):
                folder = os.open(os.path.dirname(address) or ".", os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, folder)
                lock(folder)
        yield


def lock(fd: int) -> None:
    """Locks a file until it is closed; goes without when somebody keeps it for ALONE_S."""
    end = time.monotonic() + ALONE_S
    while time.monotonic() < end:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.002)
        else:
            return


def remove_stale(path: str) -> None:
    """Removes a socket that nobody listens on any more. Raises Busy when somebody does."""
    try:
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            raise Busy(f"{path} is there and is not a socket", "choose another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except PermissionError:
            raise NotPermitted(f"{path}: may not be looked at", "choose another path") from None
        except OSError:
            pass  # its queue of clients is full, or it is another kind of socket
    raise Busy(f"{path}: another program listens there", "use role=client to join it")


LISTENERS: dict[str, Listener] = {}


def listen(address: str, port: Interface) -> Listener:
    """The process's listener on an address, with `port` on it. Raises Busy for a taken id."""
    listener = LISTENERS.get(address) or Listener(address)
    LISTENERS[address] = listener
    if port.identity in listener.ports:
        taken = listener.ports[port.identity].name
        raise Busy(f"{port.name}: id {port.identity} is taken by {taken}", "give it another id=")
    listener.ports[port.identity] = port
    return listener


def leave(listener: Listener, port: Interface) -> None:
    """Takes `port` off its listener; the last one closes it."""
    if listener.ports.get(port.identity) is port:
        del listener.ports[port.identity]
    if not listener.ports:
        listener.close()
        LISTENERS.pop(listener.address, None)
