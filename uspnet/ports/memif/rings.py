# SPDX-License-Identifier: Apache-2.0
"""Rings in shared memory, put behind a port's queues and taken away again.

No worker may touch the queues meanwhile.
"""

from __future__ import annotations

from uspnet.fastpath import c, ffi, lib
from uspnet.port import Queue
from uspnet.ports.memif.client import ClientMemory, ClientSession
from uspnet.ports.memif.server import ServerSession


def memif(queue: Queue) -> c.MemifQueue:
    """Return the C struct of a memif queue."""
    return ffi.cast("struct memif_queue *", queue.c)


def place_server(queue: Queue, session: ServerSession) -> None:
    """Attach the client's ring to a server's queue, and open it."""
    place = session.rings.get((queue.direction == "rx", queue.index))
    if not place:
        return  # the client has fewer queues: this one stays closed
    m, size = memif(queue), 1 << place.log2_size
    ring = session.ring(place)
    m.ours, m.theirs = ffi.addressof(ring, "tail"), ffi.addressof(ring, "head")
    m.our_lead, m.their_lead = 0, size if queue.direction == "tx" else 0
    _place(queue, ring, size, place.fd)
    m.regions, m.n_regions = session.c_regions, len(session.regions)
    m.q.closed = 0


def place_client(queue: Queue, memory: ClientMemory) -> None:
    """Attach our own ring to a client's queue, lend it buffers, and open it."""
    if queue.index >= memory.pairs:
        return
    m, sends, size = memif(queue), queue.direction == "tx", 1 << memory.log2_size
    ring = memory.ring(sends, queue.index)
    m.ours, m.theirs = ffi.addressof(ring, "head"), ffi.addressof(ring, "tail")
    m.our_lead, m.their_lead = 0 if sends or memory.pool else size, 0
    _place(queue, ring, size, memory.fds[memory.number(sends, queue.index)])
    m.regions, m.n_regions, m.pool_region = memory.regions, 1, 1
    if not memory.pool:
        m.buffers, m.buffer_size = memory.buffers(sends, queue.index), memory.buffer_size
        if not sends:
            lib.memif_copy_lend(m)
    m.q.closed = 0


def _place(queue: Queue, ring: c.MemifRing, size: int, fd: int) -> None:
    """Fill in what both roles share."""
    m, sends = memif(queue), queue.direction == "tx"
    m.ring, m.size, m.next, m.clean, m.counted = ring, size, 0, 0, 0
    m.taken.at = lib.TAKEN_NONE
    m.q.wake_fd, m.bell_fd = (-1, fd) if sends else (fd, -1)
    m.q.fault = lib.FAULT_NONE
    if not sends:
        ring.flags = lib.MEMIF_MASK_INT  # we poll, until a worker goes to sleep


def untaken(queue: Queue) -> int:
    """Return the slots that we filled and the peer has not drained, as far as can be known."""
    return int(lib.memif_untaken(memif(queue)))


def waiting(queue: Queue, session: ServerSession | ClientSession | None, zero_copy: bool) -> bool:
    """Return whether the peer has sent something that we have not drained. Workers may run: the
    pointers of the ring, which they could overwrite, are not used.
    """
    m = memif(queue)
    if m.q.closed or not session:
        return False
    if isinstance(session, ServerSession):
        place = session.rings.get((True, queue.index))
        theirs = session.ring(place).head if place else m.next
    else:
        theirs = session.memory.ring(False, queue.index).tail if session.memory else m.next
    ours = m.clean if zero_copy else m.next
    return bool((theirs - ours) & 0xFFFF)


def take_back(queue: Queue) -> None:
    """Count what the peer never took of a transmit ring as dropped, no longer as sent. Once for
    each ring.
    """
    lib.memif_take_back(memif(queue))


def revive(queue: Queue, *, zero_copy: bool) -> list[int]:
    """Make a ring whole again after its worker's process has ended; return the pool buffers in its
    slots, by `out`, which the peer can't write. A ring that can't be made whole gets a fault, with
    which the port disconnects.
    """
    m = memif(queue)
    if m.ring == ffi.NULL:
        return []
    kind = "zero" if zero_copy else "copy"
    failed = getattr(lib, f"memif_{kind}_revive_{queue.direction}")(m)
    if not zero_copy:
        return []
    held = []
    if not failed:
        used = (m.next - m.clean) & 0xFFFF
        held = [int(m.out[(m.clean + i) % m.size]) for i in range(used)]
    if len(set(held)) < len(held) or any(index >= queue.port.pool.count for index in held):
        m.q.fault, held = lib.FAULT_RING, []
    if not held:
        m.clean = m.next  # it is stripped later, and has nothing to give back then
    return held


def strip(queue: Queue, *, zero_copy: bool) -> None:
    """Detach the ring, and take lent buffers back."""
    m = memif(queue)
    if zero_copy:
        lib.memif_zero_reset(m)
    m.q.closed, m.q.wake_fd, m.bell_fd = 1, -1, -1
    m.q.fault = lib.FAULT_NONE
    m.ring = m.ours = m.theirs = ffi.NULL
    m.buffers = m.regions = ffi.NULL
    m.n_regions = 0
