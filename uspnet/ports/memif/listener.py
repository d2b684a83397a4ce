# SPDX-License-Identifier: Apache-2.0
"""Listening sockets of memif servers: a path or an abstract name, for one port or several."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter

from uspnet.errors import Busy
from uspnet.ports.memif import closing
from uspnet.ports.memif.access import peer_user
from uspnet.ports.memif.protocol import Channel, Disconnect
from uspnet.ports.memif.server import Interface, ServerSession
from uspnet.system.listening import Listening

# Connections that have not yet named an interface: of all users, and of one user. Beyond that, the
# oldest is closed.
PENDING_MAX, PENDING_OF_ONE = 64, 16
ACCEPTS_MAX = 8  # a call
RETRY_S = 0.5  # seconds to the next accept when descriptors have run out
CLOSE_S = 0.5  # seconds to wait for the socket's last close, which frees the address
MODE = 0o660  # user and group may connect
PLACE = "another folder, or an abstract socket: memif:@name"


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
        self.place = Listening(address, MODE, PLACE, "use role=client to join it")
        self.sock = self.place.socket

    def held(self) -> dict[str, int]:
        """Return the descriptors with which another version goes on listening."""
        return self.place.held()

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
        self.place.remove()


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
            listener.place.leave()
        try:
            listener.close()
        except OSError as error:  # the run itself has not failed
            port.notice(f"{port.name}: the socket stays: {error.strerror}")
