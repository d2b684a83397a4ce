# SPDX-License-Identifier: Apache-2.0
"""The memif 2.0 control protocol: messages of 128 bytes, some with a descriptor, over SEQPACKET.

The server greets (HELLO), the client asks for an interface (INIT), hands over its memory
(ADD_REGION) and rings (ADD_RING), each answered by ACK, then CONNECT, answered by CONNECTED.
Either side may DISCONNECT with a reason. Layouts are memif.h's of VPP and DPDK, in host byte order.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from enum import IntEnum
from typing import Any

from uspnet import __version__
from uspnet.errors import PeerFault
from uspnet.ports.memif.closing import let_go

VERSION = 0x0200
MESSAGE_BYTES = 128
REGIONS_MAX = 64  # each costs a descriptor and a guard
LOG2_SIZE_MAX = 14
RING_HEADER, SLOT_BYTES = 128, 16
FLAG_C2S = 1
MODE_ETHERNET = 0
OUR_NAME = f"uspnet {__version__}".encode()
FDS_MAX = 253  # all that one message can carry: what there is no room for, the kernel closes
HANDSHAKE_S = 5.0  # a peer that has not finished by then is let go


class Type(IntEnum):
    """Message types."""

    ACK = 1
    HELLO = 2
    INIT = 3
    ADD_REGION = 4
    ADD_RING = 5
    CONNECT = 6
    CONNECTED = 7
    DISCONNECT = 8


LAYOUTS = {
    Type.ACK: "",
    Type.HELLO: "32sHHHHHB",  # name, min and max version, max region, S2C ring, C2S ring, log2
    Type.INIT: "HIB24s32s",  # version, id, mode, secret, name
    Type.ADD_REGION: "HQ",  # index, size
    Type.ADD_RING: "HHHIBH",  # flags, index, region, offset, log2 size, private header size
    Type.CONNECT: "32s",
    Type.CONNECTED: "32s",
    Type.DISCONNECT: "I96s",
}


class Disconnect(PeerFault):
    """The peer refused or left; the message is its reason. `ours`: we refused, and say so to it."""

    def __init__(self, reason: str, *, ours: bool = False) -> None:
        super().__init__(reason)
        self.ours = ours


def text_of(raw: bytes) -> str:
    """Return a NUL-padded name from a peer, made printable."""
    return "".join(c for c in raw.split(b"\0")[0].decode("utf-8", "replace") if c.isprintable())


class Channel:
    """One control connection. Sends never block: a full socket counts as a peer that left."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self.sock.fileno()

    def send(self, kind: Type, *fields: object, fd: int | None = None) -> None:
        """Send one message, with a descriptor if one is given. Raises Disconnect."""
        message = struct.pack("=H" + LAYOUTS[kind], kind, *fields).ljust(MESSAGE_BYTES, b"\0")
        fds = array.array("i", [] if fd is None else [fd])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
        try:
            self.sock.sendmsg([message], rights, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise Disconnect(f"the peer does not listen: {error.strerror}") from None

    def receive(self) -> tuple[Type, tuple[Any, ...], int | None] | None:
        """Return the next message: type, fields, and its descriptor, which the caller owns. None if
        nothing waits. Raises Disconnect.
        """
        room = socket.CMSG_SPACE(FDS_MAX * 4)
        try:
            data, control, flags, _ = self.sock.recvmsg(
                MESSAGE_BYTES + 1, room, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise Disconnect(f"the peer left: {error.strerror}") from None
        fds = descriptors(control)
        try:
            if not data:
                raise Disconnect("the peer left")
            if flags & socket.MSG_CTRUNC and not fds:
                raise Disconnect("Out of file descriptors", ours=True)
            if len(data) != MESSAGE_BYTES or flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
                raise Disconnect("Invalid message size", ours=True)
            kind, fields = unpack(data)
            if len(fds) > (kind in (Type.ADD_REGION, Type.ADD_RING)):
                raise Disconnect("Unexpected file descriptor", ours=True)
        except Disconnect:
            let_go(*fds)
            raise
        return kind, fields, fds[0] if fds else None

    def close(self, reason: str = "") -> None:
        """Close the connection; send the peer the reason if there is one."""
        if reason:
            with contextlib.suppress(Disconnect):
                self.send(Type.DISCONNECT, 0, reason.encode()[:95])
        let_go(self.sock.detach())


def unpack(data: bytes) -> tuple[Type, tuple[Any, ...]]:
    """Return type and fields of one message of 128 bytes. Raises Disconnect."""
    (number,) = struct.unpack_from("=H", data)
    try:
        kind = Type(number)
    except ValueError:
        raise Disconnect("Unknown message type", ours=True) from None
    return kind, struct.unpack_from("=" + LAYOUTS[kind], data, 2)


def descriptors(control: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the file descriptors in a message's control data."""
    found = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def ring_bytes(log2_size: int) -> int:
    """Return the bytes that a ring of 2^log2_size slots takes."""
    return RING_HEADER + (SLOT_BYTES << log2_size)
