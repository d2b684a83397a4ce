# SPDX-License-Identifier: Apache-2.0
"""An AF_PACKET receive ring without a kernel, which is played here on the same memory, between two
runs of the loop: it passes on blocks full of equal frames. They leave by `null:`.
"""

from __future__ import annotations

import struct

FRAME, FRAME_MAX = 60, 1522  # bytes
BLOCK, FRAMES = 128 << 10, 512  # bytes; frames of each block
MAC, STRIDE = 92, 152  # bytes from a frame's header to its first byte, and to the next header
BLOCK_HEADER, USER = 48, 1  # struct tpacket_block_desc; TP_STATUS_USER


def block() -> bytes:
    """Write a block as the kernel leaves it: struct tpacket3_hdr before each frame."""
    head = struct.pack("=IIIIIQQQ", 1, 0, USER, FRAMES, BLOCK_HEADER, 0, 0, 0)
    frames = (
        struct.pack("=IIIIIIHH", STRIDE * (i + 1 < FRAMES), 1, i, FRAME, FRAME, USER, MAC, MAC + 14)
        for i in range(FRAMES)
    )
    return head.ljust(BLOCK_HEADER, b"\0") + b"".join(each.ljust(STRIDE, b"\0") for each in frames)


class PacketBench:
    """A ring of so many blocks, all of them used in a phase."""

    def __init__(self, slots: int) -> None:
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415

        self.ffi, self.lib, self.slots = ffi, lib, slots
        self.rig = rig = QueueRig(256, FRAME_MAX)
        self.stack = rig.stack
        self.rx, self.tx = (
            rig.queue("packet_queue", "packet_rx"),
            rig.queue("null_queue", "null_tx"),
        )
        self.rx.blocks, self.rx.block_size = slots // FRAMES, BLOCK
        self.rx.ring = rig.new("uint8_t[]", self.rx.blocks * BLOCK)
        for number in range(self.rx.blocks):
            ffi.memmove(self.rx.ring + number * BLOCK, block(), BLOCK_HEADER + FRAMES * STRIDE)
        self.rx.q.ended = 1  # the loop ends when the ring is empty

    def device(self) -> None:
        """Pass all blocks on."""
        for number in range(self.rx.blocks):
            self.ffi.cast("uint32_t *", self.rx.ring + number * BLOCK)[2] = USER
