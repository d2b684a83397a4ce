# SPDX-License-Identifier: Apache-2.0
"""Cables between emulated NICs: a wire has two ends, and every frame on it is one datagram.

Each end is a Unix datagram socket bound to its own name. QEMU inherits the socket and only sends
and receives; what it is connected to is decided here, on our copy of the descriptor. An end that
is not ready to receive is connected to a stopper, so that no other can send to it or connect
to it; two ends that are ready connect to each other. So neither loses frames to a NIC that has
not started.

A named wire's sockets lie in a folder that only this user may enter; a wire that is a path uses
the files PATH.a and PATH.b, so that any program of the same user can hold an end. It must not send
an empty datagram: QEMU takes that for the end, and never listens again (net/dgram.c).

A cable can also lead into the kernel: its far end is a TAP interface then.
"""

from __future__ import annotations

import contextlib
import os
import socket
from fcntl import ioctl
from pathlib import Path
from termios import TIOCOUTQ

from uspnet.errors import Busy, NoDevice, NotPermitted, Refused, Usage
from uspnet.fastpath import lib
from uspnet.kernel.interface import Interface
from uspnet.kernel.tun import close_queues, open_queues
from uspnet.system.folders import check_folder, folder_lock, own_folder
from uspnet.system.privileges import NONE, Capabilities, to_reach

ADDRESS_MAX = 107  # bytes of a Unix socket's path
ENDS = (".a", ".b")
ROOM = 4 << 20  # bytes that may be on their way; the kernel grants up to net.core.wmem_max


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    return made


def has_unread(fd: int) -> bool:
    """Return whether the other side of a Unix socket has yet to read what was sent into it."""
    return ioctl(fd, TIOCOUTQ, bytes(4)) != bytes(4)


class End:
    """What a NIC's cable leads to: a descriptor for each queue that it has at the far end."""

    fds: list[int]
    keeps: Capabilities = NONE  # what it takes to close it

    @property
    def netdev(self) -> str:
        """Return QEMU's `-netdev` argument, without the id."""
        return f"dgram,local.type=fd,local.str={self.fds[0]}"

    def present(self) -> bool:
        """Return whether a program holds the far end, ready or not."""
        return True

    def join(self) -> bool:
        """Accept frames from the far end. Return whether it is ready too."""
        return True

    def part(self) -> None:
        """Accept no frames from the far end."""

    def sockets(self) -> list[int]:
        """Return the descriptors that frames leave by and that count what is unread."""
        return self.fds

    def close(self) -> None:
        """Release the cable."""


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
        """Return QEMU's `-netdev` argument, without a net header: the kernel offloads nothing."""
        return f"tap,vhost=off,fds={':'.join(map(str, self.fds))}"

    def present(self) -> bool:
        """Return whether the interface is up."""
        return bool(self.interface and self.interface.is_up())

    def sockets(self) -> list[int]:
        """Return none: the kernel takes frames at once."""
        return []

    def close(self) -> None:
        """Close the descriptors; the kernel removes an interface that was made for us."""
        close_queues(self.fds, self.interface)
        self.interface = None


class Loop(End):
    """A plug that returns everything: a socket connected to itself."""

    def __init__(self) -> None:
        self.socket = _socket()
        self.socket.bind("")  # the kernel chooses a name
        self.socket.connect(self.socket.getsockname())
        with contextlib.suppress(BlockingIOError):  # sent by others before it was connected
            while True:
                self.socket.recv(1, socket.MSG_DONTWAIT)
        self.fds = [self.socket.fileno()]

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class WireEnd(End):
    """The first free end of the wire `name`. Raises Busy when both are taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.named = "/" not in name
        self.mine = ""
        self._ready = False
        self.socket, self._stopper = _socket(), _socket()
        self.fds = [self.socket.fileno()]
        os.fchmod(self.socket.fileno(), 0o600)  # the mode that the path will get
        self._stopper.bind("")  # the kernel chooses a name
        try:
            self.part()
            ends = self._claim()
        except BaseException:
            self.close()
            raise
        self.far = ends[1 - ends.index(self.mine)]
        self.keeps = to_reach(os.path.dirname(self.mine), os.W_OK)

    def _claim(self) -> list[str]:
        """Claim a free end. Return the addresses of both. Raises Busy, NoDevice, Usage."""
        while True:
            stem = own_folder() / self.name if self.named else _resolved(Path(self.name))
            ends = [f"{stem}{end}" for end in ENDS]
            if len(os.fsencode(ends[0])) > ADDRESS_MAX:
                raise Usage(f"wire {self.name}: too long a name", "choose a shorter one")
            if not self.named:
                check_folder(stem.parent)
            try:
                with folder_lock(ends[0]):
                    if self.named:
                        _sweep(stem.parent)
                    self.mine = next((end for end in ends if self._bind(end)), "")
            except (FileNotFoundError, NotADirectoryError):
                # The last wire of its folder took that with it.
                if self.named:
                    continue
                raise NoDevice(f"wire {self.name}: no such folder", "create it first") from None
            if not self.mine:
                raise Busy(f"wire {self.name}: both ends are taken", "choose another name for it")
            return ends

    def _bind(self, address: str) -> bool:
        """Bind to one end, also where a killed program left its file. Return False when it is
        taken.
        """
        stale = os.path.lexists(address) and not _held(address)
        if stale and not Path(address).is_socket():
            raise Busy(f"{address} is there and is not a socket", "choose another path")
        try:
            if stale:
                os.unlink(address)
            self.socket.bind(address)
        except PermissionError:
            raise NotPermitted(f"wire {self.name}: not writable", "choose another path") from None
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError:
            return False
        return True

    def present(self) -> bool:
        """Return whether a program holds the far end, ready or not. Raises Refused for one of
        another user.
        """
        if not _held(self.far):
            return False
        with contextlib.suppress(FileNotFoundError):  # it left just now
            if os.lstat(self.far).st_uid != os.geteuid():
                raise Refused(f"{self.far} is another user's", "choose a folder of your own")
        return True

    def join(self) -> bool:
        """Accept frames from the far end, and connect to it. Return whether it is ready too."""
        if not self._ready:
            lib.wire_release(self.socket.fileno())
            self._ready = True
        try:
            self.socket.connect(self.far)
        except OSError:
            return False
        return True

    def part(self) -> None:
        """Accept no frames from the far end."""
        self.socket.connect(self._stopper.getsockname())
        self._ready = False

    def close(self) -> None:
        """Release the end and its file, and our folder with the last one in it."""
        if self.mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.mine)
            if self.named:
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(self.mine))
        self.socket.close()
        self._stopper.close()


def _resolved(path: Path) -> Path:
    """Return the path without symbolic links in its folders: other users could change theirs after
    the check.
    """
    whole = path.parent.resolve()
    return path if whole == path.parent.absolute() else whole / path.name


def _sweep(folder: Path) -> None:
    """Remove the sockets that killed programs left in a folder of ours."""
    for path in folder.iterdir():
        if path.suffix in ENDS and path.is_socket() and not _held(str(path)):
            path.unlink(missing_ok=True)


def _held(address: str) -> bool:
    """Return whether a program holds a socket of this name."""
    with _socket() as probe:
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # it is connected to another socket: EPERM
    return True
