# SPDX-License-Identifier: Apache-2.0
"""`memif:/run/m.sock` - shared-memory packet queues with VPP, DPDK, libmemif or uspnet.

A client with zero copy (the default) exports the job's pool itself: what it sends is never copied
on its side. A server always copies once, in or out of the client's memory.
"""

from __future__ import annotations

import errno
import os
import time

from uspnet.errors import (
    DeviceTimeout,
    NoMemory,
    NotPermitted,
    NotSupported,
    PeerFault,
    Usage,
    UspnetError,
)
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import new
from uspnet.pool import Pool
from uspnet.port import Direction, Port, Queue
from uspnet.ports.memif import refusals, rings
from uspnet.ports.memif.access import password
from uspnet.ports.memif.client import ClientMemory, ClientSession
from uspnet.ports.memif.listener import Listener, detach, listen
from uspnet.ports.memif.options import SECRET_BYTES, MemifOptions, address_of
from uspnet.ports.memif.protocol import OUR_NAME, Disconnect, Type
from uspnet.ports.memif.server import ServerSession
from uspnet.spec import Spec
from uspnet.system.listening import printable
from uspnet.system.privileges import NONE, Capabilities, to_reach

RETRY_S = 0.05  # between a client's attempts to connect
LINGER_S = 0.2  # how long packets of a peer that left may wait for our worker
BLOCKED_S = 0.5  # longer than any eventfd takes a write
CLIENT_WAIT_S = 2.0
NO_FDS = {errno.EMFILE, errno.ENFILE}


class Memif(Port, scheme="memif"):
    """Both roles of memif 2.0."""

    help = "VPP, DPDK, libmemif, uspnet, by shared memory"
    calls = frozenset({"write", "preadv2"})  # wake, be woken
    about = """
    What is shared: a client with zero copy (the default) lets its server read and write every
    packet buffer of the job at any time, also while it holds a packet of another port, and nothing
    else. With zero-copy=off, the server sees the packets of this port alone, and each is copied. A
    server shares nothing of its own: it works in the client's memory.

    What was sent: a client counts packets that its server never took as dropped (peer_left). A
    server can't: a client reports the ring slots that it posts again, in batches, and not those
    that it has read. So a server counts as sent what it put into slots that the client posted.

    Who may connect: to a path, users permitted by the folder's and the socket's mode (0660: user
    and group); to an abstract name (@name), every local user. allow= names the users that may, at
    either end: a client then refuses the server of another user, which may have taken the name
    first. A secret on the command line can be seen in the list of processes until uspnet has
    started; secret-file= can't.
    """
    options = MemifOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        options = self.options
        self.address = address_of(spec, options)
        if options.ring & (options.ring - 1):
            raise Usage(f"{spec}: ring={options.ring} is not a power of two", "try ring=1024")
        self.server = options.role == "server"
        self.identity, self.allow = options.id, options.allow
        self.secret = password(self.name, options.secret_file, options.secret, SECRET_BYTES)
        self.pairs = self.queues = options.queues
        self.frame, self.reconnect = options.frame, options.reconnect
        self.zero_copy = options.zero_copy and not self.server
        self.connects = not self.server
        self.session: ClientSession | ServerSession | None = None
        self.running = self.linked = self.ever_linked = False
        self.owned = Owned()
        self.listener: Listener | None = None
        self.lost: c.Pointer[int] | None = None  # nonzero: the peer took packet memory away
        self.attempt_at = self.give_up_at = self.linger_until = self.look_at = 0.0
        self.farewell = Disconnect("")
        self.refused: Disconnect | None = None  # why the last attempt failed, if it may pass
        self.bells: list[int] = []
        self.counted: list[Queue] = []  # on this connection, those whose counters are final

    def send_limit(self, tags: list[int]) -> tuple[int, str]:
        """Return what `frame` says."""
        return self.options.frame, "set frame="

    # -- life ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Bind the address, as a server. A client connects from `start` on."""
        lib.guard_install()
        if self.server:
            self.listener = listen(self.address, self)

    def held(self) -> dict[str, int]:
        """Return what the listener holds; a client connects anew."""
        return self.listener.held() if self.listener else {}

    @property
    def keeps(self) -> Capabilities:
        """Return what it takes to remove a server's path from another user's folder, or to connect
        to another user's server, which may appear later.
        """
        if self.address.startswith("\0"):
            return NONE
        return to_reach(
            os.path.dirname(self.address) or "." if self.server else self.address, os.W_OK
        )

    def attach(self, pool: Pool) -> None:
        """Register the pool, which the peer is given with zero copy."""
        super().attach(pool)
        if self.zero_copy:
            self.lost = pool.memory.guard()

    def holds(self, direction: Direction) -> int:
        """Return the ring's size with zero copy, where each slot holds a buffer."""
        return self.options.ring if self.zero_copy else 0

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make a queue without a ring; `_link` adds the ring."""
        m = new("struct memif_queue *")
        kind = "zero" if self.zero_copy else "copy"
        m.q.burst = ffi.addressof(lib, f"memif_{kind}_{direction}")
        m.q.arm = ffi.addressof(lib, f"memif_{kind}_arm") if direction == "rx" else ffi.NULL
        m.q.closed, m.q.wake_fd, m.bell_fd = 1, -1, -1
        if self.zero_copy:
            m.out = self.owned.keep(new("uint32_t[]", self.options.ring))
        return m

    def descriptors(self) -> list[int]:
        """Return the eventfds of the connection."""
        return self.session.eventfds() if self.session else []

    def start(self) -> None:
        """Accept a peer from now on, or connect to one. Limits how long to wait for the first."""
        wait = self.options.wait
        if wait is None:
            wait = float("inf") if self.server else CLIENT_WAIT_S
        self.give_up_at = time.monotonic() + wait
        self.running = True

    def stop(self) -> None:
        """Disconnect from the peer and release its rings."""
        self.running = False
        self._unlink("")

    def close(self) -> None:
        """Disconnect and close the listener."""
        self._unlink("")
        if self.listener:
            detach(self.listener, self)
            self.listener = None

    def up(self) -> bool:
        """Return whether a peer is connected."""
        return self.linked

    def why_down(self) -> str:
        """Return which peer is missing."""
        return f"no {'client' if self.server else 'server'} on {printable(self.address)} yet"

    def refusal(self) -> PeerFault | None:
        """Return why the peer has refused the connection so far."""
        return refusals.fault(self.name, self.refused) if self.refused else None

    def revive(self) -> list[int]:
        """Go on from the positions that we published, and with the buffers in their slots."""
        rings_of = (rings.revive(queue, zero_copy=self.zero_copy) for queue in self.made)
        return [index for held in rings_of for index in held]

    def pending(self) -> int:
        """Return the filled slots that the peer has not drained, as far as can be known."""
        if not self.linked or self.linger_until:
            return 0
        return sum(rings.untaken(queue) for queue in self.made if queue.direction == "tx")

    def finish(self) -> None:
        """Count what the server has not taken as dropped. Of a client that can't be known."""
        if not self.server:
            self._count_untaken()

    def _count_untaken(self) -> None:
        for queue in self.made:
            if queue.direction == "tx" and queue not in self.counted:
                self.counted.append(queue)
                rings.take_back(queue)

    # -- control ---------------------------------------------------------------------------------

    def control_fds(self) -> list[int]:
        """Return the connection's descriptor, and the listener's for its first port."""
        fds = [self.session.channel.fileno()] if self.session and not self.linger_until else []
        if self.listener and next(iter(self.listener.ports.values())) is self:
            fds += self.listener.fds()
        return fds

    def control(self) -> None:
        """Advance the connection: handshake, disconnect, reconnect. Raises if it can't go on."""
        if not self.running:
            return
        if self.lost and self.lost[0]:  # and with it, every port's packets
            raise PeerFault(f"{self.name}: the peer took pages out of the packet memory")
        if self.linger_until:
            self._linger()
        try:
            if self.listener:
                self.listener.handle()
            elif not self.session:
                self._connect()
            if self.session and not self.linger_until:
                self._advance()
        except Disconnect as error:
            self._lost(error)
        if not self.ever_linked and time.monotonic() > self.give_up_at:
            late = DeviceTimeout(
                f"{self.name}: {self.why_down()}",
                refusals.absent_hint(self.spec.target, server=self.server),
            )
            raise self.refusal() or late

    def _advance(self) -> None:
        session = self.session
        if isinstance(session, ClientSession):
            session.handle()
        elif session and self.listener:
            with self.listener.lock:
                session.handle(self.listener.ports)
        if session and session.up and not self.linked:
            self._link()
        if error := self.fault():
            raise Disconnect(error.message.removeprefix(f"{self.name}: "), ours=True)

    def fault(self) -> UspnetError | None:
        """Return what the peer did wrong to its rings or memory; None if nothing."""
        if isinstance(self.session, ServerSession) and self.session.fault[0]:
            return PeerFault(f"{self.name}: the peer truncated its shared memory")
        if isinstance(self.session, ClientSession) and self.session.lost():
            return PeerFault(f"{self.name}: the peer took pages out of the shared memory")
        if self._blocked():
            return PeerFault(f"{self.name}: the peer's eventfd blocks")
        return super().fault()

    def _blocked(self) -> bool:
        """Return whether a worker was blocked in one eventfd write since the last check."""
        now, before = time.monotonic(), self.bells
        if now < self.look_at:
            return False
        self.look_at = now + BLOCKED_S
        self.bells = [rings.memif(q).ringing and q.counters.doorbells for q in self.made]
        return any(new and new == old for new, old in zip(self.bells, before, strict=False))

    def _connect(self) -> None:
        now = time.monotonic()
        if now < self.attempt_at:
            return
        self.attempt_at = now + RETRY_S
        try:
            self.session = ClientSession(self.address, self.identity, self.secret, self._memory)
        except PermissionError:
            raise NotPermitted(
                f"{self.name}: may not connect", "run as the server's user, or in its group"
            ) from None
        except OSError as error:  # mostly, nobody listens yet
            if error.errno in NO_FDS:
                raise NoMemory(f"{self.name}: {error.strerror}", "see: ulimit -n") from None
            if error.errno == errno.EPROTOTYPE or os.path.isfile(self.address):
                hint = f"a server makes one: uspnet capture memif:{self.spec.target},role=server"
                raise NotSupported(f"{self.name}: that is no memif socket", hint) from None
            return
        if self.allow is not None and self.session.user not in self.allow:
            raise PeerFault(
                f"{self.name}: the server's user is {self.session.user}, whom allow= does not name",
                "see who it is: ss -xlp; name a user that you trust with allow=",
            )

    def _memory(self, max_pairs: int, max_log2: int) -> ClientMemory:
        log2 = min(self.options.ring.bit_length() - 1, max_log2)
        if not log2:
            raise Disconnect("Invalid ring size", ours=True)
        pool = self.pool if self.zero_copy else None
        return ClientMemory(min(self.pairs, max_pairs), log2, self.options.buffer, pool)

    def _lost(self, error: Disconnect) -> None:
        """Handle the end of the connection. After a peer's own, its last packets are still read."""
        if self.linked and not error.ours:
            for queue in self.made:
                queue.c.q.closed = int(queue.direction == "tx" or queue.c.q.closed)
            self.linger_until, self.farewell = time.monotonic() + LINGER_S, error
        else:
            self._unlink(error.message if error.ours else "")
            self._go_on(error)

    def _go_on(self, error: Disconnect) -> None:
        """Wait for the next peer if the options say so. Raises PeerFault if not."""
        if self.ever_linked and self.reconnect:
            return
        early = not self.ever_linked and time.monotonic() < self.give_up_at
        if early and refusals.find(error.message).passes:
            self.attempt_at, self.refused = time.monotonic() + RETRY_S, error
            return
        if self.ever_linked or not self.server:
            raise refusals.fault(self.name, error)

    def _linger(self) -> None:
        made = (queue for queue in self.made if queue.direction == "rx")
        left = any(rings.waiting(queue, self.session, self.zero_copy) for queue in made)
        if not left or time.monotonic() > self.linger_until:
            self._unlink("")
            self._go_on(self.farewell)

    # -- rings -----------------------------------------------------------------------------------

    def _link(self) -> None:
        """Attach the session's rings to the queues, and open them."""
        session = self.session
        self.linked = self.ever_linked = True
        with self.quiesce():
            for queue in self.made:
                if isinstance(session, ServerSession):
                    rings.place_server(queue, session)
                elif session and session.memory:
                    rings.place_client(queue, session.memory)
        if isinstance(session, ServerSession):
            session.channel.send(Type.CONNECTED, OUR_NAME)

    def _unlink(self, reason: str) -> None:
        """Close the queues, take their buffers back, and end the session."""
        self.linger_until = 0.0
        if self.linked:
            with self.quiesce():
                if not self.server:
                    self._count_untaken()
                for queue in self.made:
                    rings.strip(queue, zero_copy=self.zero_copy)
            self.linked, self.counted = False, []
        session, self.session = self.session, None
        if session:
            session.close(reason)
