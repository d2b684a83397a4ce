# SPDX-License-Identifier: Apache-2.0
"""Virtqueues without a device: a lane from a receive ring to a transmit ring, and their other ends.

The device is played here, on the same memory, between two runs of the loop: it fills the receive
ring, and reports what was sent. It polls, as a vhost-user peer does, so no doorbell rings.
"""

from __future__ import annotations

from typing import Any

SLOTS = 1024  # packets a phase
FRAME = 60  # bytes
RINGS = 1 << 40  # where the device sees the rings; it sees the pool at 0
QUIET = 1
VIRTQS = {  # packed, merges
    "virtq": (False, 0),
    "virtq_packed": (True, 0),
    "virtq, merging": (False, 1),
    "virtq_packed, merging": (True, 1),
}


class VirtqBench:
    """Rings of two phases' packets, packed or split. `merges`: may frames take several buffers?"""

    slots = SLOTS

    def __init__(self, *, packed: bool, merges: int) -> None:
        from tests.support.queue_rig import DESCRIPTOR, QueueRig  # noqa: PLC0415 - in valgrind only
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415
        from uspnet.nic.virtio import Layout, Ring  # noqa: PLC0415
        from uspnet.transports import Dma  # noqa: PLC0415

        self.lib, self.packed = lib, packed
        layouts = [Layout(2 * SLOTS, packed), Layout(4 * SLOTS, packed)]
        slots = sum(each.bytes + 4096 for each in layouts) // DESCRIPTOR + 1
        self.rig = rig = QueueRig(5 * SLOTS, 1534, slots)
        self.pool, self.stack = rig.pool, rig.stack
        rings = []
        for number, (layout, way) in enumerate(zip(layouts, ("rx", "tx"), strict=True)):
            at = self.pool.reserve(layout.bytes)
            memory = Dma(self.pool.rings.base + at, RINGS + at, layout.bytes)
            ring = Ring(layout, memory, double=number == 1)
            c = ring.c
            rig.adopt(c, f"virtq_{'packed_' if packed else ''}{way}")
            c.limit, c.merges = self.pool.room, merges
            if ring.call("fill", int(number == 0)):
                raise MemoryError
            if packed:
                c.theirs.flags = QUIET
            else:
                c.used.flags = QUIET
            rig.keep.append(ring)
            rings.append(c)
        self.rx, self.tx = rings
        self.rx.q.ended = 1  # the loop ends when the ring is empty
        self.reported = 0
        pieces = ffi.cast("uint16_t *", self.pool.memory.base)
        for index in range(self.pool.count):  # the header of a frame in one buffer
            at = index * self.pool.size + index % lib.CACHE_OFFSETS * lib.CACHE_LINE
            pieces[(at + lib.VIRTQ_MERGED_AT) // 2] = 1

    def device(self) -> None:
        """Report what was sent, and receive as much again. Chains are used in order."""
        for position in range(self.reported, self.tx.next):
            self._use(self.tx, position, 0)
        self.reported = self.tx.next
        for position in range(self.rx.clean, self.rx.clean + SLOTS):
            self._use(self.rx, position, self.lib.VIRTQ_NET_HEADER + FRAME)

    def _use(self, c: Any, position: int, length: int) -> None:
        at = position % c.chains
        if self.packed:
            flags = 0 if position & c.chains else self.lib.VIRTQ_AVAILABLE | self.lib.VIRTQ_USED
            c.descriptors[at * c.descs_per_chain].word = length | at << 32 | flags << 48
        else:
            element = c.used.ring[position % (c.chains * c.descs_per_chain)]
            element.id, element.length = at * c.descs_per_chain, length
            c.used.index = (position + 1) % 65536
