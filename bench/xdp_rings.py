# SPDX-License-Identifier: Apache-2.0
"""AF_XDP rings without a kernel, which is played here on the same memory, between two runs of the
loop: it delivers frames into the buffers that it was given, and completes what was sent. It asks
for no wake-up, so that no system call is made.
"""

from __future__ import annotations

FRAME, FRAME_MAX, HEADROOM = 60, 1522, 256  # bytes


class XdpBench:
    """Rings of `slots` slots, all of them used in a phase."""

    def __init__(self, slots: int) -> None:
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415

        self.ffi, self.lib, self.slots = ffi, lib, slots
        self.rig = rig = QueueRig(2 * slots + 256, FRAME_MAX, 4 * slots)
        self.stack = rig.stack
        self.rx, self.tx = (self._queue(way) for way in ("rx", "tx"))
        lib.xdp_fill(self.rx)
        self.rx.q.ended = 1  # the loop ends when the ring is empty
        self.taken = 0  # from the fill ring

    def _queue(self, way: str):  # noqa: ANN202 - C's
        made = self.rig.queue("xdp_queue", f"xdp_{way}")
        for ring in (made.frames, made.buffers):
            ring.producer, ring.consumer, ring.flags = (
                self.rig.new("uint32_t *") for _ in range(3)
            )
            ring.slots = self.ffi.cast("uint8_t *", self.rig.memory("xdp_slot", self.slots))
        made.owners = self.rig.new("uint32_t[]", self.rig.pool.count)
        made.n_owners, made.size, made.limit = self.rig.pool.count, self.slots, FRAME_MAX
        made.chunk_shift, made.n_chunks, made.fd = 11, 1, -1
        return made

    def device(self) -> None:
        """Complete what was sent, and receive as much again."""
        sent = self.ffi.cast("struct xdp_slot *", self.tx.frames.slots)
        done = self.ffi.cast("uint64_t *", self.tx.buffers.slots)
        for position in range(self.tx.frames.consumer[0], self.tx.frames.producer[0]):
            done[position % self.slots] = sent[position % self.slots].address
        self.tx.frames.consumer[0] = self.tx.buffers.producer[0] = self.tx.frames.producer[0]
        given = self.ffi.cast("uint64_t *", self.rx.buffers.slots)
        frames = self.ffi.cast("struct xdp_slot *", self.rx.frames.slots)
        for position in range(self.taken, self.taken + self.slots):
            address = given[position % self.slots] + HEADROOM
            frames[position % self.slots] = (address, FRAME, 0)
        self.taken += self.slots
        self.rx.buffers.consumer[0] = self.rx.frames.producer[0] = self.taken
