# SPDX-License-Identifier: Apache-2.0
"""Memif rings in ordinary memory, with the peer's side played here: see instructions.py."""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING, Any, cast

from observing import BURST, make_worker, prepared

if TYPE_CHECKING:
    from uspnet.port import Port

SLOTS = 4096
FRAME, BUFFER = 60, 2048  # bytes


class MemifBench:
    """One lane from a receive ring to a transmit ring, and the peer of both.

    As client with zero copy, or as server, which copies in both directions.
    """

    def __init__(self, *, zero: bool) -> None:
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415

        self.ffi, self.lib, self.zero = ffi, lib, zero
        self.rig = QueueRig(2 * SLOTS + 4 * BURST)
        self.stack = self.rig.stack
        self.rx, self.tx = self._queue("rx"), self._queue("tx")
        self.rx.q.ended = 1  # the loop ends when the ring is empty
        self.worker = self._worker()

    def _worker(self) -> Any:
        return make_worker(self.rx, self.tx, self.stack)

    def _memory(self, size: int) -> Any:
        from uspnet.pool import SharedMemory  # noqa: PLC0415

        memory = SharedMemory("bench", size, huge=True)
        self.rig.keep.append(memory)
        return memory.base

    def _queue(self, direction: str) -> Any:
        """As the memif driver fills it in: a client's tx and a server's rx are C2S rings."""
        ffi, sends = self.ffi, direction == "tx"
        kind = "zero" if self.zero else "copy"
        m = self.rig.queue("memif_queue", f"memif_{kind}_{direction}")
        m.ring = ffi.cast("struct memif_ring *", self._memory(128 + 16 * SLOTS))
        m.ring.flags = self.lib.MEMIF_MASK_INT
        head, tail = ffi.addressof(m.ring, "head"), ffi.addressof(m.ring, "tail")
        m.ours, m.theirs = (head, tail) if self.zero else (tail, head)
        m.size = SLOTS
        m.their_lead = SLOTS if sends and not self.zero else 0
        m.bell_fd = os.eventfd(0) if sends else -1
        region = self._memory(SLOTS * BUFFER)
        m.regions = self.rig.new("struct memif_region[1]", [(region, SLOTS * BUFFER)])
        m.n_regions = m.pool_region = 1
        m.out = self.rig.new("uint32_t[]", SLOTS)
        return m

    def _fill(self, m: Any, length: int) -> None:
        """Slots as the peer writes them."""
        for i in range(SLOTS):
            slot = m.ring.slots[i]
            slot.flags, slot.length = 0, length
            if not self.zero:
                slot.region, slot.offset = 0, i * BUFFER

    def phase(self) -> None:
        """Do the peer's work, then ours: SLOTS packets from one ring to the other."""
        rx, tx = self.rx, self.tx
        if self.zero:
            packets = self.ffi.new("struct packet[]", BURST)
            while (rx.next - rx.clean) & 0xFFFF < SLOTS:
                rx.q.burst(self.ffi.addressof(rx.q), packets, BURST)  # lends, receives nothing
            self._fill(rx, FRAME)
            rx.theirs[0], tx.theirs[0] = rx.next, tx.next
        else:
            self._fill(rx, FRAME)
            self._fill(tx, BUFFER)
            rx.theirs[0] = (rx.next + SLOTS) & 0xFFFF
            tx.theirs[0] = (tx.next + SLOTS) & 0xFFFF
        self.worker.c.stop = self.worker.c.idle_since = 0
        self.lib.loop_forward(self.worker.c)


class MeasureBench(MemifBench):
    """What comes out of a server's receive ring is measured; the peer signs it."""

    AT, MAGIC = FRAME - 18, 0x75  # where a signature is, and its first byte

    def _worker(self) -> Any:
        from uspnet.jobs.measure import Measure, make_streams  # noqa: PLC0415
        from uspnet.jobs.worker import Lane, Worker  # noqa: PLC0415
        from uspnet.port import Queue  # noqa: PLC0415

        began, streams = time.monotonic_ns(), make_streams(1)
        loop = Measure(stamp_at=self.AT, secret=0, began=began, n_streams=1, streams=streams)
        self._prepare(loop)
        worker = Worker(loop, [Lane(Queue(cast("Port", None), "rx", 0, self.rx), [])], self.stack)
        return prepared(worker)

    def _prepare(self, loop: Any) -> None:
        """Have the loop measure what else is to be."""

    def phase(self) -> None:
        """Sign packets with the numbers that are next, and measure them."""
        rx, streams = self.rx, self.worker.loop.streams
        memory, now = self.ffi.buffer(rx.regions[0].base, SLOTS * BUFFER), time.monotonic_ns()
        for slot in range(SLOTS):
            signature = (self.MAGIC, 0, streams[0].next + slot, now - slot % 1000)
            struct.pack_into("=BBQQ", memory, slot * BUFFER + self.AT, *signature)
        self._fill(rx, FRAME)
        rx.theirs[0] = (rx.next + SLOTS) & 0xFFFF
        self.worker.c.stop = self.worker.c.idle_since = 0
        self.lib.loop_measure(self.worker.loop.worker)


class FlowsBench(MeasureBench):
    """The same, with the order within each of a thousand flows of UDP over IPv4."""

    FLOWS = 1000

    def _prepare(self, loop: Any) -> None:
        from uspnet.packets.frames import udp_template  # noqa: PLC0415

        memory = self.ffi.buffer(self.rx.regions[0].base, SLOTS * BUFFER)
        ends = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2")
        for slot in range(SLOTS):
            frame = udp_template(FRAME, *ends, 1024 + slot % self.FLOWS, 9).frame
            memory[slot * BUFFER : slot * BUFFER + FRAME] = frame
        loop.order_flows()
