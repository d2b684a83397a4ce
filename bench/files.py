# SPDX-License-Identifier: Apache-2.0
"""Capture files without a file: a lane from the reader, on bytes in memory, to `null:`."""

from __future__ import annotations

import struct

KINDS = ["pcapng", "pcap"]
FRAME, ROOM = 60, 1522  # bytes
BUFFERS = 128
LINK_ETHERNET = 1


def contents(kind: str, packets: int) -> bytes:
    """Write a capture file of so many equal packets."""
    frame = bytes(FRAME)
    if kind == "pcap":
        header = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, ROOM, LINK_ETHERNET)
        return header + (struct.pack("=4I", 1, 1, FRAME, FRAME) + frame) * packets

    def block(kind: int, body: bytes) -> bytes:
        length = struct.pack("=I", len(body) + 12)
        return struct.pack("=I", kind) + length + body + length

    section = block(0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack("=HHI", LINK_ETHERNET, 0, ROOM))
    packet = block(6, struct.pack("=5I", 0, 1, 1, FRAME, FRAME) + frame)
    return section + interface + packet * packets


class FileBench:
    """Both queues, as the drivers fill them in."""

    def __init__(self, kind: str, packets: int) -> None:
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import ffi, lib  # noqa: PLC0415

        self.lib, self.packets = lib, packets
        self.rig = rig = QueueRig(BUFFERS, ROOM)
        self.stack = rig.stack
        self.data = ffi.from_buffer("uint8_t[]", contents(kind, packets))
        self.rx, self.tx = rig.queue("pcap_source", "pcap_rx"), rig.queue("null_queue", "null_tx")
        self.rx.base, self.rx.size = self.data, len(self.data)
