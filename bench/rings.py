# SPDX-License-Identifier: Apache-2.0
"""NIC rings without a NIC: a lane from a receive ring to a transmit ring, and the device of both.

The device is played here, on the same memory, between two runs of the loop: it fills the receive
ring, and reports what was sent. A doorbell is an ordinary store.
"""

from __future__ import annotations

RINGS = ["intel_legacy", "intel_advanced"]
FRAME, FRAME_MAX = 60, 1522  # bytes
REPORT = 1 << 27  # transmit command of both formats: write the status back
RX_DONE = {  # done, and the frame's last
    "intel_legacy": FRAME | 3 << 32,
    "intel_advanced": FRAME << 32 | 3,
}
TX_DONE = 1 << 32


class NicBench:
    """Rings of `2 * slots` descriptors of one format; `slots` packets a phase."""

    def __init__(self, ring: str, slots: int) -> None:
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import lib  # noqa: PLC0415

        self.lib, self.ring, self.slots = lib, ring, slots
        self.size = 2 * slots
        self.rig = rig = QueueRig(2 * self.size + 64, FRAME_MAX, 2 * self.size)
        self.stack = rig.stack
        self.rx = rig.intel(0, self.size, FRAME_MAX, f"{ring}_rx")
        self.tx = rig.intel(1, self.size, FRAME_MAX, f"{ring}_tx")
        if lib.intel_fill(self.rx):
            raise MemoryError
        self.rx.q.ended = 1  # the loop ends when the ring is empty
        self.reported = 0

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
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import lib  # noqa: PLC0415

        self.lib = lib
        self.rig = rig = QueueRig(3 * self.size, FRAME_MAX, 6 * self.size)
        self.stack, limit = rig.stack, rig.pool.room
        rings = [(self.size, limit), (32, limit)]  # frames take one buffer: the second is small
        self.rx = rig.vmxnet3(0, rings, 2 * self.size, "vmxnet3_rx")
        self.tx = rig.vmxnet3(2, rings[:1], self.size, "vmxnet3_tx")
        self.rx.wants_doorbell = self.tx.wants_doorbell = rig.new("uint8_t *", 1)
        self.tx.tx_flags = 1 << 44  # §Vmxnet3_TxDesc: eop
        if lib.vmxnet3_fill(self.rx, 1) or lib.vmxnet3_fill(self.tx, 0):
            raise MemoryError
        self.rx.q.ended = 1
        self.reported, self.completed = 0, [0, 0]

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
