# SPDX-License-Identifier: Apache-2.0
"""VMXNET3's rings: the test is the device, on the same memory, honest or not.

size: two kinds of ring, and every lie that a device can tell about them.
"""

import random

import pytest

from tests.support.queue_rig import QueueRig
from uspnet.fastpath import lib

SIZE = 32
LAST, FIRST, BAD = 1 << 14, 1 << 15, 1 << 14
WHOLE = FIRST | LAST
GENERATION = 1 << 63
REPORT, RX_GENERATION, RX_BODY, TX_GENERATION = 1 << 45, 1 << 31, 1 << 14, 1 << 14
BASE = 1 << 32


class Device:
    """The device's side: where it is in each ring, and the generation it expects."""

    def __init__(self, queue):
        self.queue, self.completed = queue, 0
        self.taken = [0, 0]

    def complete(self, low, high):
        size = self.queue.completions_size
        at = self.queue.completions[self.completed % size]
        lap = self.completed // size % 2
        at.low, at.high = low, high | (0 if lap else GENERATION)
        self.completed += 1

    def take(self, number, bit=RX_GENERATION):
        """The next descriptor and its slot; None when the driver has published no more."""
        ring = self.queue.rings[number]
        slot, lap = self.taken[number] % ring.size, self.taken[number] // ring.size % 2
        descriptor = ring.slots[slot]
        if bool(descriptor.word & bit) == bool(lap):
            return None
        self.taken[number] += 1
        return slot, descriptor


class Bench(QueueRig):
    """One queue of each direction."""

    def __init__(self, frame=1522, limit=None):
        super().__init__(512, frame, 6 * SIZE)
        room = self.pool.room
        self.rx = self.vmxnet3(0, [(SIZE, limit or room)] * 2, 2 * SIZE, "vmxnet3_rx")
        self.tx = self.vmxnet3(2, [(SIZE, room)], SIZE, "vmxnet3_tx")
        self.rx.dma_base = self.tx.dma_base = BASE
        self.wants = self.rx.wants_doorbell = self.new("uint8_t *", 1)
        self.device, self.sender = Device(self.rx), Device(self.tx)
        assert lib.vmxnet3_fill(self.tx, 0) == 0

    def receive(self, n=32):
        return self.packets_of(self.rx, n)

    def take(self, n=32):
        """Receives a burst; the frames as bytes."""
        return self.frames_of(self.rx, n)

    def deliver(self, frame):
        """The device receives a frame, in as many pieces as it takes. False: no descriptor."""
        pieces, number = [], 0
        while frame or not pieces:
            if not (found := self.device.take(number)):
                return False
            slot, descriptor = found
            size = descriptor.word & 0x3FFF
            assert bool(descriptor.word & RX_BODY) == bool(number)
            self.store(descriptor.address - BASE, frame[:size])
            pieces.append((slot, number, len(frame[:size])))
            frame, number = frame[size:], 1
        for i, (slot, number, length) in enumerate(pieces):
            flags = (0 if i else FIRST) | (LAST if i + 1 == len(pieces) else 0)
            self.device.complete(slot | flags | number << 16, length)
        return True

    def send(self, lengths):
        """Offers a burst; returns how many packets were taken."""
        return self.offer(self.tx, lengths)

    def transmit(self, every=False):
        """The device sends what was published; returns the lengths."""
        sent = []
        while found := self.sender.take(0, TX_GENERATION):
            slot, descriptor = found
            sent.append(descriptor.word & 0x3FFF)
            if every or descriptor.word & REPORT:
                self.sender.complete(slot, 0)
        return sent


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.pool.close()


@pytest.fixture
def filled(bench):
    assert lib.vmxnet3_fill(bench.rx, 1) == 0
    return bench


@pytest.fixture
def pieces():
    """Descriptors take 256 bytes each."""
    made = Bench(limit=256)
    assert lib.vmxnet3_fill(made.rx, 1) == 0
    yield made
    made.pool.close()


IN_RINGS = 2 * (SIZE - 1)


def test_an_empty_ring_gives_nothing(filled):
    assert filled.receive() == []
    assert filled.held == IN_RINGS


def test_frames_come_in_order_around_the_ring(filled):
    for number in range(10 * SIZE):
        assert filled.deliver(number.to_bytes(100, "big"))
        assert filled.take() == [number.to_bytes(100, "big")]
    assert filled.rx.q.counters.packets == 10 * SIZE
    assert filled.rx.q.counters.doorbells <= 10 * SIZE // 16
    assert filled.held == IN_RINGS


def test_positions_may_wrap_around_32_bits(filled):
    start = 2**32 - 4 * SIZE  # the first of two laps in every ring
    for queue in (filled.rx, filled.tx):
        queue.completed = start
        for ring in queue.rings:
            ring.next, ring.fill, ring.notified = start, start + ring.fill, start + ring.fill
    for number in range(5 * SIZE):
        assert filled.deliver(number.to_bytes(60, "big"))
        assert filled.take() == [number.to_bytes(60, "big")]
        assert filled.send([60] * 3) == 3
        assert filled.transmit() == [60] * 3
        assert lib.vmxnet3_clean(filled.tx) == 0


def test_the_device_never_owns_the_whole_ring(filled):
    delivered = 0
    while filled.deliver(bytes(100)):
        delivered += 1
    assert delivered == SIZE - 1
    assert len(filled.take()) == SIZE - 1
    assert filled.bells[0] == (2 * (SIZE - 1)) % SIZE


def test_a_device_that_wants_no_doorbell_gets_none(filled):
    filled.wants[0] = 0
    for _ in range(5 * SIZE):
        assert filled.deliver(bytes(100))
        filled.take()
    assert filled.rx.q.counters.doorbells == 0


@pytest.mark.parametrize(
    "length", [0, 13, 0x3FFF, 1601], ids=["empty", "runt", "huge", "beyond the buffer"]
)
def test_a_wrong_length_is_counted(filled, length):
    slot, _ = filled.device.take(0)
    filled.device.complete(slot | WHOLE, length)
    assert filled.deliver(bytes(100))
    assert filled.take() == [bytes(100)]
    assert filled.rx.q.counters.errors == 1
    assert filled.held == IN_RINGS


@pytest.mark.parametrize(
    "low",
    [SIZE - 1, SIZE, 4095, 2 << 16, 1023 << 16, SIZE - 1 | 1 << 16],
    ids=["empty slot", "beyond", "far beyond", "third ring", "no ring", "empty body slot"],
)
def test_a_slot_that_the_device_does_not_have_is_counted(filled, low):
    filled.device.complete(low | WHOLE, 100)
    assert filled.deliver(bytes(100))
    assert filled.take() == [bytes(100)]
    assert filled.rx.q.counters.errors == 1
    assert filled.held == IN_RINGS


def test_bursts_wrap_with_wrong_ones_in_their_middle(filled):
    for number in range(SIZE):
        frames = [bytes([number, i]) * 50 for i in range(6)]
        for i, frame in enumerate(frames):
            assert filled.deliver(frame)
            if i == number % 6:
                slot, _ = filled.device.take(0)
                filled.device.complete(slot | WHOLE, 5)
        assert filled.take() == frames
        assert filled.rx.q.counters.errors == number + 1
    assert filled.held == IN_RINGS


def test_a_slot_is_completed_only_once(filled):
    slot, _ = filled.device.take(0)
    for _ in range(3):
        filled.device.complete(slot | WHOLE, 100)
    assert len(filled.take()) == 1
    assert filled.rx.q.counters.errors == 2
    assert filled.held == IN_RINGS


def test_a_burst_longer_than_the_ring_gives_no_buffer_twice(filled):
    for position in range(2 * SIZE):  # the device has but SIZE - 1 of them at first
        filled.device.complete(position % SIZE | WHOLE, 60)
    got = filled.receive(2 * SIZE)
    assert len({packet.index for packet in got}) == len(got) >= SIZE - 1
    held = [packet.index for packet in got] + list(filled.rx.rings[0].buffers[0 : SIZE - 1])
    assert not set(held) & set(filled.stack.free[0 : filled.stack.top])


def test_skipped_slots_are_given_to_the_device_again(filled):
    for _ in range(5):
        filled.device.take(0)
    for number in range(3 * SIZE):
        assert filled.deliver(number.to_bytes(80, "big"))
        assert filled.take() == [number.to_bytes(80, "big")]
    assert filled.rx.q.counters.errors == 0
    assert filled.held == IN_RINGS
    assert len(set(filled.rx.rings[0].buffers[0:SIZE])) >= SIZE - 1


def test_an_old_generation_is_no_completion(filled):
    for number in range(3 * SIZE):
        assert filled.deliver(bytes(100))
        filled.take()
        assert filled.receive() == [], number


def test_what_the_device_marks_as_bad_is_dropped(filled):
    slot, _ = filled.device.take(0)
    filled.device.complete(slot | WHOLE, 100 | BAD)
    assert filled.take() == []
    assert (filled.rx.rx_bad, filled.rx.q.counters.drops[lib.DROP_BAD_FRAME]) == (1, 1)
    assert filled.held == IN_RINGS


def test_pieces_are_joined(pieces):
    frames = [bytes([i]) * (60 + 17 * i) for i in range(80)]
    for frame in frames:
        assert pieces.deliver(frame)
        assert pieces.take() == [frame]
    assert pieces.rx.q.counters.errors == 0
    assert pieces.held == IN_RINGS


def test_pieces_of_a_frame_may_come_in_several_bursts(pieces):
    assert pieces.deliver(b"x" * 1000)
    got = [frame for _ in range(4) for frame in pieces.take(1)]
    assert got == [b"x" * 1000]


def complete(bench, number, flags, length=256):
    slot, _ = bench.device.take(number)
    bench.device.complete(slot | flags | number << 16, length)


@pytest.mark.parametrize(
    ("chain", "errors"),
    [
        ([(1, LAST)], 1),
        ([(1, 0), (1, LAST)], 2),
        ([(0, LAST)], 1),
        ([(1, WHOLE)], 1),
        ([(0, FIRST), (0, LAST)], 1),
        ([(0, FIRST), (0, WHOLE)], 1),
        ([(0, FIRST), (1, 0), (0, FIRST), (1, LAST)], 1),
        ([(0, FIRST), *[(1, 0)] * 20, (1, LAST)], 1),
    ],
    ids=[
        "no beginning",
        "no beginning, two pieces",
        "an end in the first ring",
        "a beginning in the second ring",
        "a second piece in the first ring",
        "no end, then a whole frame",
        "no end, then another chain",
        "longer than a buffer",
    ],
)
def test_chains_that_make_no_sense_are_counted(pieces, chain, errors):
    for number, flags in chain:
        complete(pieces, number, flags)
    good = len(pieces.take())
    assert good == (len([1 for _, flags in chain if flags & FIRST]) > 1)
    assert pieces.rx.q.counters.errors == errors
    assert pieces.deliver(b"y" * 700)
    assert pieces.take() == [b"y" * 700]
    assert pieces.held == IN_RINGS


def test_a_chain_without_end_takes_no_memory(pieces):
    complete(pieces, 0, FIRST)
    for _ in range(10 * SIZE):
        complete(pieces, 1, 0)
        assert pieces.receive() == []
    assert pieces.held == IN_RINGS + 1
    lib.vmxnet3_empty(pieces.rx)
    assert pieces.held == 0


def test_without_free_buffers_the_ring_keeps_its_own(filled):
    top, filled.stack.top = filled.stack.top, 0
    assert filled.deliver(bytes(100))
    assert filled.receive() == []
    filled.stack.top = top
    assert len(filled.take()) == 1


def test_sent_packets_are_reported_once_a_burst(bench):
    assert bench.send([100] * 5) == 5
    words = [bench.tx.rings[0].slots[slot].word for slot in range(5)]
    assert [bool(word & REPORT) for word in words] == [False] * 4 + [True]
    assert bench.bells[2] == 5
    assert lib.vmxnet3_clean(bench.tx) == 5
    assert bench.transmit() == [100] * 5
    assert lib.vmxnet3_clean(bench.tx) == 0
    assert bench.held == 0


@pytest.mark.parametrize("every", [False, True], ids=["as asked", "every slot"])
def test_sending_goes_around_the_ring(bench, every):
    for number in range(20 * SIZE):
        lengths = [60 + number % 50] * (1 + number % 7)
        assert bench.send(lengths) == len(lengths)
        assert bench.transmit(every) == lengths
    assert lib.vmxnet3_clean(bench.tx) == 0
    assert bench.tx.q.counters.doorbells == 20 * SIZE
    assert bench.held == 0


def test_a_full_ring_takes_no_more(bench):
    assert bench.send([100] * 32) == SIZE - 1
    assert bench.send([100]) == 0
    bench.transmit()
    assert bench.send([100]) == 1
    assert bench.held == 1


def test_unsendable_packets_are_counted_and_the_burst_is_reported_all_the_same(bench):
    assert bench.send([13, 60, 2000]) == 3
    assert bench.tx.q.counters.errors == 2
    assert bench.transmit() == [60]
    assert lib.vmxnet3_clean(bench.tx) == 0
    assert bench.held == 0


@pytest.mark.parametrize("slot", [4, 31, 32, 4095], ids=["free", "last", "beyond", "far beyond"])
def test_a_report_about_a_slot_that_is_not_in_flight_is_a_fault(bench, slot):
    bench.send([100] * 4)
    bench.sender.complete(slot, 0)
    assert lib.vmxnet3_clean(bench.tx) == 4
    assert bench.tx.q.fault == lib.FAULT_RING
    assert bench.tx.q.counters.errors == 0, "no packet was lost by it"
    assert bench.held == 4
    bench.transmit()
    assert lib.vmxnet3_clean(bench.tx) == 0


def test_emptying_gives_back_what_was_on_its_way(bench):
    bench.send([100] * 20)
    lib.vmxnet3_empty(bench.tx)
    assert bench.held == 0


def test_too_few_buffers_are_noticed_and_none_is_lost(bench):
    rest, bench.stack.top = bench.stack.top, 40
    assert lib.vmxnet3_fill(bench.rx, 1) != 0
    lib.vmxnet3_empty(bench.rx)
    assert bench.stack.top == 40
    bench.stack.top = rest


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_device_writes_no_buffer_is_lost_or_doubled(filled, seed):
    """Half of its completions are noise; the others name slots that it has."""
    noise = random.Random(seed)
    for _ in range(5000):
        low, high = noise.getrandbits(64), noise.getrandbits(63)
        if noise.random() < 0.5:
            number = noise.randrange(2)
            ring = filled.rx.rings[number]
            low = ring.next % SIZE | number << 16 | noise.choice([0, FIRST, LAST, WHOLE])
            high = noise.choice([0, 60, 500, 5000]) | BAD * (noise.random() < 0.1)
        filled.device.complete(low, high)
        if noise.random() < 0.3:
            filled.take(noise.randrange(1, 33))
        filled.send([noise.choice([10, 60, 1500])] * noise.randrange(5))
        filled.sender.complete(
            noise.choice([noise.getrandbits(12), filled.tx.rings[0].next % SIZE]), 0
        )
        if noise.random() < 0.5:
            lib.vmxnet3_clean(filled.tx)
    lib.vmxnet3_empty(filled.rx)
    lib.vmxnet3_empty(filled.tx)
    assert filled.held == 0
    assert sorted(filled.stack.free[0 : filled.stack.top]) == list(range(512))
