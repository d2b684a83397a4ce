# SPDX-License-Identifier: Apache-2.0
"""NIC rings without a NIC: a lane from a receive ring to a transmit ring, and the device of both.

The device is played here, on the same memory, between two runs of the loop: it fills the receive
ring, and reports what was sent. A doorbell is an ordinary store.
"""

from __future__ import annotations

from typing import Any

RINGS = ["intel_legacy", "intel_advanced"]
FRAME = 60  # bytes
REPORT = 1 << 27  # transmit command of both formats: write the status back
RX_DONE = {  # done, and the frame's last
    "intel_legacy": FRAME | 3 << 32,
    "intel_advanced": FRAME << 32 | 3,
}
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
        memory = self.pool.rings.base + self.pool.reserve(16 * self.size)
        queue.ring = ffi.cast("struct intel_descriptor *", memory)
        queue.buffers, queue.last, queue.size, queue.limit = buffers, last, self.size, 1522
        queue.q.burst = ffi.addressof(self.lib, f"{ring}_{('rx', 'tx')[number]}")
        queue.q.pool, queue.q.stack, queue.q.counters = self.pool.c, self.stack, counters
        queue.q.wake_fd = -1
        queue.bell.mmio, queue.bell.bytes = self.bells + number, 4
        return queue

    def device(self) -> None:
        """Report what was sent, and receive as much again."""
        while self.reported != self.tx.next:
            slot = self.tx.ring[self.reported % self.size]
            if slot.word & REPORT:
                slot.word = TX_DONE
            self.reported += 1
        for position in range(self.rx.next, self.rx.next + self.slots):
            self.rx.ring[position % self.size].word = RX_DONE[self.ring]


class Vmxnet3Bench:
    """VMXNET3's rings, of the most descriptors there can be; half of them a phase."""

    slots, size = 2048, 4096
    REPORT = 1 << 45  # transmit descriptor: §Vmxnet3_TxDesc, cq
    WHOLE = 3 << 14  # receive completion: §Vmxnet3_RxCompDesc, sop and eop
    GENERATION = 1 << 63

    def __init__(self) -> None:
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415 - only inside valgrind
        from uspnet.pool import Pool  # noqa: PLC0415

        self.ffi, self.lib = ffi, lib
        self.pool = Pool(3 * self.size, 1522, 6 * 16 * self.size)
        self.stack = self.pool.stack(self.pool.count)
        self.bells = ffi.new("uint32_t[2]")
        self.keep: list[Any] = []
        self.rx, self.tx = self._queue(0), self._queue(1)
        if lib.vmxnet3_fill(self.rx, 1) or lib.vmxnet3_fill(self.tx, 0):
            raise MemoryError
        self.rx.q.ended = 1
        self.reported, self.completed = 0, [0, 0]

    def _memory(self, kind: str, count: int) -> Any:
        memory = self.pool.rings.base + self.pool.reserve(16 * count)
        return self.ffi.cast(f"struct vmxnet3_{kind} *", memory)

    def _queue(self, number: int) -> Any:
        """As the driver fills it in; frames take one buffer, so the second ring is small."""
        ffi, size = self.ffi, self.size
        v, counters = ffi.new("struct vmxnet3_queue *"), ffi.new("struct counters *")
        wants = ffi.new("uint8_t *", 1)
        self.keep += [counters, wants]
        for ring, slots in zip(v.rings, ((size, 32), (size,))[number], strict=False):
            buffers = ffi.new("uint32_t[]", slots)
            self.keep.append(buffers)
            ring.slots, ring.buffers, ring.size = self._memory("descriptor", slots), buffers, slots
            ring.limit, ring.bell.mmio, ring.bell.bytes = self.pool.room, self.bells + number, 4
        v.completions_size = (2 * size, size)[number]
        v.completions = self._memory("completion", v.completions_size)
        v.tx_flags, v.wants_doorbell = 1 << 44, wants  # §Vmxnet3_TxDesc: eop
        v.q.burst = ffi.addressof(self.lib, f"vmxnet3_{('rx', 'tx')[number]}")
        v.q.pool, v.q.stack, v.q.counters, v.q.wake_fd = self.pool.c, self.stack, counters, -1
        return v

    def device(self) -> None:
        """Report what was sent, and receive as much again."""
        ring = self.tx.rings[0]
        for position in range(self.reported, ring.fill):
            if ring.slots[position % self.size].word & self.REPORT:
                self._complete(1, position % self.size, 0)
        self.reported = ring.fill
        ring = self.rx.rings[0]
        for position in range(ring.next, ring.next + self.slots):
            self._complete(0, position % self.size | self.WHOLE, FRAME)

    def _complete(self, number: int, low: int, high: int) -> None:
        v = (self.rx, self.tx)[number]
        lap, at = divmod(self.completed[number], v.completions_size)
        v.completions[at].low = low
        v.completions[at].high = high | (0 if lap % 2 else self.GENERATION)
        self.completed[number] += 1
