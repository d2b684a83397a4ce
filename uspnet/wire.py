# SPDX-License-Identifier: Apache-2.0
"""Cables between emulated NICs: a wire has two ends, and every frame on it is one datagram.

Each end is a Unix datagram socket bound to its own name and connected to the other's, as soon as
that exists. QEMU inherits the socket and only sends and receives; connecting is done here, on
our copy of the descriptor. A named wire uses abstract names, which vanish with their owners; a
wire that is a path uses the files PATH.a and PATH.b, so that any program can hold an end.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from uspnet.errors import Busy, NoDevice, NotPermitted

ROOM = 4 << 20  # bytes that may be on their way; the kernel grants up to net.core.wmem_max


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    return made


class Loop:
    """A plug that returns everything: a socket connected to itself."""

    def __init__(self) -> None:
        self.socket = _socket()
        self.socket.bind("")  # the kernel chooses a name
        self.socket.connect(self.socket.getsockname())

    def joined(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Unplugs it."""
        self.socket.close()


class WireEnd:
    """The first free end of the wire `name`. Raises Busy when both are taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path(name) if "/" in name else None
        self.socket = _socket()
        ends = [f"{name}.a", f"{name}.b"]
        if not self.path:
            ends = [f"\0uspnet-wire-{os.getuid()}-{end}" for end in ends]
        try:
            for mine, far in (ends, ends[::-1]):
                if self._bind(mine):
                    self.mine, self.far = mine, far
                    return
        except BaseException:
            self.socket.close()
            raise
        self.socket.close()
        raise Busy(f"wire {name}: both ends are taken", "choose another name for the wire")

    def _bind(self, address: str) -> bool:
        """Takes one end, also when a program that was killed left its file behind."""
        if self.path and os.path.exists(address) and not _alive(address):
            os.unlink(address)
        try:
            self.socket.bind(address)
        except FileNotFoundError:
            raise NoDevice(f"wire {self.name}: no such folder", "create it first") from None
        except PermissionError:
            raise NotPermitted(f"wire {self.name}: not writable", "choose another path") from None
        except OSError:
            return False
        return True

    def joined(self) -> bool:
        """Is there somebody at the far end? Connects to it, also to a new one."""
        try:
            self.socket.connect(self.far)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Lets the end go, and its file."""
        self.socket.close()
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.mine)


def _alive(address: str) -> bool:
    """Does a program hold the socket file?"""
    with _socket() as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # connected to its own far end, and to nobody else: EPERM
    return True
