# SPDX-License-Identifier: Apache-2.0
"""Virtqueues, split and packed: the test is the device, on the same memory, honest or not.

size: both rings stand side by side, so that the same lies are told to each.
"""

import struct

import pytest

from tests.support.queue_rig import DESCRIPTOR, QueueRig
from uspnet.fastpath import ffi, lib
from uspnet.nic.virtio import Layout, Ring
from uspnet.transports import Dma

SIZE = 64
HEADER = 12
BASE = 1 << 32  # where the device sees the pool
RINGS = 2 << 32  # and the rings
NEXT, WRITE, AVAILABLE, USED, QUIET = 1, 2, 1 << 7, 1 << 15, 1


class SplitDevice:
    """The other end of a split ring: takes chains and gives them back."""

    def __init__(self, ring):
        self.ring, self.c = ring, ring.c
        self.seen = 0
        self.taken = []

    def take(self):
        """The chains that are available: (id, descriptors)."""
        got = []
        while self.seen != self.c.available.index:
            head = self.c.available.ring[self.seen % SIZE]
            self.seen = (self.seen + 1) % 65536
            got.append((head, self.chain(head)))
        return got

    def chain(self, head):
        pieces, more = [], True
        while more:
            d = self.c.descriptors[head]
            length, flags, head = struct.unpack("<IHH", d.word.to_bytes(8, "little"))
            pieces.append((d.address, length, flags))
            more = flags & NEXT
        return pieces

    def give(self, number, length=0, skip=1):
        """`skip`: how many chains this one stands for."""
        used = self.c.used
        used.ring[used.index % SIZE].id, used.ring[used.index % SIZE].length = number, length
        used.index = (used.index + skip) % 65536

    def quiet(self, on):
        self.c.used.flags = on


class PackedDevice:
    """The other end of a packed ring."""

    def __init__(self, ring):
        self.ring, self.c = ring, ring.c
        self.at, self.next = 0, 0  # positions of descriptors: to take, and to give back

    def _sense(self, position):
        return 1 - position // SIZE % 2

    def take(self):
        got, pieces = [], []
        while True:
            d = self.c.descriptors[self.at % SIZE]
            length, number, flags = struct.unpack("<IHH", d.word.to_bytes(8, "little"))
            sense = self._sense(self.at)
            if bool(flags & AVAILABLE) != sense or bool(flags & USED) == sense:
                return got
            self.at += 1
            pieces.append((d.address, length, flags & (NEXT | WRITE)))
            if not flags & NEXT:
                got.append((number, pieces))
                pieces = []

    def give(self, number, length=0, skip=1, sense=None):
        sense = self._sense(self.next) if sense is None else sense
        flags = AVAILABLE | USED if sense else 0
        word = struct.pack("<IHH", length, number, flags)
        self.c.descriptors[self.next % SIZE].word = int.from_bytes(word, "little")
        self.next += skip * self.c.descs_per_chain

    def quiet(self, on):
        self.c.theirs.flags = on


class Bench(QueueRig):
    """A ring of each direction."""

    def __init__(self, *, packed, merges=0, in_order=0):
        self.packed = packed
        layout = Layout(SIZE, packed)
        super().__init__(512, 1534, (2 * layout.bytes + 8192) // DESCRIPTOR)
        self.bells = ffi.new("uint16_t[2]", [99, 99])
        self.rx, self.tx = (self.ring(layout, i) for i in range(2))
        self.rx.c.limit, self.rx.c.merges, self.rx.c.in_order = self.pool.room, merges, in_order
        self.tx.c.limit, self.tx.c.in_order = 1522, in_order
        device = PackedDevice if packed else SplitDevice
        self.rx_device, self.tx_device = device(self.rx), device(self.tx)
        assert self.rx.call("fill", 1) == 0
        assert self.tx.call("fill", 0) == 0

    def ring(self, layout, number):
        offset = self.pool.reserve(layout.bytes)
        memory = Dma(self.pool.rings.base + offset, RINGS + offset, layout.bytes)
        ring = Ring(layout, memory, double=number == 1)
        c = ring.c
        way = ("rx", "tx")[number]
        self.adopt(c, f"virtq_{'packed_' if self.packed else ''}{way}")
        c.bell.mmio, c.bell.bytes = self.bells + number, 2
        c.dma_base, c.number = BASE, number
        return ring

    def receive(self, n=32):
        return [bytes(self.data(p)) for p in self.received(n)]

    def received(self, n=32):
        """Packets, whose buffers are given back at once."""
        got = self.packets_of(self.rx.c, n)
        for packet in got:
            self.push(packet.index)
        return got

    def data(self, packet):
        at = packet.index * self.pool.size + packet.offset
        return self.pool.memory.map[at : at + packet.length]

    def send(self, lengths):
        return self.offer(self.tx.c, lengths, 64)

    def write(self, chain, content):
        """The device fills the only buffer of a chain."""
        number, ((address, length, flags),) = chain
        assert flags == WRITE
        assert len(content) <= length
        self.store(address - BASE, content)
        return number, len(content)

    def deliver(self, chain, frame, pieces=1):
        content = bytes(10) + struct.pack("<H", pieces) + frame
        self.rx_device.give(*self.write(chain, content))

    @property
    def fault(self):
        return self.rx.c.q.fault or self.tx.c.q.fault


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def packed(request):
    return request.param


@pytest.fixture
def make(packed):
    made = []

    def build(**more):
        made.append(Bench(packed=packed, **more))
        return made[-1]

    yield build
    for each in made:
        each.pool.close()


@pytest.fixture
def bench(make):
    return make()


def frame(number, size=100):
    return number.to_bytes(4, "big") * (size // 4)


# -- receive -------------------------------------------------------------------------------------


def test_an_empty_ring_gives_nothing(bench):
    assert bench.receive() == []
    assert bench.held == SIZE
    assert len(bench.rx_device.take()) == SIZE


def test_frames_come_in_order_around_the_ring(bench):
    waiting = []
    for number in range(3 * 65536 // SIZE):  # further than 16-bit indices go
        waiting += bench.rx_device.take()
        assert len(waiting) == SIZE
        chains, waiting = waiting[:SIZE], waiting[SIZE:]
        for i, chain in enumerate(chains):
            bench.deliver(chain, frame(number * SIZE + i))
        got = bench.receive(64)
        assert got == [frame(number * SIZE + i) for i in range(SIZE)]
    assert bench.held == SIZE
    assert bench.rx.c.q.counters.errors == 0
    assert not bench.fault


def test_the_net_header_is_in_front_of_the_frame(bench):
    (chain, *_) = bench.rx_device.take()
    address = chain[1][0][0] - BASE
    bench.deliver(chain, frame(1))
    (packet,) = bench.received()
    assert packet.index * bench.pool.size + packet.offset == address + HEADER


def test_buffers_may_come_back_in_any_order(bench):
    chains = bench.rx_device.take()
    for number in (5, 3, 60, 0):
        bench.deliver(chains[number], frame(number))
    assert bench.receive() == [frame(number) for number in (5, 3, 60, 0)]
    again = bench.rx_device.take()
    assert sorted(number for number, _ in again) == [0, 3, 5, 60]
    bench.deliver(again[0], frame(7))
    assert bench.receive() == [frame(7)]


def test_a_burst_may_begin_in_order_and_go_on_otherwise(bench):
    number, rest = 0, []
    for _ in range(5 * SIZE):
        chains = [*rest, *bench.rx_device.take()]
        chains[4:8] = reversed(chains[4:8])
        burst, rest = chains[:11], chains[11:]
        for i, chain in enumerate(burst):
            bench.deliver(chain, frame(number + i))
        got = bench.receive()
        got += bench.receive()  # the ring's end parts them
        assert got == [frame(number + i) for i in range(11)]
        number += 11
        assert bench.held == SIZE
    assert not bench.fault


@pytest.mark.parametrize("length", [0, 1, 12, 25, 1601, 0xFFFF, 0x10064, 0xFFFFFFFF])
def test_a_bad_length_is_counted_and_the_buffer_comes_back(bench, length):
    chains = bench.rx_device.take()
    bench.rx_device.give(chains[0][0], length)
    bench.deliver(chains[1], frame(1))
    assert bench.receive() == [frame(1)]
    assert bench.rx.c.q.counters.errors == 1
    assert bench.held == SIZE
    assert not bench.fault


@pytest.mark.parametrize("number", [SIZE, 0xFFFF, 0x10000, 0xFFFFFFFF])
def test_an_id_that_does_not_exist_is_a_fault(bench, packed, number):
    bench.rx_device.take()
    bench.rx_device.give(min(number, 0xFFFF) if packed else number, 100)
    assert bench.receive() == []
    assert bench.fault == lib.FAULT_RING
    assert bench.held == SIZE


def test_a_buffer_given_back_twice_is_a_fault(bench):
    chains = bench.rx_device.take()
    bench.deliver(chains[4], frame(4))
    bench.deliver(chains[4], frame(5))
    assert len(bench.receive()) == 1
    assert bench.fault == lib.FAULT_RING
    assert bench.held == SIZE
    assert bench.receive() == []
    lib.virtq_empty(bench.rx.c)
    assert bench.held == 0


def test_without_free_buffers_the_ring_keeps_its_own(bench):
    chains = bench.rx_device.take()
    top, bench.stack.top = bench.stack.top, 0
    bench.deliver(chains[0], frame(0))
    assert bench.receive() == []
    bench.stack.top = top
    assert bench.receive() == [frame(0)]


def test_too_few_buffers_are_noticed_and_none_is_lost(bench):
    lib.virtq_empty(bench.rx.c)
    rest, bench.stack.top = bench.stack.top, 10
    assert bench.rx.call("fill", 1) != 0
    lib.virtq_empty(bench.rx.c)
    assert bench.stack.top == 10
    bench.stack.top = rest


# -- frames in several buffers -------------------------------------------------------------------


def test_pieces_are_joined_also_across_bursts(make):
    bench = make(merges=1)
    chains = bench.rx_device.take()
    bench.deliver(chains[0], b"a" * 600, pieces=3)
    assert bench.receive() == []
    bench.rx_device.give(*bench.write(chains[1], b"b" * 500))
    assert bench.receive() == []
    bench.rx_device.give(*bench.write(chains[2], b"c" * 7))
    bench.deliver(chains[3], frame(3))
    assert bench.receive() == [b"a" * 600 + b"b" * 500 + b"c" * 7, frame(3)]
    assert bench.held == SIZE


@pytest.mark.parametrize("pieces", [0, SIZE + 1, 0xFFFF])
def test_a_frame_of_no_or_too_many_pieces_is_one_error(make, pieces):
    bench = make(merges=1)
    chains = bench.rx_device.take()
    bench.deliver(chains[0], frame(0), pieces=pieces)
    bench.deliver(chains[1], frame(1))
    assert bench.receive() == [frame(1)]
    assert bench.rx.c.q.counters.errors == 1
    assert bench.held == SIZE


@pytest.mark.parametrize("lengths", [(100, 0), (100, 0xFFFFFFFF), (1500, 500), (100, 1601)])
def test_a_bad_piece_spoils_its_frame_alone(make, lengths):
    bench = make(merges=1)
    chains = bench.rx_device.take()
    bench.deliver(chains[0], b"a" * lengths[0], pieces=3)
    bench.rx_device.give(chains[1][0], lengths[1])
    bench.rx_device.give(chains[2][0], 50)
    bench.deliver(chains[3], frame(3))
    assert bench.receive() == [frame(3)]
    assert bench.rx.c.q.counters.errors == 1
    assert bench.held == SIZE


def test_a_frame_that_never_ends_holds_one_buffer(make):
    bench = make(merges=1)
    bench.deliver(bench.rx_device.take()[0], frame(0), pieces=2)
    assert bench.receive() == []
    assert bench.held == SIZE + 1
    lib.virtq_empty(bench.rx.c)
    assert bench.held == 0


def test_without_merging_the_header_is_not_looked_at(bench):
    bench.deliver(bench.rx_device.take()[0], frame(0), pieces=7)
    assert bench.receive() == [frame(0)]


# -- transmit ------------------------------------------------------------------------------------


def test_a_packet_is_a_header_and_a_frame(bench):
    assert bench.send([100]) == 1
    ((_, (header, body)),) = bench.tx_device.take()
    at = header[0] - RINGS
    assert bench.pool.rings.map[at : at + HEADER] == bytes(HEADER)
    assert header[1:] == (HEADER, NEXT)
    assert body[1:] == (100, 0)
    assert (body[0] - BASE) % bench.pool.size == 64


def test_packets_go_out_around_the_ring(bench):
    for number in range(3 * 65536 // 32):
        assert bench.send([60 + number % 7] * 32) == 32
        chains = bench.tx_device.take()
        assert [pieces[1][1] for _, pieces in chains] == [60 + number % 7] * 32
        for chain, _ in chains:
            bench.tx_device.give(chain)
        assert bench.tx.call("clean") == 0
    assert bench.held == SIZE
    assert not bench.fault


def test_a_full_ring_takes_no_more(bench):
    assert bench.send([100] * 40) == SIZE // 2
    assert bench.send([100]) == 0
    chain, _ = bench.tx_device.take()[0]
    bench.tx_device.give(chain)
    assert bench.send([100] * 2) == 1
    assert bench.held == SIZE + SIZE // 2


def test_sent_packets_may_come_back_in_any_order(bench):
    for _ in range(5):
        bench.send([100] * 20)
        for chain, _ in reversed(bench.tx_device.take()):
            bench.tx_device.give(chain)
        assert bench.tx.call("clean") == 0
    assert bench.held == SIZE


def test_a_packet_that_comes_back_late_holds_others_up_but_not_for_ever(bench):
    bench.send([100] * 32)
    first, *others = [chain for chain, _ in bench.tx_device.take()]
    for chain in others:
        bench.tx_device.give(chain)
    assert bench.tx.call("clean") == 1
    assert bench.send([100]) == 0, "the next id is still out"
    bench.tx_device.give(first)
    assert bench.send([100] * 3) == 3
    assert bench.held == SIZE + 3


def test_an_in_order_device_may_report_a_batch_by_its_last(make):
    bench = make(in_order=1)
    for count in (20, 1, 30, 17):
        bench.send([100] * count)
        chains = bench.tx_device.take()
        bench.tx_device.give(chains[-1][0], skip=len(chains))
        assert bench.tx.call("clean") == 0
    assert bench.held == SIZE
    assert not bench.fault


def test_an_in_order_batch_that_was_not_sent_is_a_fault(make):
    bench = make(in_order=1)
    bench.send([100] * 4)
    bench.tx_device.give(bench.tx_device.take()[-1][0] + (5 if bench.packed else 10), skip=4)
    bench.tx.call("clean")
    assert bench.fault == lib.FAULT_RING
    lib.virtq_empty(bench.tx.c)
    assert bench.held == SIZE


@pytest.mark.parametrize("wrong", ["never sent", "twice", "again in its place", "beyond the ring"])
def test_a_report_of_what_is_not_there_is_a_fault(bench, wrong):
    bench.send([100] * 4)
    chains = [chain for chain, _ in bench.tx_device.take()]
    numbers = {
        "never sent": [40],
        "twice": [chains[0]] * 2,
        "again in its place": [chains[1]] * 2,
        "beyond the ring": [0xFFFF],
    }
    for number in numbers[wrong]:
        bench.tx_device.give(number)
    bench.tx.call("clean")
    assert bench.fault == lib.FAULT_RING
    lib.virtq_empty(bench.tx.c)
    assert bench.held == SIZE
    assert bench.send([100] * 64) <= SIZE // 2, "and nothing is written out of bounds"


def test_unsendable_packets_are_counted_and_returned(bench):
    assert bench.send([13, 60, 1523]) == 3
    assert bench.tx.c.q.counters.errors == 2
    assert bench.tx.c.q.counters.packets == 1
    assert bench.held == SIZE + 1


def test_emptying_gives_back_what_was_on_its_way(bench):
    bench.send([100] * 20)
    lib.virtq_empty(bench.tx.c)
    lib.virtq_empty(bench.rx.c)
    assert bench.held == 0


# -- doorbells -----------------------------------------------------------------------------------


def test_the_doorbell_rings_once_a_burst_if_it_is_wanted(bench):
    bench.send([100] * 5)
    assert bench.bells[1] == 1
    assert bench.tx.c.q.counters.doorbells == 1
    bench.tx_device.quiet(QUIET)
    bench.send([100] * 5)
    assert bench.tx.c.q.counters.doorbells == 1
    bench.deliver(bench.rx_device.take()[0], frame(0))
    bench.receive()
    assert bench.bells[0] == 0


def test_a_doorbell_may_tell_how_far_the_ring_is(bench):
    told = ffi.new("uint32_t *")
    bench.tx.c.bell.mmio, bench.tx.c.bell.bytes, bench.tx.c.notification_data = told, 4, 1
    bench.send([100] * 5)
    assert told[0] == ((10 | 1 << 15 if bench.packed else 5) << 16 | 1)


def test_we_want_no_notifications(bench):
    flags = bench.rx.c.ours.flags if bench.packed else bench.rx.c.available.flags
    assert flags == QUIET


# -- what only one format can get wrong ----------------------------------------------------------


@pytest.mark.parametrize("jump", [SIZE + 1, 0x8000, 0xFFFF])
def test_a_used_index_that_jumps_is_a_fault(jump):
    bench = Bench(packed=False)
    bench.rx.c.used.index = jump
    assert bench.receive() == []
    assert bench.rx.c.q.fault == lib.FAULT_RING
    bench.send([100] * 4)
    bench.tx.c.used.index = jump
    assert bench.tx.call("clean") == 4
    assert bench.tx.c.q.fault == lib.FAULT_RING
    bench.pool.close()


def test_an_odd_head_is_a_fault():
    bench = Bench(packed=False)
    bench.send([100] * 4)
    bench.tx_device.give(1)
    bench.tx.call("clean")
    assert bench.fault == lib.FAULT_RING
    bench.pool.close()


def test_the_wrong_sense_of_flags_means_not_yet():
    bench = Bench(packed=True)
    bench.rx_device.take()
    bench.rx_device.give(0, 100, sense=0)
    assert bench.receive() == []
    bench.rx_device.next = 0
    bench.rx_device.give(0, 100)
    assert len(bench.receive()) == 1
    assert not bench.fault
    bench.pool.close()
