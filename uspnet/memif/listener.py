# SPDX-License-Identifier: Apache-2.0
"""Where a server waits for clients: a path, or an abstract name, for one port or several."""

from __future__ import annotations

import os
import socket
import stat

from uspnet.errors import Busy, NoDevice, NotPermitted
from uspnet.folders import alone
from uspnet.memif.protocol import Channel, Disconnect
from uspnet.memif.server import Interface, ServerSession

STRANGERS_MAX = 16  # connections that have not said which interface they want


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
                session.handle(self.ports)
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
