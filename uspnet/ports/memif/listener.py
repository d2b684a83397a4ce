# SPDX-License-Identifier: Apache-2.0
"""Listening sockets of memif servers: a path or an abstract name, for one port or several."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading
import time
from collections import Counter

from uspnet.errors import Busy, NoDevice, NotPermitted, UspnetError
from uspnet.ports.memif import closing
from uspnet.ports.memif.access import peer_user
from uspnet.ports.memif.protocol import Channel, Disconnect
from uspnet.ports.memif.server import Interface, ServerSession
from uspnet.system import kept
from uspnet.system.folders import folder_lock

# Connections that have not yet named an interface: of all users, and of one user. Beyond that, the
# oldest is closed.
PENDING_MAX, PENDING_OF_ONE = 64, 16
ACCEPTS_MAX = 8  # a call
RETRY_S = 0.5  # seconds to the next accept when descriptors have run out
BACKLOG = 128
CLOSE_S = 0.5  # seconds to wait for the socket's last close, which frees the address
MODE = 0o660  # user and group may connect


class Listener:
    """A listening socket, shared by the ports of one process that use the same address. Their jobs
    may run in several threads: `lock` is held while a connection's messages are handled.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.ports: dict[int, Interface] = {}
        self.lock = threading.RLock()
        self.pending: list[ServerSession] = []
        self.retry_at, self.notified = 0.0, False
        self.inode: tuple[int, int] | None = None
        held, self.folder = (kept.take(f"{address} {name}") for name in ("listener", "folder"))
        # `folder`, of a path: another user may put another one in its place
        if held >= 0:
            self.sock = socket.socket(fileno=held)
            self.sock.setblocking(False)
            self._find()
            return
        self.sock = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
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
        """Set the mode of the new path regardless of the umask, and remember its inode."""
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

    def _find(self) -> None:
        """Remember the inode of the path of a socket that the version before has made."""
        with contextlib.suppress(OSError):  # it was removed
            if self.folder >= 0:
                name = os.path.basename(self.address)
                status = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
                if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid():
                    self.inode = (status.st_dev, status.st_ino)

    def held(self) -> dict[str, int]:
        """Return the descriptors with which another version goes on listening."""
        held = {"listener": self.sock.fileno(), "folder": self.folder}
        return {f"{self.address} {name}": fd for name, fd in held.items() if fd >= 0}

    def accept(self) -> None:
        """Accept up to ACCEPTS_MAX waiting connections, so that a flood of them does not delay the
        others.
        """
        if time.monotonic() < self.retry_at:
            return
        for _ in range(ACCEPTS_MAX):
            try:
                sock, _address = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:  # no descriptor or memory is left
                self._back_off(error)
                return
            self._admit(sock)

    def _back_off(self, error: OSError) -> None:
        """Stop accepting for RETRY_S, and close the oldest pending connection: no descriptor or
        memory is left. Clients wait in the socket's queue.
        """
        self.retry_at = time.monotonic() + RETRY_S
        if self.pending:
            self._dismiss(self.pending[0])
        if not self.notified:
            self.notified = True
            port = next(iter(self.ports.values()))
            port.notice(
                f"{port.name}: can't take clients: {error.strerror}; raise the limit: ulimit -n"
            )

    def _admit(self, sock: socket.socket) -> None:
        """Begin a session with a client, if any port allows its user and there are not too many."""
        ports, channel, user = self.ports.values(), Channel(sock), peer_user(sock)
        if all(port.allow is not None and user not in port.allow for port in ports):
            channel.close("User not allowed")
            return
        try:
            self.pending.append(ServerSession(channel, user, max(port.pairs for port in ports)))
        except Disconnect:
            channel.close()
            return
        own = [other for other in self.pending if other.user == user]
        if len(own) > PENDING_OF_ONE:
            self._dismiss(own[0])
        elif len(self.pending) > PENDING_MAX:
            most = Counter(other.user for other in self.pending).most_common(1)[0][0]
            self._dismiss(next(other for other in self.pending if other.user == most))

    def _dismiss(self, session: ServerSession) -> None:
        self.pending.remove(session)
        session.close("Too many connections")

    def handle(self) -> None:
        """Handle the messages of pending connections, then accept further ones. A connection that
        has named its interface belongs to that port from then on.
        """
        with self.lock:
            for session in list(self.pending):
                try:
                    session.handle(self.ports)
                except Disconnect as error:
                    self.pending.remove(session)
                    session.close(error.message if error.ours else "")
                    continue
                if session.port:
                    self.pending.remove(session)
            self.accept()

    def fds(self) -> list[int]:
        """Return the descriptors that call for `handle` when readable."""
        own = [] if time.monotonic() < self.retry_at else [self.sock.fileno()]
        return [*own, *(session.channel.fileno() for session in self.pending)]

    def close(self) -> None:
        """Stop listening, and remove the path if it is still ours. Raises OSError if it may not be
        removed.
        """
        for session in self.pending:
            session.close()
        # This also closes connections that were not accepted, with the descriptors sent on them.
        closing.let_go(self.sock.detach())
        closing.wait(CLOSE_S)
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
    """Return an address as users type it."""
    return address.replace("\0", "@")


def remove_stale(path: str, folder: int) -> None:
    """Remove a socket on which no process listens any more, from its open folder. Raises Busy if
    one does.
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
            raise NotPermitted(f"{path}: permission denied", "choose another path") from None
        except OSError:
            pass  # its queue of clients is full, or it is another kind of socket
    raise Busy(f"{path}: another program listens there", "use role=client to join it")


LISTENERS: dict[str, Listener] = {}
_LOCK = threading.Lock()  # of LISTENERS, and of each one's ports: jobs may run in several threads


def listen(address: str, port: Interface) -> Listener:
    """Return the process's listener on an address, with `port` attached. Raises Busy for an id that
    is taken.
    """
    with _LOCK:
        listener = LISTENERS.get(address) or Listener(address)
        LISTENERS[address] = listener
        if port.identity in listener.ports:
            taken = listener.ports[port.identity].name
            raise Busy(
                f"{port.name}: id {port.identity} is taken by {taken}", "give it another id="
            )
        with listener.lock:
            listener.ports[port.identity] = port
    return listener


def detach(listener: Listener, port: Interface) -> None:
    """Detach `port` from its listener; the last one closes it."""
    with _LOCK, listener.lock:
        if listener.ports.get(port.identity) is port:
            del listener.ports[port.identity]
        if listener.ports:
            return
        LISTENERS.pop(listener.address, None)
        if port.stays:
            listener.inode = None  # the path is the next version's
        try:
            listener.close()
        except OSError as error:  # the run itself has not failed
            port.notice(f"{port.name}: the socket stays: {error.strerror}")
