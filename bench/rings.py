# SPDX-License-Identifier: Apache-2.0
"""NIC rings without a NIC: a lane from a receive ring to a transmit ring, and the device of both.

The device is played here, on the same memory, between two runs of the loop: it fills the receive
ring, and reports what was sent. A doorbell is an ordinary store.
"""

from __future__ import annotations

from typing import Any

RINGS = ["legacy", "advanced"]
FRAME = 60  # bytes
REPORT = 1 << 27  # transmit command of both formats: write the status back
RX_DONE = {"legacy": FRAME | 3 << 32, "advanced": FRAME << 32 | 3}  # done, and the frame's last
TX_DONE = 1 << 32


class NicBench:
    """Rings of `2 * slots` descriptors of one format; `slots` packets a phase."""

    def __init__(self, ring: str, slots: int) -> None:
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415 - only inside valgrind
        from uspnet.pool import Pool  # noqa: PLC0415

        self.ffi, self.lib, self.ring, self.slots = ffi, lib, ring, slots
        self.size = 2 * slots
        self.pool = Pool(2 * self.size + 64, 1522, 2 * 16 * self.size)
        self.stack = self.pool.stack(self.pool.count)
        self.bells = ffi.new("uint32_t[2]")
        self.keep: list[Any] = []
        self.rx, self.tx = self._queue(0), self._queue(1)
        if lib.intel_fill(self.rx):
            raise MemoryError
        self.rx.q.ended = 1  # the loop ends when the ring is empty
        self.reported = 0

    def _queue(self, number: int) -> Any:
        """As the drivers fill it in."""
        ffi, ring = self.ffi, self.ring
        queue, counters = ffi.new("struct intel_queue *"), ffi.new("struct counters *")
        buffers, last = ffi.new("uint32_t[]", self.size), ffi.new("uint32_t[]", self.size)
        self.keep += [counters, buffers, last]
        memory = self.pool.memory.base + self.pool.reserve(16 * self.size)
        queue.ring = ffi.cast("struct intel_descriptor *", memory)
        queue.buffers, queue.last, queue.size, queue.limit = buffers, last, self.size, 1522
        queue.q.burst = ffi.addressof(self.lib, f"{ring}_{('rx', 'tx')[number]}")
        queue.q.pool, queue.q.stack, queue.q.counters = self.pool.c, self.stack, counters
        queue.q.wake_fd = -1
        queue.bell.mmio, queue.bell.bytes = self.bells + number, 4
        return queue

    def device(self) -> None:
        """Reports what was sent, and receives as much again."""
        while self.reported != self.tx.next:
            slot = self.tx.ring[self.reported % self.size]
            if slot.word & REPORT:
                slot.word = TX_DONE
            self.reported += 1
        for position in range(self.rx.next, self.rx.next + self.slots):
            self.rx.ring[position % self.size].word = RX_DONE[self.ring]
