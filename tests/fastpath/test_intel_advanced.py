# SPDX-License-Identifier: Apache-2.0
"""Advanced descriptors: the test is the device, on the same memory, honest or not."""

import random

import pytest

from tests.support.queue_rig import QueueRig
from uspnet.fastpath import lib

SIZE = 32
BUFFERS = 512
DONE, LAST, BAD = 1 << 0, 1 << 1, 1 << 31
VLAN_AND_CHECKSUMS = 1 << 3 | 3 << 5 | 3 << 29  # status that is no business of the ring
CHECKED_4, CHECKED_IP, WRONG_4, WRONG_IP = 1 << 5, 1 << 6, 1 << 29, 1 << 30
TCP, UDP, SCTP = 1 << 8, 1 << 9, 1 << 10  # of the packet's type, in the first half
REPORT, TX_DONE = 1 << 27, 1 << 32
COMMAND = 0x23300000  # whatever Python chose
POISON = 2**64 - 1


class Bench(QueueRig):
    """One ring of each direction."""

    def __init__(self, frame=1522):
        super().__init__(BUFFERS, frame, 2 * SIZE)
        self.rx = self.intel(0, SIZE, frame, "intel_advanced_rx")
        self.tx = self.intel(1, SIZE, frame, "intel_advanced_tx")
        for queue in (self.rx, self.tx):
            queue.tx_flags, queue.rx_error_mask, queue.dma_base = COMMAND, BAD, 1 << 32

    def give(self, slot, length, status=DONE | LAST, data=b"", first=POISON):
        """The device fills a slot: it overwrites the whole descriptor."""
        d = self.rx.ring[slot]
        self.store(d.address - self.rx.dma_base, data)
        d.address = first
        d.word = status | length << 32 | 7 << 48

    def receive(self, n=32):
        """One burst: the frames, whose buffers are given back."""
        return self.frames_of(self.rx, n)

    def send(self, lengths):
        """Offers a burst; returns how many packets were taken."""
        return self.offer(self.tx, lengths, 64)

    def report(self):
        """The device has sent everything that asked for a report."""
        for slot in range(SIZE):
            word = self.tx.ring[slot].word
            if word not in (POISON, TX_DONE) and word & REPORT:
                self.tx.ring[slot].word = TX_DONE


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.pool.close()


@pytest.fixture
def filled(bench):
    assert lib.intel_fill(bench.rx) == 0
    return bench


def test_an_empty_ring_gives_nothing_and_says_nothing(filled):
    assert filled.receive() == []
    assert filled.rx.q.counters.doorbells == 0
    assert filled.held == SIZE


def test_frames_come_in_order_around_the_ring(filled):
    given = 0
    for burst in range(400):
        count = burst % 13 + 1
        batch = [(given + i).to_bytes(100, "big") for i in range(count)]
        for i, frame in enumerate(batch):
            filled.give((given + i) % SIZE, 100, DONE | LAST | VLAN_AND_CHECKSUMS, frame)
        assert filled.receive() == batch
        given += count
    assert given > 50 * SIZE
    assert filled.rx.q.counters.packets == given
    assert filled.rx.q.counters.bytes == 100 * given
    assert filled.rx.q.counters.errors == 0
    assert filled.rx.q.counters.doorbells <= given // 16
    assert filled.held == SIZE


def test_the_device_never_owns_the_whole_ring(filled):
    assert filled.rx.tail == SIZE - 1
    for slot in range(SIZE):
        filled.give(slot, 100)
    assert len(filled.receive()) == SIZE
    assert filled.bells[0] == SIZE - 1


def test_fresh_slots_are_the_devices_with_other_buffers(filled):
    before = filled.rx.ring[0].address
    filled.give(0, 100)
    filled.receive()
    assert filled.rx.ring[0].word == 0
    assert filled.rx.ring[0].address not in (before, POISON)


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (0, DONE | LAST),
        (13, DONE | LAST),
        (1523, DONE | LAST),
        (0xFFFF, DONE | LAST),
        (100, DONE | LAST | BAD),
    ],
    ids=["empty", "runt", "long", "huge", "damaged"],
)
def test_what_the_device_gets_wrong_is_counted(filled, length, status):
    filled.give(0, length, status)
    filled.give(1, 100)
    assert [len(frame) for frame in filled.receive()] == [100]
    assert filled.rx.q.counters.errors == 1
    assert filled.held == SIZE
    assert filled.rx.ring[0].word == 0
    assert filled.rx.ring[0].address != POISON


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize(
    ("kind", "status", "wrong"),
    [
        (TCP, CHECKED_4 | CHECKED_IP, False),
        (TCP, CHECKED_4 | CHECKED_IP | WRONG_4, True),
        (UDP, CHECKED_4 | CHECKED_IP | WRONG_IP, True),
        (UDP, CHECKED_4 | WRONG_4, True),
        (0, CHECKED_IP | WRONG_IP, True),
        (UDP, CHECKED_IP | WRONG_4, False),
        (TCP, CHECKED_4 | WRONG_IP, False),
        (TCP, WRONG_4 | WRONG_IP, False),
        (SCTP, CHECKED_4 | CHECKED_IP | WRONG_4, False),
        (SCTP, CHECKED_4 | CHECKED_IP | WRONG_4 | WRONG_IP, True),
    ],
)
def test_a_wrong_checksum_counts_where_it_was_looked_at_and_asked_for(
    filled, on, kind, status, wrong
):
    filled.rx.rx_error_mask |= WRONG_4 | WRONG_IP if on else 0
    filled.give(0, 100, DONE | LAST | status, first=kind)
    filled.give(1, 101, DONE | LAST | status | BAD, first=kind)
    filled.give(2, 1523, DONE | LAST | status, first=kind)
    refused = int(on and wrong)
    assert [len(frame) for frame in filled.receive()] == [100] * (1 - refused)
    assert filled.rx.q.counters.errors == 2 + refused
    assert filled.held == SIZE


def test_frames_in_pieces_are_one_error_each(filled):
    for slot, status in enumerate([DONE, DONE, DONE | LAST, DONE | LAST, DONE, DONE | LAST]):
        filled.give(slot, 200 + slot, status)
    assert [len(frame) for frame in filled.receive()] == [203]
    assert filled.rx.q.counters.errors == 2
    assert filled.held == SIZE


def test_a_chain_without_end_is_one_error_and_takes_no_memory(filled):
    for _ in range(3):
        for slot in range(SIZE):
            filled.give(slot, 1000, DONE)
        assert filled.receive() == []
    assert filled.rx.q.counters.errors == 1
    assert filled.held == SIZE


def test_slots_that_are_done_out_of_order_wait_for_those_before(filled):
    filled.give(1, 101)
    assert filled.receive() == []
    filled.give(0, 100)
    assert [len(frame) for frame in filled.receive()] == [100, 101]


def test_without_free_buffers_the_ring_keeps_its_own(filled):
    top, filled.stack.top = filled.stack.top, 0
    filled.give(0, 100)
    assert filled.receive() == []
    filled.stack.top = top
    assert len(filled.receive()) == 1


def test_a_device_that_writes_anything_costs_no_buffer(filled):
    chance = random.Random(1)
    for turn in range(2000):
        filled.rx.rx_error_mask = BAD | (WRONG_4 | WRONG_IP) * (turn % 2)
        for slot in range(SIZE):
            filled.rx.ring[slot].word = chance.getrandbits(64)
            filled.rx.ring[slot].address = chance.getrandbits(64)
        for frame in filled.receive():
            assert 14 <= len(frame) <= 1522
    assert filled.held == SIZE
    lib.intel_empty(filled.rx, 1)
    assert sorted(filled.stack.free[0:BUFFERS]) == list(range(BUFFERS))


def test_sent_packets_carry_their_lengths_and_are_reported_once_a_burst(bench):
    assert bench.send([100, 60, 1522]) == 3
    words = [bench.tx.ring[slot].word for slot in range(4)]
    assert [word & 0xFFFF for word in words[:3]] == [word >> 46 for word in words[:3]]
    assert [word >> 46 for word in words[:3]] == [100, 60, 1522]
    assert [word & 0xFFFF0000 & ~REPORT for word in words[:3]] == [COMMAND] * 3
    assert [bool(word & REPORT) for word in words[:3]] == [False, False, True]
    assert words[3] == POISON
    address = (1 << 32) + bench.tx.buffers[0] * bench.pool.size + 64
    assert bench.tx.ring[0].address == address
    assert bench.bells[1] == 3
    assert lib.intel_clean(bench.tx) == 3
    bench.report()
    assert lib.intel_clean(bench.tx) == 0
    assert bench.held == 0


def test_sending_wraps_more_than_fifty_times(bench):
    sent = 0
    while sent < 51 * SIZE:
        taken = bench.send([60 + sent % 100] * (sent % 17 + 1))
        assert taken == sent % 17 + 1
        sent += taken
        bench.report()
        assert bench.held <= SIZE
    lib.intel_clean(bench.tx)
    assert bench.held == 0
    assert sorted(bench.stack.free[0:BUFFERS]) == list(range(BUFFERS))
    assert bench.bells[1] == sent % SIZE


def test_a_full_ring_takes_no_more(bench):
    assert bench.send([100] * 32) == SIZE - 1
    assert bench.send([100]) == 0
    assert bench.tx.q.counters.doorbells == 1
    bench.report()
    assert bench.send([100]) == 1
    assert bench.held == 1


def test_unsendable_packets_are_counted_and_returned(bench):
    assert bench.send([16, 60, 1523]) == 3
    assert bench.send([0]) == 1
    assert bench.tx.q.counters.errors == 3
    assert bench.tx.q.counters.packets == bench.tx.q.counters.doorbells == 1
    assert bench.held == 1


def test_frames_that_the_device_cant_pad_are_too_short(bench):
    bench.send([14, 16, 17])
    counters = bench.tx.q.counters
    assert counters.drops[lib.DROP_TOO_SHORT] == 2 == counters.errors
    assert counters.packets == 1


def test_a_device_that_reports_early_frees_nothing(bench):
    bench.send([100] * 4)
    bench.send([100] * 4)
    bench.tx.ring[7].word = TX_DONE  # the second burst, before the first
    for slot in (0, 1, 2):
        bench.tx.ring[slot].word = TX_DONE  # and what was not asked for
    assert lib.intel_clean(bench.tx) == 8
    bench.tx.ring[3].word = TX_DONE
    assert lib.intel_clean(bench.tx) == 0
    assert bench.held == 0


def test_a_slot_before_the_packets_is_nobodys_buffer(bench):
    bench.tx.next = bench.tx.clean = 1  # a context descriptor
    assert bench.send([100] * 32) == SIZE - 1
    bench.report()
    assert bench.send([100] * 3) == 3
    lib.intel_empty(bench.tx, 0)
    assert bench.held == 0
    assert sorted(bench.stack.free[0:BUFFERS]) == list(range(BUFFERS))


def test_too_few_buffers_are_noticed_and_none_is_lost(bench):
    rest, bench.stack.top = bench.stack.top, 10
    assert lib.intel_fill(bench.rx) != 0
    lib.intel_empty(bench.rx, 1)
    assert bench.stack.top == 10
    bench.stack.top = rest
