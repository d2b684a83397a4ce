# SPDX-License-Identifier: Apache-2.0
"""packet_rx on a ring that the test fills: the test plays the kernel, also a mad one."""

from __future__ import annotations

import random
import struct

import pytest

from uspnet.fastpath import ffi, lib
from uspnet.pool import Pool

BLOCK, BLOCKS, USER = 4096, 4, 1
HEADER = 48  # bytes of struct tpacket3_hdr
MAC = 82  # where the kernel puts a frame, from its header on


class Ring:
    """A receive queue on memory of the test's own."""

    def __init__(self):
        self.memory = bytearray(BLOCK * BLOCKS)
        self.view = ffi.from_buffer("uint8_t[]", self.memory, require_writable=True)
        self.pool = Pool(256, 1518)
        self.stack = self.pool.stack(256)
        self.counters = ffi.new("struct counters *")
        self.c = ffi.new("struct packet_queue *")
        self.c.ring, self.c.block_size, self.c.blocks = self.view, BLOCK, BLOCKS
        self.c.q.pool, self.c.q.stack, self.c.q.counters = self.pool.c, self.stack, self.counters
        self.packets = ffi.new("struct packet[64]")

    def block(self, number, frames, first=HEADER, **odd):
        """Fills a block as the kernel would, with `odd` header fields of the last packet."""
        base, at = number * BLOCK, first
        for i, frame in enumerate(frames):
            last = i == len(frames) - 1
            field = {"len": len(frame), "snap": len(frame), "mac": MAC, "status": USER}
            field |= {"next": 0 if last else -(-(MAC + len(frame)) // 16) * 16}
            field |= {"tci": 0, "tpid": 0, **(odd if last else {})}
            header = struct.pack(
                "=IIIIIIHHIIHH", field["next"], 1, i, field["snap"], field["len"],
                field["status"], field["mac"], field["mac"] + 14, 0, field["tci"], field["tpid"], 0,
            )
            self.memory[base + at : base + at + len(header)] = header
            start = base + at + MAC
            self.memory[start : start + len(frame)] = frame
            at += field["next"]
        struct.pack_into("=IIIII", self.memory, base, 3, 0, USER, len(frames), first)

    def receive(self, most=64):
        seen, base = [], ffi.cast("struct queue *", self.c)
        for i in range(lib.packet_rx(base, self.packets, most)):
            p = self.packets[i]
            assert p.index < 256
            assert p.offset + p.length <= self.pool.size
            at = self.pool.memory.base + p.index * self.pool.size + p.offset
            seen.append(bytes(ffi.buffer(at, p.length)))
            self.stack.free[self.stack.top] = p.index
            self.stack.top += 1
        return seen

    def status(self, number):
        return struct.unpack_from("=I", self.memory, number * BLOCK + 8)[0]


@pytest.fixture
def ring():
    made = Ring()
    yield made
    ffi.release(made.view)
    made.pool.close()


def frame(number, size=60):
    return bytes([number]) * size


def test_an_empty_ring_gives_nothing(ring):
    assert ring.receive() == []


def test_blocks_are_taken_in_order_and_given_back_round_and_round(ring):
    for turn in range(3 * BLOCKS):
        number = turn % BLOCKS
        ring.block(number, [frame(turn), frame(turn + 1, 100)])
        assert ring.receive(1) == [frame(turn)]
        assert ring.status(number) == USER  # still ours
        assert ring.receive() == [frame(turn + 1, 100)]
        assert ring.status(number) == 0


def test_a_burst_spans_blocks(ring):
    for number in range(BLOCKS):
        ring.block(number, [frame(number)] * 3)
    assert ring.receive() == [frame(number) for number in range(BLOCKS) for _ in range(3)]


def test_an_empty_block_is_passed(ring):
    ring.block(0, [])
    ring.block(1, [frame(7)])
    assert ring.receive() == [frame(7)]


def test_without_free_buffers_packets_wait(ring):
    ring.block(0, [frame(1), frame(2)])
    top, ring.stack.top = ring.stack.top, 1
    ring.stack.free[0] = 5
    assert ring.receive() == [frame(1)]
    ring.stack.top = 0
    assert ring.receive() == []
    ring.stack.top = top
    assert ring.receive() == [frame(2)]


def test_a_tag_that_was_taken_out_is_put_back(ring):
    whole = frame(1, 12) + frame(2, 48)
    ring.block(0, [whole], status=USER | 0x10, tci=0x2005)
    ring.block(1, [whole], status=USER | 0x50, tci=0x0007, tpid=0x88A8)
    assert ring.receive() == [
        whole[:12] + b"\x81\x00\x20\x05" + whole[12:],
        whole[:12] + b"\x88\xa8\x00\x07" + whole[12:],
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"len": 61},  # cut short by the kernel
        {"len": 3000, "snap": 3000},  # more than a buffer holds
        {"len": 2**32 - 1, "snap": 2**32 - 1},
        {"snap": 4000, "len": 4000},  # past the block
        {"mac": 65500},
        {"len": 11, "snap": 11},
    ],
)
def test_a_bad_packet_is_counted_and_the_next_is_taken(ring, odd):
    ring.block(0, [frame(1), frame(2)], **odd)
    ring.block(1, [frame(3)])
    assert ring.receive() == [frame(1), frame(3)]
    assert ring.counters.errors == 1
    assert ring.stack.top == ring.stack.room


@pytest.mark.parametrize("first", [BLOCK - 4, BLOCK, 2**32 - 4, 49])
def test_a_block_whose_packets_cant_be_found_is_counted(ring, first):
    ring.block(0, [frame(1)])
    struct.pack_into("=II", ring.memory, 12, 5, first)
    ring.block(1, [frame(3)])
    assert ring.receive() == [frame(3)]
    assert ring.counters.errors == 5


def test_a_mad_kernel_does_no_harm(ring):
    maker = random.Random(1)
    for _ in range(600):
        for number in range(BLOCKS):
            ring.block(number, [frame(1, 20)] * 5)
            for _ in range(maker.randrange(1, 6)):
                at = number * BLOCK + 4 * maker.randrange(3, 64)
                word = maker.choice([0, 1, 4, 16, BLOCK - 4, BLOCK, 2**31, maker.getrandbits(32)])
                struct.pack_into("=I", ring.memory, at, word)
        for _ in range(4):
            ring.receive()
        for number in range(BLOCKS):  # a huge count of packets may not outlast this turn
            struct.pack_into("=I", ring.memory, number * BLOCK + 8, 0)
        ring.c.left = ring.c.block = 0
        assert ring.stack.top == ring.stack.room
