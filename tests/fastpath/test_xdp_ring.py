# SPDX-License-Identifier: Apache-2.0
"""xdp_rx and xdp_tx on rings that the test fills: the test plays the kernel, also a mad one."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket

import pytest

from tests.support.queue_rig import QueueRig
from uspnet.fastpath import ffi, lib
from uspnet.telemetry import REASONS

SLOTS, HEADROOM, CONTINUES = 64, 256, 1


class Ring:
    """One direction of a queue; `chunks`: of 2 KiB, a buffer."""

    def __init__(self, way, chunks=1, buffers=256):
        self.rig = QueueRig(buffers, chunks * 2048 - 448, 2 * SLOTS)
        assert self.rig.pool.size == chunks * 2048
        self.c = self.rig.queue("xdp_queue", f"xdp_{way}")
        self.positions = self.rig.new("uint32_t[6]")
        for number, ring in enumerate((self.c.frames, self.c.buffers)):
            ring.producer, ring.consumer, ring.flags = (
                self.positions + 3 * number + place for place in range(3)
            )
            ring.slots = ffi.cast("uint8_t *", self.rig.memory("xdp_slot", SLOTS))
        self.frames = ffi.cast("struct xdp_slot *", self.c.frames.slots)
        self.buffers = ffi.cast("uint64_t *", self.c.buffers.slots)
        self.c.owners = self.rig.new("uint32_t[]", buffers)
        self.c.n_owners, self.c.size, self.c.limit = buffers, SLOTS, 9018
        self.c.chunk_shift, self.c.n_chunks, self.c.fd = 11, chunks, -1
        self.way, self.seen = way, 0
        if way == "rx":
            lib.xdp_fill(self.c)

    # -- as the kernel ---------------------------------------------------------------------------

    def take_buffer(self):
        """The next buffer of the fill ring."""
        address = self.buffers[self.seen % SLOTS]
        self.seen += 1
        self.c.buffers.consumer[0] = self.seen
        return address

    def deliver(self, address, data, options=0, length=None):
        """Hands over a frame, or a piece of one."""
        at = self.c.frames.producer[0]
        length = len(data) if length is None else length
        self.frames[at % SLOTS] = (address, length, options)
        if address + len(data) <= len(self.rig.pool.memory.map):
            self.rig.store(address, data)
        self.c.frames.producer[0] = at + 1

    def arrive(self, data, options=0):
        self.deliver(self.take_buffer() + HEADROOM, data, options)

    def sent(self):
        """Takes what is in the transmit ring; descriptors."""
        found = []
        while self.c.frames.consumer[0] != self.c.frames.producer[0]:
            slot = self.frames[self.c.frames.consumer[0] % SLOTS]
            found.append((slot.address, slot.length, slot.options))
            self.c.frames.consumer[0] += 1
        return found

    def complete(self, address):
        at = self.c.buffers.producer[0]
        self.buffers[at % SLOTS] = address
        self.c.buffers.producer[0] = at + 1

    # -- as a loop -------------------------------------------------------------------------------

    def owned(self):
        """The buffers that the kernel has, as the queue knows."""
        return {index for index in range(self.c.n_owners) if self.c.owners[index]}

    def drops(self):
        drops = self.c.q.counters.drops
        return {name: drops[at] for name, at in REASONS.items() if drops[at]}


@pytest.fixture
def make():
    made = []

    def ring(*what, **more):
        made.append(Ring(*what, **more))
        return made[-1]

    yield ring
    for each in made:
        each.rig.pool.close()


def test_frames_are_taken_in_order_round_and_round(make):
    ring = make("rx")
    for turn in range(10 * SLOTS):
        sent = [bytes([turn % 256, n]) * (7 + n) for n in range(turn % 5)]
        for frame in sent:
            ring.arrive(frame)
        assert ring.rig.frames_of(ring.c) == sent
        assert ring.rig.held == len(ring.owned()) <= SLOTS
    assert ring.c.q.counters.packets == 10 * SLOTS // 5 * 10
    assert ring.c.q.fault == 0


def test_a_frame_in_pieces_is_joined(make):
    ring = make("rx", chunks=5)
    whole = random.Random(1).randbytes(9014)
    for length in (9014, 1793, 3584):
        pieces = [whole[at : min(at + 1792, length)] for at in range(0, length, 1792)]
        for number, piece in enumerate(pieces):
            ring.arrive(piece, CONTINUES * (number + 1 < len(pieces)))
        seen = [frame for _ in pieces for frame in ring.rig.frames_of(ring.c, 1)]
        assert seen == [whole[:length]]
    assert ring.drops() == {}


def test_pieces_for_which_a_buffer_has_no_room_are_dropped(make):
    ring = make("rx", chunks=2)
    for more in (1, 1, 0):
        ring.arrive(bytes(1792), CONTINUES * more)
    ring.arrive(bytes(60))
    ring.arrive(bytes(13))
    assert ring.rig.frames_of(ring.c) == [bytes(60)]
    assert ring.drops() == {"too_long": 1, "too_short": 1}
    assert ring.rig.held == len(ring.owned())


@pytest.mark.parametrize(
    "address", [1 << 20, (1 << 64) - 1, 1 << 43, 256 * 2048, "not given", "twice"]
)
def test_an_address_that_the_kernel_did_not_have_is_a_fault(make, address):
    ring = make("rx")
    mine = ring.take_buffer()
    if address == "not given":
        address = next(n for n in range(256) if not ring.c.owners[n]) * 2048
    elif address == "twice":
        ring.deliver(mine + HEADROOM, bytes(60))
        address = mine
    ring.deliver(address, b"", length=60)
    ring.rig.frames_of(ring.c)
    assert ring.c.q.fault == lib.FAULT_RING
    ring.arrive(bytes(60))
    assert ring.rig.frames_of(ring.c) == []


@pytest.mark.parametrize(("offset", "length"), [(0, 2049), (256, 1793), (2047, 14), (0, 1 << 31)])
def test_a_frame_outside_of_its_chunk_is_dropped(make, offset, length):
    ring = make("rx", chunks=2)
    ring.deliver(ring.take_buffer() + offset, b"", length=length)
    assert ring.rig.frames_of(ring.c) == []
    assert ring.drops() == {"bad_length": 1}
    assert ring.rig.held == len(ring.owned())


def test_a_length_and_options_that_overflow_are_dropped(make):
    ring = make("rx")
    at = ring.take_buffer() + HEADROOM
    ring.deliver(at, b"", options=0xFFFFFFFF, length=(1 << 32) - HEADROOM)
    assert ring.rig.frames_of(ring.c) == []
    assert ring.drops() == {"bad_length": 1}


def test_what_is_wrong_amid_a_burst_stops_nothing(make):
    """Wherever it is, also around the ring's end; the rest comes in order."""
    rx, tx, rand, wrong = make("rx"), make("tx"), random.Random(4), [0, 0]
    for turn in range(200):
        count = min(rand.randint(1, 48), rx.c.given - rx.seen)
        lengths = [rand.choice([13, 14, 60, 60, 60, 1519]) for _ in range(count)]
        frames = [bytes([turn, n % 256]) * 40 for n in lengths]
        for n, frame in zip(lengths, frames, strict=True):
            rx.deliver(rx.take_buffer() + HEADROOM, frame[:n], length=n if n < 1519 else 1793)
        good = [frame[:n] for n, frame in zip(lengths, frames, strict=True) if 13 < n < 1519]
        assert rx.rig.frames_of(rx.c, 64) == good
        wrong[0] += len(lengths) - len(good)

        tx.c.limit = 1518
        assert tx.rig.offer(tx.c, lengths) == len(lengths)
        sent = tx.sent()
        assert [length for _, length, _ in sent] == [n for n in lengths if 13 < n < 1519]
        wrong[1] += len(lengths) - len(sent)
        for address, _, _ in sent:
            tx.complete(address)
        tx.rig.offer(tx.c, [])
    assert [sum(each.drops().values()) for each in (rx, tx)] == wrong
    assert (rx.c.q.fault, tx.c.q.fault, tx.rig.held, rx.rig.held) == (0, 0, 0, len(rx.owned()))


@pytest.mark.parametrize("way", ["rx", "tx"])
def test_a_position_beyond_the_ring_is_a_fault(make, way):
    ring = make(way)
    (ring.c.frames if way == "rx" else ring.c.buffers).producer[0] = SLOTS + 1
    ring.rig.offer(ring.c, []) if way == "tx" else ring.rig.frames_of(ring.c)
    assert ring.c.q.fault == lib.FAULT_RING


def test_buffers_come_back_in_any_order(make):
    ring, rand, out = make("tx"), random.Random(2), []
    for _ in range(300):
        taken = ring.rig.offer(ring.c, [60] * rand.randint(0, 32))
        fresh = ring.sent()
        assert len(fresh) == taken
        out += fresh
        assert ring.rig.held == len(out) <= SLOTS
        rand.shuffle(out)
        for _ in range(rand.randint(0, len(out))):
            ring.complete(out.pop()[0])
        ring.rig.offer(ring.c, [])
    assert ring.c.q.fault == 0


def test_a_frame_is_sent_in_as_many_pieces_as_it_touches_chunks(make):
    ring = make("tx", chunks=5)
    for offset, length in ((0, 2048), (0, 2049), (448, 9014), (2047, 14), (2000, 1000)):
        assert ring.rig.offer(ring.c, [length], offset) == 1
        pieces = ring.sent()
        assert sum(size for _, size, _ in pieces) == length
        assert pieces[0][0] % 10240 == offset
        for (address, size, more), (then, _, _) in itertools.pairwise(pieces):
            assert (address + size, more, then % 2048) == (then, CONTINUES, 0)
        assert pieces[-1][2] == 0
        for address, _, _ in pieces:
            assert ring.rig.held == 1
            ring.complete(address)
            ring.rig.offer(ring.c, [])
        assert ring.rig.held == 0
    assert ring.c.q.counters.packets == 5


def test_it_says_whether_the_kernel_has_to_be_asked_again(make):
    """As when a socket's send buffer is full: nobody says when it has room again."""
    ring, (ours, theirs) = make("tx"), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    queue = ffi.cast("struct queue *", ring.c)
    with ours, theirs:
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"")
        ring.c.fd, ring.c.always_wake = ours.fileno(), 1
        assert ring.rig.offer(ring.c, [60] * 3) == 3
        assert lib.xdp_flush(queue)
        assert len(ring.sent()) == 3
        assert not lib.xdp_flush(queue)
    assert not ring.c.q.fault


def test_lengths_that_cant_be_sent_are_dropped(make):
    ring = make("tx", chunks=5)
    assert ring.rig.offer(ring.c, [13, 9019, 9018]) == 3
    assert ring.drops() == {"too_short": 1, "too_long": 1}
    assert ring.c.q.counters.packets == 1


@pytest.mark.parametrize("address", [1 << 20, 1 << 60, 0])
def test_a_completion_of_nothing_is_a_fault(make, address):
    ring = make("tx")
    ring.complete(address)
    ring.rig.offer(ring.c, [])
    assert ring.c.q.fault == lib.FAULT_RING


@pytest.mark.parametrize("chunks", [1, 5])
def test_after_the_end_of_a_worker_all_buffers_are_found(make, chunks):
    """Whatever it had written and not published, or taken and not released."""
    rand = random.Random(3)
    for _ in range(100):
        rx, tx = make("rx", chunks), make("tx", chunks)
        for _ in range(rand.randint(0, 40)):
            rx.arrive(bytes(60))
        kernels = {rx.buffers[at % SLOTS] // rx.rig.pool.size for at in range(rx.seen, SLOTS)}
        waiting = [rx.frames[at].address // rx.rig.pool.size for at in range(rx.seen)]
        for index in waiting[: rand.randint(0, 40)]:
            rx.c.owners[index] = 0  # taken, when it ended
        lib.xdp_revive(rx.c, 1)
        assert rx.owned() == kernels | set(waiting)
        if waiting:
            rx.rig.stack.top = 256 - len(rx.owned())
            assert len(rx.rig.frames_of(rx.c, 64)) == len(waiting)

        tx.rig.offer(tx.c, [60] * rand.randint(0, 32))
        out = tx.sent()
        for address, _, _ in out[: rand.randint(0, 32)]:
            tx.complete(address)
        left = {address // tx.rig.pool.size for address, _, _ in out} - {
            tx.buffers[at] // tx.rig.pool.size for at in range(tx.c.buffers.producer[0])
        }
        fresh = next(n for n in range(256) if not tx.c.owners[n])
        published = tx.c.frames.producer[0]
        tx.c.owners[fresh] = published + rand.randint(0, 31) << 8 | 1  # written, not published
        lib.xdp_revive(tx.c, 0)
        assert tx.owned() == left
        assert (rx.c.q.fault, tx.c.q.fault) == (0, 0)
        for ring in (rx, tx):
            ring.rig.pool.close()
            ring.rig.pool.close = lambda: None
