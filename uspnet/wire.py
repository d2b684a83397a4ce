# SPDX-License-Identifier: Apache-2.0
"""Cables between emulated NICs: a wire has two ends, and every frame on it is one datagram.

Each end is a Unix datagram socket bound to its own name. QEMU inherits the socket and only sends
and receives; whom it is connected to is decided here, on our copy of the descriptor. An end that
is not ready to receive is connected to a stopper, so that nobody else can send to it or connect
to it; two ends that are ready connect to each other. So neither loses frames to a NIC that is
still asleep.

A named wire uses abstract names, which vanish with their owners; a wire that is a path uses the
files PATH.a and PATH.b, so that any program can hold an end. It must not send an empty datagram:
QEMU takes that for the end, and never listens again (net/dgram.c).

A cable can also lead into the kernel: its far end is a TAP interface then.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from uspnet.errors import Busy, NoDevice, NotPermitted
from uspnet.fastpath import lib
from uspnet.interface import Interface
from uspnet.tun import open_queues

ROOM = 4 << 20  # bytes that may be on their way; the kernel grants up to net.core.wmem_max


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    return made


class End:
    """What a NIC's cable leads to: a descriptor for each queue that it has at the far end."""

    fds: list[int]

    @property
    def netdev(self) -> str:
        """QEMU's `-netdev` for it, without the id."""
        return f"dgram,local.type=fd,local.str={self.fds[0]}"

    def present(self) -> bool:
        """Does anybody hold the far end, ready or not?"""
        return True

    def join(self) -> bool:
        """Lets the far end in. True when it is ready too."""
        return True

    def part(self) -> None:
        """Keeps the far end out."""

    def close(self) -> None:
        """Lets the cable go."""


class Tap(End):
    """The kernel's network stack, through the TAP interface `name`, which is brought up with this
    MTU. `owner` is the port that errors name.
    """

    def __init__(self, owner: str, name: str, queues: int, mtu: int) -> None:
        self.fds = open_queues(owner, name, queues)
        self.interface: Interface | None = None
        try:
            self.interface = Interface(name)
            self.interface.set_mtu(mtu)
            self.interface.set_up()
        except BaseException:
            self.close()
            raise

    @property
    def netdev(self) -> str:
        """The kernel computes no checksum and cuts no segment for us: there is no net header."""
        return f"tap,vhost=off,fds={':'.join(map(str, self.fds))}"

    def present(self) -> bool:
        """Is the interface up?"""
        return bool(self.interface and self.interface.is_up())

    def close(self) -> None:
        """Closes the descriptors; the kernel removes an interface that it made for us."""
        while self.fds:
            os.close(self.fds.pop())
        if self.interface:
            self.interface.close()
            self.interface = None


class Loop(End):
    """A plug that returns everything: a socket connected to itself."""

    def __init__(self) -> None:
        self.socket = _socket()
        self.socket.bind("")  # the kernel chooses a name
        self.socket.connect(self.socket.getsockname())
        self.fds = [self.socket.fileno()]

    def close(self) -> None:
        """Unplugs it."""
        self.socket.close()


class WireEnd(End):
    """The first free end of the wire `name`. Raises Busy when both are taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path(name) if "/" in name else None
        self.mine = ""
        self._ready = False
        self.socket, self._stopper = _socket(), _socket()
        self.fds = [self.socket.fileno()]
        self._stopper.bind("")  # the kernel chooses a name
        ends = [f"{name}.a", f"{name}.b"]
        if not self.path:
            ends = [f"\0uspnet-wire-{os.getuid()}-{end}" for end in ends]
        try:
            self.part()
            self.mine = next((end for end in ends if self._bind(end)), "")
            if not self.mine:
                raise Busy(f"wire {name}: both ends are taken", "choose another name for the wire")
        except BaseException:
            self.close()
            raise
        self.far = ends[1 - ends.index(self.mine)]

    def _bind(self, address: str) -> bool:
        """Takes one end, also when a program that was killed left its file behind."""
        if self.path and os.path.lexists(address) and not _held(address):
            if not Path(address).is_socket():
                raise Busy(f"{address} is there and is not a socket", "choose another path")
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

    def present(self) -> bool:
        """Does anybody hold the far end, ready or not?"""
        return _held(self.far)

    def join(self) -> bool:
        """Lets the far end in, and connects to it. True when it is ready too."""
        if not self._ready:
            lib.wire_release(self.socket.fileno())
            self._ready = True
        try:
            self.socket.connect(self.far)
        except OSError:
            return False
        return True

    def part(self) -> None:
        """Keeps the far end out."""
        self.socket.connect(self._stopper.getsockname())
        self._ready = False

    def close(self) -> None:
        """Lets the end go, and its file."""
        self.socket.close()
        self._stopper.close()
        if self.path and self.mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.mine)


def _held(address: str) -> bool:
    """Does a program hold a socket of this name?"""
    with _socket() as probe:
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # it is connected to somebody else: EPERM
    return True
