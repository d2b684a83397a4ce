# SPDX-License-Identifier: Apache-2.0
"""One memif queue of ours on plain memory, with the test as its peer on the same memory.

All memory comes from malloc, each piece on its own, so that AddressSanitizer sees every byte that
is read or written beyond its end.
"""

from __future__ import annotations

from cffi import FFI

from tests.support.queue_rig import set_up
from uspnet.fastpath import ffi, lib

MALLOC = FFI()
MALLOC.cdef("void *aligned_alloc(size_t, size_t); void free(void *);")
LIBC = MALLOC.dlopen(None)
NEXT = lib.MEMIF_NEXT
KINDS = [
    "copy-tx-client",
    "copy-tx-server",
    "copy-rx-client",
    "copy-rx-server",
    "zero-tx-client",
    "zero-rx-client",
]


def allocate(size):
    """`size` bytes of zeros on a 64-byte boundary, freed with the object."""
    memory = LIBC.aligned_alloc(64, -(-size // 64) * 64)
    ffi.memmove(ffi.cast("char *", int(MALLOC.cast("intptr_t", memory))), bytes(size), size)
    return MALLOC.gc(memory, LIBC.free)


def pointer(memory, kind="uint8_t *"):
    """A pointer of the fast path's to such memory."""
    return ffi.cast(kind, int(MALLOC.cast("intptr_t", memory)))


class Rig:
    """`kind` is one of KINDS; the ring has 2^log2 slots and both sides begin at position `start`.

    `at` is the peer's position: the next slot that it fills or drains.
    """

    def __init__(self, kind, log2=3, start=0, count=256, buffer=2048, slot=2048):
        how, self.direction, role = kind.split("-")
        self.zero, self.server, sends = how == "zero", role == "server", self.direction == "tx"
        self.size, self.slot, self.count, self.at = 1 << log2, slot, count, start
        self.s2c = sends == self.server
        self.data_at = 128 + 16 * self.size
        self.region_bytes = self.data_at + (0 if self.zero else self.size * slot)
        self.base = self.region(self.region_bytes)
        self.ring = ffi.cast("struct memif_ring *", self.base)
        self.pool_memory = allocate(count * buffer)
        self.pool = ffi.new("struct pool *", (pointer(self.pool_memory), buffer, count))
        self.free = ffi.new("uint32_t[]", list(range(count)))
        self.stack = ffi.new("struct stack *", (count, count, self.free))
        self.counters = ffi.new("struct counters *")
        self.regions = ffi.new("struct memif_region[1]", [(self.base, self.region_bytes)])
        self.out = ffi.new("uint32_t[]", self.size)
        self.burst = getattr(lib, f"memif_{how}_{self.direction}")
        self.m = self._queue(sends, start)
        set_up(self.m, self.pool, self.stack, self.counters, f"memif_{how}_{self.direction}")
        self.q = ffi.cast("struct queue *", self.m)
        self.packets = ffi.new("struct packet[64]")
        self.held = []

    def region(self, size):
        """The memory that the peer shares."""
        self.memory = allocate(size)
        return pointer(self.memory)

    def _queue(self, sends, start):
        m = ffi.new("struct memif_queue *")
        m.bell_fd = -1
        m.ring, m.size, m.next, m.clean = self.ring, self.size, start, start
        m.taken.at = start
        head, tail = ffi.addressof(self.ring, "head"), ffi.addressof(self.ring, "tail")
        m.ours, m.theirs = (tail, head) if self.server else (head, tail)
        m.our_lead = self.size if self.s2c and not self.server and not self.zero else 0
        m.their_lead = self.size if self.s2c and self.server else 0
        m.regions, m.n_regions, m.pool_region, m.out = self.regions, 1, 1, self.out
        if not self.server and not self.zero:
            m.buffers, m.buffer_size = self.base + self.data_at, self.slot
        m.ours[0] = (start + m.our_lead) & 0xFFFF
        m.theirs[0] = (start + m.their_lead) & 0xFFFF
        self.ring.cookie, self.ring.flags = lib.MEMIF_COOKIE, lib.MEMIF_MASK_INT
        for i in range(self.size):
            self.ring.slots[i] = self.whole(i)
        return m

    # -- the peer ---------------------------------------------------------------------------------

    def whole(self, position):
        """The descriptor of a slot's whole memory."""
        at = self.data_at + position % self.size * self.slot
        return (0, 0, self.slot, at, 0)

    def move(self, by):
        """The peer's position moves on."""
        self.at = (self.at + by) & 0xFFFF
        self.m.theirs[0] = (self.at + self.m.their_lead) & 0xFFFF

    def memory_of(self, position):
        """Where the data of a slot is."""
        if not self.zero:
            return self.base + self.data_at + position % self.size * self.slot
        return self.pool.base + self.ring.slots[position % self.size].offset

    def fill(self, *packets):
        """The peer fills slots: each packet is bytes, or a list of bytes for a chain."""
        for packet in packets:
            parts = packet if isinstance(packet, list) else [packet]
            for i, part in enumerate(parts):
                slot = self.ring.slots[self.at % self.size]
                ffi.memmove(self.memory_of(self.at), part, len(part))
                slot.length, slot.flags = len(part), NEXT * (i < len(parts) - 1)
                if not self.zero:
                    slot.offset = self.whole(self.at)[3]
                self.move(1)

    def lie(self, flags=0, region=0, length=60, offset=None):
        """The peer fills one slot with just any descriptor."""
        where = self.whole(self.at)[3] if offset is None else offset
        self.ring.slots[self.at % self.size] = (flags, region, length, where, 0)
        self.move(1)

    def waiting(self):
        """Slots that we have published and the peer has not yet worked on."""
        lead = self.m.our_lead
        return (self.m.ours[0] - lead - self.at) & 0xFFFF

    def drain(self, limit=65535):
        """The peer takes packets out of a tx ring, whole chains only."""
        taken, parts = [], b""
        for _ in range(min(limit, self.waiting())):
            slot = self.ring.slots[self.at % self.size]
            base = self.pool.base if slot.region and self.zero else self.base
            parts += bytes(ffi.buffer(base + slot.offset, slot.length))
            if not slot.flags & NEXT:
                taken.append(parts)
                parts = b""
            if self.s2c:
                self.ring.slots[self.at % self.size] = self.whole(self.at)
            self.move(1)
        return taken

    # -- our side ---------------------------------------------------------------------------------

    def receive(self, n=64):
        """One burst; returns the packets' bytes, their buffers given back."""
        got = self.burst(self.q, self.packets, n)
        assert got <= n
        result = []
        for packet in self.packets[0:got]:
            at = self.pool.base + packet.index * self.pool.size + packet.offset
            result.append(bytes(ffi.buffer(at, packet.length)))
            self.give(packet.index)
        return result

    def receive_all(self):
        """Bursts until nothing comes."""
        result = []
        while got := self.receive():
            result += got
        return result

    def give(self, index):
        """Gives a buffer back to the stack."""
        self.free[self.stack.top] = index
        self.stack.top += 1

    def send(self, *frames):
        """One burst of frames; returns how many were taken."""
        n = min(len(frames), self.stack.top, 64)
        for i, frame in enumerate(frames[:n]):
            self.stack.top -= 1
            index = self.free[self.stack.top]
            offset = index % 8 * 64
            self.packets[i] = (index, offset, len(frame))
            at = self.pool.base + index * self.pool.size + offset
            ffi.memmove(at, frame, len(frame))
        taken = self.burst(self.q, self.packets, n)
        assert taken <= n
        for packet in self.packets[taken:n]:
            self.give(packet.index)
        return taken

    def conserved(self):
        """Every buffer is either free or in a slot, and nowhere twice."""
        used = (self.m.next - self.m.clean) & 0xFFFF if self.zero else 0
        out = [self.out[(self.m.clean + i) % self.size] for i in range(min(used, self.size))]
        free = list(self.free[0 : self.stack.top])
        return sorted(free + out) == list(range(self.count))
