# SPDX-License-Identifier: Apache-2.0
"""Where a server waits for clients: a path, or an abstract name, for one port or several."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from collections import Counter

from uspnet.errors import Busy, NoDevice, NotPermitted, UspnetError
from uspnet.ports.memif import closing
from uspnet.ports.memif.access import peer_user
from uspnet.ports.memif.protocol import Channel, Disconnect
from uspnet.ports.memif.server import Interface, ServerSession
from uspnet.system.folders import folder_lock

# Connections that have not said which interface they want: of all users, and of one user. When
# there are more, the oldest has had its time.
STRANGERS_MAX, STRANGERS_OF_ONE = 64, 16
ACCEPTS_MAX = 8  # at once
DEAF_S = 0.5  # without descriptors, clients wait so long before we try again
BACKLOG = 128
LEAVE_S = 0.5  # then the address is free again, whatever else is left to close
MODE = 0o660  # user and group may connect


class Listener:
    """A listening socket, shared by the ports of one process that use the same path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ports: dict[int, Interface] = {}
        self.strangers: list[ServerSession] = []
        self.deaf_until, self.told = 0.0, False
        self.sock = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        self.folder = -1  # of a path: another user may put another one in its place
        self.inode: tuple[int, int] | None = None
        try:
            with folder_lock(address):
                self._bind()
                self.sock.listen(BACKLOG)
        except BaseException:
            self.close()
            raise

    def _bind(self) -> None:
        if not self.address.startswith("\0"):
            with contextlib.suppress(OSError):  # bind says what is wrong with it
                folder = os.path.dirname(self.address) or "."
                self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if self.folder >= 0:
                remove_stale(self.address, self.folder)
            os.fchmod(self.sock.fileno(), MODE)  # the path gets it too, less the umask's bits
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
            text = f"{printable(self.address)}: {error.strerror or error}"
            if error.errno == errno.EADDRINUSE:
                raise Busy(text, "another program listens there") from None
            hint = "use another folder, or an abstract socket: memif:@name"
            raise UspnetError(text, hint) from None
        if not self.address.startswith("\0"):
            self._own()

    def _own(self) -> None:
        """Gives the new path its mode, whatever the umask, and remembers that it is ours."""
        name, flags = os.path.basename(self.address), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        path = os.open(name, flags, dir_fd=self.folder)
        try:
            status = os.fstat(path)
            if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
                raise Busy(f"{self.address} was replaced by another user", "use a folder of yours")
            os.chmod(f"/proc/self/fd/{path}", MODE)
            self.inode = (status.st_dev, status.st_ino)
        finally:
            os.close(path)

    def accept(self) -> None:
        """Greets the clients that wait at the door, a few at a time: a flood must not keep us."""
        if time.monotonic() < self.deaf_until:
            return
        for _ in range(ACCEPTS_MAX):
            try:
                sock, _address = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptor or memory is left
                self._back_off(error)
                return
            self._greet(sock)

    def _back_off(self, error: OSError) -> None:
        """Those who wait go on waiting; asking again at once would not end."""
        self.deaf_until = time.monotonic() + DEAF_S
        if self.strangers:
            self._dismiss(self.strangers[0])
        if not self.told:
            self.told = True
            port = next(iter(self.ports.values()))
            port.notice(
                f"{port.name}: can't take clients: {error.strerror}; raise the limit: ulimit -n"
            )

    def _greet(self, sock: socket.socket) -> None:
        ports, channel, user = self.ports.values(), Channel(sock), peer_user(sock)
        if all(port.allow is not None and user not in port.allow for port in ports):
            channel.close("User not allowed")
            return
        try:
            self.strangers.append(ServerSession(channel, user, max(port.pairs for port in ports)))
        except Disconnect:
            channel.close()
            return
        own = [other for other in self.strangers if other.user == user]
        if len(own) > STRANGERS_OF_ONE:
            self._dismiss(own[0])
        elif len(self.strangers) > STRANGERS_MAX:
            most = Counter(other.user for other in self.strangers).most_common(1)[0][0]
            self._dismiss(next(other for other in self.strangers if other.user == most))

    def _dismiss(self, session: ServerSession) -> None:
        self.strangers.remove(session)
        session.close("Too many connections")

    def handle(self) -> None:
        """Lets strangers introduce themselves; those that did belong to their port from then on."""
        for session in list(self.strangers):
            try:
                session.handle(self.ports)
            except Disconnect as error:
                self.strangers.remove(session)
                session.close(error.message if error.ours else "")
                continue
            if session.port:
                self.strangers.remove(session)
        self.accept()  # last: who came before has had time to answer

    def fds(self) -> list[int]:
        """What calls for `handle`."""
        door = [] if time.monotonic() < self.deaf_until else [self.sock.fileno()]
        return [*door, *(session.channel.fileno() for session in self.strangers)]

    def close(self) -> None:
        """Stops listening; removes the path if it is still ours. Raises OSError when another user
        does not let us.
        """
        for session in self.strangers:
            session.close()
        # With it go those that nobody has accepted, and what they have sent.
        closing.let_go(self.sock.detach())
        closing.wait(LEAVE_S)
        folder, self.folder = self.folder, -1
        try:
            if self.inode:
                self._remove(os.path.basename(self.address), folder)
        except FileNotFoundError:
            pass
        finally:
            if folder >= 0:
                os.close(folder)

    def _remove(self, name: str, folder: int) -> None:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (status.st_dev, status.st_ino) == self.inode:
            os.unlink(name, dir_fd=folder)


def printable(address: str) -> str:
    """An address as people type it."""
    return address.replace("\0", "@")


def remove_stale(path: str, folder: int) -> None:
    """Removes a socket that nobody listens on any more, from its open folder and nowhere else.
    Raises Busy when somebody does.
    """
    name = os.path.basename(path) or "."
    try:
        if not stat.S_ISSOCK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise Busy(f"{path} is there and is not a socket", "choose another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=folder)
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
        LISTENERS.pop(listener.address, None)
        try:
            listener.close()
        except OSError as error:  # of what was done, nothing is lost
            port.notice(f"{port.name}: the socket stays: {error.strerror}")
