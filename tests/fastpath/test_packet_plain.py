# SPDX-License-Identifier: Apache-2.0
"""packet_rx takes plain frames in a row, and those between them one by one."""

from __future__ import annotations

import struct

import pytest

from tests.fastpath.test_packet_ring import (  # noqa: F401 - a fixture
    HEADER,
    MAC,
    USER,
    frame,
    ring,
    undone,
)

SECOND = HEADER + 144  # where the header of a block's second frame of 60 bytes is


@pytest.mark.parametrize(
    ("at", "words", "second"),
    [
        (16, struct.pack("=I", 61), []),  # cut short by the kernel
        (20, struct.pack("=I", 0), []),  # an empty slot
        (20, struct.pack("=I", USER | 0x10), [frame(2, 12) + b"\x81\0\0\0" + frame(2, 48)]),
        (24, struct.pack("=H", 47), []),  # over its own header
        (MAC - 10, undone(kind=0, start=60), []),  # a checksum, outside of it
        (MAC - 10, undone(), []),  # to be segmented, and no IP
    ],
)
def test_between_plain_frames_there_may_be_others(ring, at, words, second):  # noqa: F811
    ring.block(0, [frame(1), frame(2), frame(3), frame(4)])
    ring.memory[SECOND + at : SECOND + at + len(words)] = words
    assert ring.receive() == [frame(1), *second, frame(3), frame(4)]
    assert ring.stack.top == ring.stack.room
