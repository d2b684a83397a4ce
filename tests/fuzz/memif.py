# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: the messages of a memif peer, to our server and to our client.

The first byte of the input says to whom. Then come messages, each with one byte in front: what
goes with it (0: nothing, 1: shared memory, 2: an eventfd, 3: a pipe, 4: two eventfds), and in the
upper half, how many bytes it is too short.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import tempfile
from types import SimpleNamespace

from uspnet.fastpath import lib
from uspnet.ports.memif import closing
from uspnet.ports.memif.client import ClientMemory, ClientSession
from uspnet.ports.memif.protocol import MESSAGE_BYTES, Channel, Disconnect
from uspnet.ports.memif.server import ServerSession

REGION_BYTES = 1 << 16
MESSAGES_MAX = 12
ADDRESS = os.path.join(tempfile.mkdtemp(), "fuzz.sock")
SHARED = os.memfd_create("fuzz", os.MFD_CLOEXEC)
os.ftruncate(SHARED, REGION_BYTES)
for _ring in range(0, REGION_BYTES, 4096):
    os.pwrite(SHARED, int(lib.MEMIF_COOKIE).to_bytes(4, "little"), _ring)
BELL, PIPE = os.eventfd(0), os.pipe()[0]
RIGHTS = [[], [SHARED], [BELL], [PIPE], [BELL, BELL]]


def fds() -> int:
    """How many descriptors are open, without those of the chunks that C structs lie in: they stay,
    and one comes when it is needed."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            count += "uspnet-structs" not in os.readlink(f"/proc/self/fd/{name}")
    return count


def say(sock: socket.socket, data: bytes) -> None:
    """Send one message, with the byte that describes it in front."""
    rights = array.array("i", RIGHTS[data[0] % len(RIGHTS)])
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    text = data[1:].ljust(MESSAGE_BYTES, b"\0")
    with contextlib.suppress(OSError):  # who has left hears nothing
        sock.sendmsg([text[: MESSAGE_BYTES - (data[0] >> 4)] or b"\0"], control)


def talk(session: ServerSession | ClientSession, sock: socket.socket, data: bytes, *more) -> None:
    """Have a session handle each message; it ends by itself, or by a Disconnect."""
    step = MESSAGE_BYTES + 1
    sock.setblocking(False)
    for at in range(0, min(len(data), MESSAGES_MAX * step), step):
        say(sock, data[at : at + step])
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock.recv(4096)
        session.handle(*more)


def serve(data: bytes) -> None:
    """Be the client of our server."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    port = SimpleNamespace(name="m", identity=0, secret="", allow=None, pairs=2, session=None)
    session = ServerSession(Channel(ours), 0, 2)
    with theirs:
        try:
            talk(session, theirs, data, {0: port})
        finally:
            session.close("over")
    assert port.session is None


def connect(data: bytes) -> None:
    """Be the server of our client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(ADDRESS)
        listener.listen()
        session = ClientSession(
            ADDRESS, 0, "", lambda pairs, log2: ClientMemory(min(pairs, 2), min(log2, 4), 64, None)
        )
        sock = listener.accept()[0]
        os.unlink(ADDRESS)
        with sock:
            try:
                talk(session, sock, data)
            finally:
                session.close("over")


def one(data: bytes) -> None:
    """Talk to a session; it leaves no descriptor open, and raises Disconnect or nothing."""
    before = fds()
    with contextlib.suppress(Disconnect):
        (connect if data[:1] > b"\x7f" else serve)(data[1:])
    closing.wait(10)
    assert fds() == before
