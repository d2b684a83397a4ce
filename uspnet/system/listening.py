# SPDX-License-Identifier: Apache-2.0
"""Listening sockets at a path that a user has chosen, or at an abstract address.

The path gets its mode whatever the umask is, replaces one that nobody listens on any more, and is
removed at the end as long as it is still ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from uspnet.errors import Busy, NoDevice, NotPermitted, Refused, UspnetError
from uspnet.system import kept
from uspnet.system.folders import folder_lock

BACKLOG = 128


def printable(address: str) -> str:
    """Return an address as users type it."""
    return address.replace("\0", "@")


class Listening:
    """Such a socket, of packets, which doesn't block. `place`: which others there are, and `join`:
    what to do where another program listens, for hints. `ours`: nothing that another user has left
    is replaced. Raises Busy, NoDevice, NotPermitted, Refused.
    """

    def __init__(
        self, address: str, mode: int, place: str, join: str, *, ours: bool = False
    ) -> None:
        self.address, self._mode, self._place = address, mode, place
        self._inode: tuple[int, int] | None = None
        held, self._folder = (kept.take(f"{address} {name}") for name in ("listener", "folder"))
        # `_folder`, of a path: another user may put another one in its place
        if held >= 0:
            self.socket = socket.socket(fileno=held)
            self.socket.setblocking(False)
            self._find()
            return
        self.socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            with folder_lock(address):
                self._make_room(join, ours=ours)
                self._bind()
                self.socket.listen(BACKLOG)
        except BaseException:
            self.remove()
            self.socket.close()
            raise

    def _make_room(self, join: str, *, ours: bool) -> None:
        """Open the folder, and remove what was left there."""
        if self.address.startswith("\0"):
            return
        with contextlib.suppress(OSError):  # bind says what is wrong with it
            folder = os.path.dirname(self.address) or "."
            self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._folder >= 0:
            remove_stale(self.address, self._folder, join, ours=ours)
        os.fchmod(self.socket.fileno(), self._mode)  # the path gets it too, less the umask's bits

    def _bind(self) -> None:
        try:
            self.socket.bind(self.address)
        except FileNotFoundError:
            folder = os.path.dirname(self.address)
            raise NoDevice(f"{folder}: no such folder", f"mkdir -p {folder}") from None
        except PermissionError:
            text = f"{self.address}: may not be made by this user"
            raise NotPermitted(text, f"use {self._place}") from None
        except OSError as error:
            text = f"{printable(self.address)}: {error.strerror or error}"
            if error.errno == errno.EADDRINUSE:
                raise Busy(text, "another program listens there") from None
            raise UspnetError(text, f"use {self._place}") from None
        if not self.address.startswith("\0"):
            self._own()

    def _own(self) -> None:
        """Set the mode of the new path regardless of the umask, and remember its inode."""
        name, flags = os.path.basename(self.address), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        path = os.open(name, flags, dir_fd=self._folder)
        try:
            status = os.fstat(path)
            if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
                raise Busy(f"{self.address} was replaced by another user", "use a folder of yours")
            os.chmod(f"/proc/self/fd/{path}", self._mode)
            self._inode = (status.st_dev, status.st_ino)
        finally:
            os.close(path)

    def _find(self) -> None:
        """Remember the inode of the path of a socket that the version before has made."""
        with contextlib.suppress(OSError):  # it was removed
            if self._folder >= 0:
                name = os.path.basename(self.address)
                status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid():
                    self._inode = (status.st_dev, status.st_ino)

    def held(self) -> dict[str, int]:
        """Return the descriptors with which another version goes on listening."""
        held = {"listener": self.socket.fileno(), "folder": self._folder}
        return {f"{self.address} {name}": fd for name, fd in held.items() if fd >= 0}

    def leave(self) -> None:
        """Have the path stay: it is the next version's."""
        self._inode = None

    def remove(self) -> None:
        """Remove the path if it is still ours; the socket is closed afterwards. Raises OSError if
        that may not be done.
        """
        folder, self._folder = self._folder, -1
        inode, self._inode = self._inode, None
        name = os.path.basename(self.address)
        try:
            if inode:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if (status.st_dev, status.st_ino) == inode:
                    os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        finally:
            if folder >= 0:
                os.close(folder)


def remove_stale(
    path: str, folder: int, join: str = "choose another path", *, ours: bool = False
) -> None:
    """Remove a socket on which no process listens any more, from its open folder. Raises Busy if
    one does; Refused, with `ours`, if it is another user's.
    """
    name = os.path.basename(path) or "."
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise Busy(f"{path} is there and is not a socket", "choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if ours and status.st_uid != os.geteuid():
                text = f"{path} is a socket of user {status.st_uid}, on which nobody listens"
                raise Refused(text, f"choose another path, or remove it: rm {path}") from None
            os.unlink(name, dir_fd=folder)
            return
        except PermissionError:
            raise NotPermitted(f"{path}: permission denied", "choose another path") from None
        except OSError:
            pass  # its queue of clients is full, or it is another kind of socket
    raise Busy(f"{path}: another program listens there", join)
