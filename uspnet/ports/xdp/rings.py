# SPDX-License-Identifier: Apache-2.0
"""The rings of an `xdp:` port's queues, as C has them (fastpath/rings/xdp.h)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from uspnet.fastpath import c, ffi, lib
from uspnet.kernel import netdev, xsk
from uspnet.memory import new
from uspnet.pool import BUFFER_STEP, Pool
from uspnet.port import Direction, Queue


def ring_of(queue: Queue) -> c.XdpQueue:
    """Return the C struct of a queue of such a port."""
    return ffi.cast("struct xdp_queue *", queue.c)


def buffer_step(ifindex: int, mode: str) -> int:
    """Return the bytes of which buffers have a multiple. For zero copy, igb and ixgbe take the room
    in a chunk for whole KiB: of 1,792 bytes they use 1,024, and cut what is longer.
    """
    offers = netdev.features(ifindex).values()
    known = not offers or any(each.zero_copy for each in offers)  # Linux tells since 6.3
    possible = known and mode == "auto"
    return max(xsk.CHUNKS) if possible or mode == "zero-copy" else BUFFER_STEP


def make_ring(sock: xsk.XdpSocket, pool: Pool, direction: Direction, slots: int) -> c.XdpQueue:
    """Make the rings of one direction on a socket. Raises OSError."""
    queue = new("struct xdp_queue *", {"fd": sock.fileno(), "size": slots})
    sock.register(pool)
    sock.fill_in(queue.frames, direction, slots)
    sock.fill_in(queue.buffers, "fill" if direction == "rx" else "completion", slots)
    for kind in ("fill", "completion"):  # bind wants both
        sock.ring(kind, slots)
    if direction == "tx":
        sock.send_at_once(lib.BURST_MAX)
    chunk = xsk.chunk_bytes(pool.size)
    queue.chunk_shift, queue.n_chunks = chunk.bit_length() - 1, pool.size // chunk
    queue.n_owners = pool.count
    queue.owners = pool.owned.keep(new("uint32_t[]", pool.count))
    queue.q.burst = ffi.addressof(lib, f"xdp_{direction}")
    queue.q.wake_fd = sock.fileno()
    return queue


def unsent(queue: Queue) -> tuple[int, int]:
    """Return the frames and bytes in a transmit ring."""
    octets = ffi.new("uint64_t *")
    frames = lib.xdp_pending(ring_of(queue), octets)
    return int(frames), int(octets[0])


def revived(made: Sequence[Queue], lent: Iterable[c.XdpQueue]) -> list[int]:
    """Make rings and owners of queues agree; return the buffers that the kernel has, also in the
    fill rings `lent`.
    """
    held: list[int] = []
    for queue in made:
        lib.xdp_revive(ring_of(queue), queue.direction == "rx")
    for ring in [*map(ring_of, made), *lent]:
        owners = memoryview(ffi.buffer(ring.owners, 4 * ring.n_owners)).cast("I")
        held += [index for index, owner in enumerate(owners) if owner]
    return held
