# SPDX-License-Identifier: Apache-2.0
"""Messages between the command's process, the fork server and worker processes: JSON, or a `struct
order`, on SOCK_SEQPACKET sockets, with descriptors.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time
from typing import Any

from uspnet.fastpath import ffi, lib

PROTOCOL = 1  # of these messages, of turns, and of what loops expect in their structs
MESSAGE_BYTES = 1 << 17
KICK = signal.SIGURG  # ignored by default; in a worker, it has a handler that does nothing
FLIGHT_S = 1.0  # for descriptors that others send to be received
NAP_S = 0.001
Message = dict[str, Any]


def send(to: socket.socket, message: Message | bytes, fd: int = -1) -> None:
    """Send one message, with a descriptor if one is given. Raises OSError.

    All processes of a user may together have as many descriptors on their way as the sender may
    have open (unix(7), ETOOMANYREFS): those of others soon arrive.
    """
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    end = time.monotonic() + FLIGHT_S
    while True:
        try:
            socket.send_fds(to, [data], [fd] if fd >= 0 else [])
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS or time.monotonic() > end:
                raise
            time.sleep(NAP_S)
        else:
            return


def receive(sender: socket.socket) -> tuple[Message | bytes, int]:
    """Return the next message, empty at the end, and its descriptor or -1. A struct has less than
    `{` in its first byte. Raises OSError, ValueError, RecursionError.
    """
    data, fds, _, _ = socket.recv_fds(sender, MESSAGE_BYTES, 1)
    try:
        return _read(data), next(iter(fds), -1)
    except (ValueError, RecursionError):
        for fd in fds:
            os.close(fd)
        raise


def peek(sender: socket.socket) -> Message | bytes:
    """Return the next message, which stays, without its descriptor. Raises as `receive`."""
    return _read(sender.recv(MESSAGE_BYTES, socket.MSG_PEEK))


def _read(data: bytes) -> Message | bytes:
    return json.loads(data) if data[:1] == b"{" else data


def functions() -> dict[str, int]:
    """Return the addresses of the fast path's functions in this process."""
    names = (name for name in dir(lib) if callable(getattr(lib, name)))
    return {name: int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in names}
