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
            field |= {"tci": 0, "tpid": 0, "undone": bytes(10), **(odd if last else {})}
            header = struct.pack(
                "=IIIIIIHHIIHH",
                field["next"],
                1,
                i,
                field["snap"],
                field["len"],
                field["status"],
                field["mac"],
                field["mac"] + 14,
                0,
                field["tci"],
                field["tpid"],
                0,
            )
            self.memory[base + at : base + at + len(header)] = header
            start = base + at + MAC
            self.memory[start - 10 : start] = field["undone"]  # struct virtio_net_hdr
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


def test_a_place_that_the_kernel_left_empty_is_passed(ring):
    ring.block(0, [frame(1), frame(2)], status=0)
    ring.block(1, [frame(3)])
    assert ring.receive() == [frame(1), frame(3)]
    assert ring.counters.errors + ring.counters.dropped == 0


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
    assert (ring.counters.errors, sum(ring.counters.drops)) == (1, 1)
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


# -- joined frames ---------------------------------------------------------------------------------

TCPV4, TCPV6, UDP_L4 = 1, 4, 5
STREAM = bytes(range(256)) * 4


def undone(kind=TCPV4, size=100, start=34, offset=16, flags=1):
    return struct.pack("=BBHHHH", flags, kind, 54, size, start, offset)


def joined(version=4, protocol=6, length=1000):
    """A TCP or UDP packet of that many bytes of payload."""
    head = (
        bytes.fromhex("0000000900000001000000005010000000000000")
        if protocol == 6
        else (struct.pack("!HHHH", 5000, 9, 8 + length, 0))
    )
    bytes_ip = len(head) + length
    if version == 4:
        ip = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + bytes_ip, 1, 0, 64, protocol, 0, 1, 2)
    else:
        ip = struct.pack("!IHBB32x", 0x60000000, bytes_ip, protocol, 64)
    kind = b"\x08\x00" if version == 4 else b"\x86\xdd"
    return bytes(12) + kind + ip + head + STREAM[:length]


def test_a_joined_frame_is_cut_up_over_several_bursts(ring):
    ring.block(0, [frame(1), joined()], undone=undone())
    ring.block(1, [frame(3)])
    seen = [frame for _ in range(12) for frame in ring.receive(1)]
    assert [len(frame) for frame in seen] == [60, *[154] * 10, 60]
    assert b"".join(frame[54:] for frame in seen[1:-1]) == STREAM[:1000]
    assert ring.status(0) == 0
    assert ring.receive() == []


def test_without_free_buffers_the_rest_of_a_joined_frame_waits(ring):
    ring.block(0, [joined()], undone=undone())
    top, ring.stack.top = ring.stack.top, 3
    ring.stack.free[0:3] = [5, 6, 7]
    first = [packet[54:] for packet in ring.receive(3)]
    ring.stack.top = 0
    assert ring.receive() == []
    assert ring.status(0) == USER
    ring.stack.top = top
    rest = [packet[54:] for packet in ring.receive()]
    assert b"".join(first + rest) == STREAM[:1000]


def at(offset, text):
    """A joined TCP frame with other bytes there."""
    made = joined()
    return made[:offset] + text + made[offset + len(text) :]


@pytest.mark.parametrize(
    ("packet", "header", "reason"),
    [
        (joined(), undone(size=0), lib.DROP_JOINED),
        (joined(), undone(size=3000), lib.DROP_TOO_LONG),
        (joined(), undone(kind=TCPV6), lib.DROP_JOINED),
        (joined(), undone(kind=UDP_L4), lib.DROP_JOINED),
        (joined(), undone(kind=3), lib.DROP_JOINED),  # UDP to be cut into fragments
        (joined(), undone(kind=0x7F), lib.DROP_JOINED),
        (joined(), undone(start=54), lib.DROP_JOINED),  # inside of a tunnel, say
        (joined(), undone(start=65535), lib.DROP_JOINED),
        (joined(), undone(offset=6), lib.DROP_JOINED),
        (joined(6), undone(), lib.DROP_JOINED),
        (joined(protocol=17), undone(), lib.DROP_JOINED),
        (joined(length=0), undone(), lib.DROP_JOINED),
        (joined()[:54], undone(), lib.DROP_JOINED),
        (joined()[:30], undone(), lib.DROP_JOINED),
        (at(12, b"\x88\xcc"), undone(), lib.DROP_JOINED),  # not IP
        (at(12, b"\x81\0" * 8), undone(), lib.DROP_JOINED),  # tags without end
        (at(14, b"\x44"), undone(), lib.DROP_JOINED),  # a header of 16 bytes
        (at(14, b"\x55"), undone(), lib.DROP_JOINED),
        (at(16, b"\xff\xff"), undone(), lib.DROP_JOINED),  # longer than the frame
        (at(16, b"\x00\x10"), undone(), lib.DROP_JOINED),
        (at(20, b"\x20\x00"), undone(), lib.DROP_JOINED),  # a fragment
        (at(46, b"\x40"), undone(), lib.DROP_JOINED),  # a TCP header of 16 bytes
    ],
)
def test_what_is_no_joined_frame_is_counted_by_reason(ring, packet, header, reason):
    ring.block(0, [frame(1), packet], undone=header)
    ring.block(1, [frame(3)])
    assert ring.receive() == [frame(1), frame(3)]
    assert ring.counters.drops[reason] == sum(ring.counters.drops) == 1
    assert ring.stack.top == ring.stack.room


@pytest.mark.parametrize("chain", [b"\x00\xff", b"\x3c\x00" * 90, b"\x2c\0"])
def test_extension_headers_end_where_the_packet_does(ring, chain):
    packet = joined(6)
    packet = packet[:20] + chain[:1] + packet[21:54] + chain + packet[54 + len(chain) :]
    ring.block(0, [packet], undone=undone(kind=TCPV6, start=54))
    ring.receive()
    assert ring.counters.drops[lib.DROP_JOINED] == 1


@pytest.mark.parametrize("place", [(65535, 65535), (1050, 16), (0, 1053), (1053, 0)])
def test_a_checksum_outside_of_the_frame_is_counted(ring, place):
    ring.block(0, [joined()], undone=undone(0, 0, *place))
    assert ring.receive() == []
    assert ring.counters.drops[lib.DROP_BAD_CHECKSUM] == 1


def test_packets_that_begin_with_ip_get_a_header(ring):
    ring.c.ifindex, ring.c.macs = 3, bytes(range(1, 13))
    plain, head = [joined()[14:], joined(6)[14:], bytes([0x55]) * 30, b""], bytes(range(1, 13))
    ring.block(0, plain)
    ring.block(1, [joined()[14:]], undone=undone(start=20, size=500))
    seen = ring.receive()
    assert [frame[:14] for frame in seen[:2]] == [head + b"\x08\x00", head + b"\x86\xdd"]
    assert [frame[14:] for frame in seen[:2]] == plain[:2]
    assert [len(frame) for frame in seen[2:]] == [554, 554]
    assert seen[2][54:] + seen[3][54:] == STREAM[:1000]
    assert ring.counters.drops[lib.DROP_NOT_IP] == sum(ring.counters.drops) == 2


@pytest.mark.parametrize("ifindex", [0, 7])
def test_joined_frames_from_anybody_do_no_harm(ring, ifindex):
    maker, ring.c.ifindex = random.Random(2), ifindex
    kinds = [TCPV4, TCPV4 | 0x80, TCPV6, UDP_L4, 0, 3, 0x81]
    for _ in range(6000):
        version = maker.choice([4, 6])
        packet = bytearray(joined(version, maker.choice([6, 17, 132]), maker.randrange(3000)))
        for _ in range(maker.randrange(4)):
            packet[maker.randrange(12, min(len(packet), 90))] = maker.choice(
                [0, 1, 6, 17, 43, 44, 60, 0x40, 0x45, 0x4F, 0x60, 0x81, 0xFF, maker.randrange(256)]
            )
        start = 34 if version == 4 else 54
        if ifindex:
            packet, start = packet[14:], start - 14
        header = undone(
            maker.choice(kinds),
            maker.choice([0, 1, 7, 100, 1400, 1500, 65535]),
            maker.choice([start, start, maker.randrange(65536)]),
            maker.choice([16, 6, 8, maker.randrange(65536)]),
            maker.choice([0, 1, 2]),
        )
        status = USER | maker.choice([0, 0x10, 0x50])
        number = int(ring.c.block)
        ring.block(
            number,
            [packet[: maker.choice([len(packet), maker.randrange(14, 80)])]],
            undone=header,
            status=status,
        )
        while ring.status(number):
            ring.receive()
    assert ring.stack.top == ring.stack.room
    assert ring.counters.packets > 1000
