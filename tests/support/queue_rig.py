# SPDX-License-Identifier: Apache-2.0
"""Queues without a device: C structs filled in as drivers do it, on a pool of their own, with
doorbells that are plain memory. A test or a benchmark plays the other side, on the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uspnet.fastpath import ffi, lib
from uspnet.memory import PAGE
from uspnet.pool import Pool

DESCRIPTOR = 16  # bytes, in every ring here
RINGS = 8  # at most, in a rig; each begins on a page


def set_up(queue: Any, pool: Any, stack: Any, counters: Any, burst: str = "") -> None:
    """Set the fields that every queue has, as `Port.queue` does."""
    queue.q.pool, queue.q.stack, queue.q.counters, queue.q.wake_fd = pool, stack, counters, -1
    if burst:
        queue.q.burst = ffi.addressof(lib, burst)


class QueueRig:
    """`buffers` packet buffers of `frame` bytes, memory for `slots` descriptors, and the packets of
    one burst. What C points to is kept alive by `keep`.
    """

    def __init__(self, buffers: int, frame: int = 1522, slots: int = 0) -> None:
        self.pool = Pool(buffers, frame, RINGS * PAGE + DESCRIPTOR * slots)
        self.stack = self.pool.stack(self.pool.count)
        self.bells = ffi.new("uint32_t[3]")
        self.packets = ffi.new("struct packet[64]")
        self.keep: list[Any] = []

    def new(self, kind: str, *value: Any) -> Any:
        """Return a C object that lives as long as the rig."""
        self.keep.append(ffi.new(kind, *value))
        return self.keep[-1]

    def queue(self, struct: str, burst: str = "", *value: Any) -> Any:
        """Return a queue of this struct with the rig's pool, stack and counters of its own."""
        made = self.new(f"struct {struct} *", *value)
        self.adopt(made, burst)
        return made

    def adopt(self, queue: Any, burst: str = "") -> None:
        """Give a queue that was made elsewhere the rig's pool and stack, and new counters."""
        set_up(queue, self.pool.c, self.stack, self.new("struct counters *"), burst)

    def memory(self, kind: str, slots: int) -> Any:
        """Return ring memory for so many descriptors of a kind."""
        base = self.pool.rings.base + self.pool.reserve(DESCRIPTOR * slots)
        return ffi.cast(f"struct {kind} *", base)

    def ring_bell(self, holder: Any, number: int) -> None:
        """Give a queue or ring the doorbell of this number, of four bytes."""
        holder.bell.mmio, holder.bell.bytes = self.bells + number, 4

    def intel(self, number: int, size: int, limit: int, burst: str = "") -> Any:
        """Return a queue with a ring of `size` Intel descriptors; `number`: of its doorbell."""
        made = self.queue("intel_queue", burst)
        made.ring = self.memory("intel_descriptor", size)
        made.buffers, made.last = (self.new("uint32_t[]", size) for _ in range(2))
        made.size, made.limit = size, limit
        self.ring_bell(made, number)
        return made

    def vmxnet3(
        self, bell: int, rings: Sequence[tuple[int, int]], completions: int, burst: str = ""
    ) -> Any:
        """Return a queue with rings of (descriptors, limit) each, their doorbells from `bell` on,
        and a completion ring.
        """
        made = self.queue("vmxnet3_queue", burst)
        for number, (ring, (slots, limit)) in enumerate(zip(made.rings, rings, strict=False)):
            ring.slots = self.memory("vmxnet3_descriptor", slots)
            ring.buffers = self.new("uint32_t[]", slots)
            ring.size, ring.limit = slots, limit
            self.ring_bell(ring, bell + number)
        made.completions = self.memory("vmxnet3_completion", completions)
        made.completions_size = completions
        return made

    @property
    def held(self) -> int:
        """Return how many buffers are not on the stack."""
        return int(self.stack.room - self.stack.top)

    # -- bursts ----------------------------------------------------------------------------------

    def push(self, index: int) -> None:
        """Give a buffer back to the stack."""
        self.stack.free[self.stack.top] = index
        self.stack.top += 1

    def offer(self, queue: Any, lengths: Sequence[int], offset: int = 0) -> int:
        """Offer a burst of packets of these lengths; return how many were taken."""
        for packet, length in zip(self.packets, lengths, strict=False):
            self.stack.top -= 1
            packet.index, packet.offset = self.stack.free[self.stack.top], offset
            packet.length = length
        n = len(lengths)
        taken = int(queue.q.burst(ffi.addressof(queue.q), self.packets, n))
        for packet in self.packets[taken:n]:
            self.push(packet.index)
        return taken

    def packets_of(self, queue: Any, n: int = 32) -> list[Any]:
        """Receive one burst; return its packets, whose buffers are ours until they are pushed."""
        got = queue.q.burst(ffi.addressof(queue.q), self.packets, n)
        return list(self.packets[0:got])

    def frames_of(self, queue: Any, n: int = 32) -> list[bytes]:
        """Receive one burst; return its frames, whose buffers are given back."""
        frames = []
        for packet in self.packets_of(queue, n):
            at = packet.index * self.pool.size + packet.offset
            frames.append(bytes(self.pool.memory.map[at : at + packet.length]))
            self.push(packet.index)
        return frames

    def store(self, at: int, data: bytes) -> None:
        """Write into packet memory, as a device does."""
        self.pool.memory.map[at : at + len(data)] = data
