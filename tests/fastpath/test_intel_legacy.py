# SPDX-License-Identifier: Apache-2.0
"""Legacy descriptors: the test is the device, on the same memory, honest or not."""

import pytest

from tests.support.queue_rig import QueueRig
from uspnet.fastpath import lib

SIZE = 32
DONE, LAST = 1 << 32, 1 << 33
REPORT, TX_DONE = 1 << 27, 1 << 32


class Bench(QueueRig):
    """One ring of each direction."""

    def __init__(self, frame=1522):
        super().__init__(512, frame, 2 * SIZE)
        self.rx = self.intel(0, SIZE, self.pool.room, "intel_legacy_rx")
        self.tx = self.intel(1, SIZE, self.pool.room, "intel_legacy_tx")
        for queue in (self.rx, self.tx):
            queue.rx_error_mask = 0x97  # CRC, symbol, sequence, carrier extension, data
            queue.dma_base = 1 << 32

    def receive(self, n=32):
        return self.packets_of(self.rx, n)

    def give(self, slot, length, status=DONE | LAST, errors=0, data=b""):
        """The device fills a slot."""
        d = self.rx.ring[slot]
        self.store(d.address - self.rx.dma_base, data)
        d.word = length | status | errors << 40

    def send(self, lengths):
        """Offers a burst; returns how many packets were taken."""
        return self.offer(self.tx, lengths)

    def report(self):
        """The device has sent everything that asked for a report."""
        for slot in range(SIZE):
            if self.tx.ring[slot].word != 2**64 - 1 and self.tx.ring[slot].word & REPORT:
                self.tx.ring[slot].word |= TX_DONE


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.pool.close()


@pytest.fixture
def filled(bench):
    assert lib.intel_fill(bench.rx) == 0
    return bench


def test_an_empty_ring_gives_nothing(filled):
    assert filled.receive() == []
    assert filled.stack.room - filled.stack.top == SIZE


def test_frames_come_in_order_around_the_ring(filled):
    for number in range(10 * SIZE):
        filled.give(number % SIZE, 100, data=number.to_bytes(4, "big"))
        (packet,) = filled.receive()
        at = packet.index * filled.pool.size + packet.offset
        assert filled.pool.memory.map[at : at + 4] == number.to_bytes(4, "big")
        assert packet.length == 100
        lib_give(filled, packet)
    assert filled.rx.q.counters.packets == 10 * SIZE
    assert filled.rx.q.counters.doorbells <= 10 * SIZE // 16
    assert filled.stack.room - filled.stack.top == SIZE


@pytest.mark.parametrize("error", [0x20, 0x40], ids=["TCP or UDP", "IP"])
def test_wrong_checksums_are_errors_when_asked_for(filled, error):
    filled.give(0, 100, errors=error)
    (packet,) = filled.receive()
    lib_give(filled, packet)
    filled.rx.rx_error_mask |= error
    filled.give(1, 100, errors=error)
    assert filled.receive() == []
    assert filled.rx.q.counters.errors == 1
    assert filled.stack.room - filled.stack.top == SIZE


def lib_give(bench, packet):
    bench.push(packet.index)


def test_the_device_never_owns_the_whole_ring(filled):
    assert filled.rx.tail == SIZE - 1
    for slot in range(SIZE):
        filled.give(slot, 100)
    for packet in filled.receive():
        lib_give(filled, packet)
    assert filled.bells[0] == SIZE - 1


@pytest.mark.parametrize(
    ("length", "errors"),
    [(0, 0), (13, 0), (0xFFFF, 0), (1601, 0), (100, 0x01), (100, 0x80)],
    ids=["empty", "runt", "huge", "beyond the buffer", "CRC", "data error"],
)
def test_what_the_device_gets_wrong_is_counted(filled, length, errors):
    filled.give(0, length, errors=errors)
    filled.give(1, 100)
    (packet,) = filled.receive()
    assert packet.length == 100
    assert filled.rx.q.counters.errors == 1
    lib_give(filled, packet)
    assert filled.stack.room - filled.stack.top == SIZE


def test_pieces_are_joined(filled):
    filled.give(0, 600, DONE, data=b"a" * 600)
    assert filled.receive() == []
    filled.give(1, 500, DONE, data=b"b" * 500)
    filled.give(2, 7, data=b"c" * 7)
    (packet,) = filled.receive()
    at = packet.index * filled.pool.size + packet.offset
    whole = filled.pool.memory.map[at : at + packet.length]
    assert whole == b"a" * 600 + b"b" * 500 + b"c" * 7
    lib_give(filled, packet)
    assert filled.stack.room - filled.stack.top == SIZE


def test_pieces_too_short_for_a_frame_are_an_error(filled):
    filled.give(0, 6, DONE)
    filled.give(1, 7)
    filled.give(2, 6, DONE)
    filled.give(3, 8)
    (packet,) = filled.receive()
    assert packet.length == 14, "an Ethernet header is the least"
    assert filled.rx.q.counters.errors == 1
    lib_give(filled, packet)
    assert filled.stack.room - filled.stack.top == SIZE


def test_a_chain_without_end_is_one_error_and_takes_no_memory(filled):
    for slot in range(SIZE):
        filled.give(slot, 1000, DONE)
    assert filled.receive() == []
    assert filled.stack.room - filled.stack.top == SIZE + 1
    filled.give(0, 1000)
    filled.give(1, 64)
    (packet,) = filled.receive()
    assert packet.length == 64
    assert filled.rx.q.counters.errors == 1
    lib_give(filled, packet)
    lib.intel_empty(filled.rx, 1)
    assert filled.stack.room == filled.stack.top


def test_without_free_buffers_the_ring_keeps_its_own(filled):
    kept = [filled.stack.free[i] for i in range(filled.stack.top)]
    filled.stack.top = 0
    filled.give(0, 100)
    assert filled.receive() == []
    filled.stack.top = len(kept)
    assert len(filled.receive()) == 1


def test_sent_packets_are_reported_once_a_burst(bench):
    assert bench.send([100] * 5) == 5
    words = [bench.tx.ring[slot].word for slot in range(5)]
    assert [bool(word & REPORT) for word in words] == [False] * 4 + [True]
    assert bench.bells[1] == 5
    assert lib.intel_clean(bench.tx) == 5
    bench.report()
    assert lib.intel_clean(bench.tx) == 0
    assert bench.stack.room == bench.stack.top


def test_a_full_ring_takes_no_more(bench):
    assert bench.send([100] * 32) == SIZE - 1
    assert bench.send([100]) == 0
    bench.report()
    assert bench.send([100]) == 1
    assert bench.stack.room - bench.stack.top == 1


def test_unsendable_packets_are_counted_and_returned(bench):
    assert bench.send([16, 60, 2000]) == 3
    assert bench.tx.q.counters.errors == 2
    assert bench.tx.q.counters.packets == 1
    assert bench.stack.room - bench.stack.top == 1


def test_frames_that_the_device_cant_pad_are_too_short(bench):
    bench.send([14, 16, 17])
    counters = bench.tx.q.counters
    assert counters.drops[lib.DROP_TOO_SHORT] == 2 == counters.errors
    assert counters.packets == 1


def test_a_device_that_reports_early_frees_only_its_burst(bench):
    bench.send([100] * 4)
    bench.send([100] * 4)
    bench.tx.ring[7].word |= TX_DONE  # the second burst, before the first
    assert lib.intel_clean(bench.tx) == 8
    bench.tx.ring[3].word |= TX_DONE
    assert lib.intel_clean(bench.tx) == 0


def test_emptying_gives_back_what_was_on_its_way(bench):
    bench.send([100] * 20)
    lib.intel_empty(bench.tx, 0)
    assert bench.stack.room == bench.stack.top


def test_too_few_buffers_are_noticed_and_none_is_lost(bench):
    rest, bench.stack.top = bench.stack.top, 10
    assert lib.intel_fill(bench.rx) != 0
    lib.intel_empty(bench.rx, 1)
    assert bench.stack.top == 10
    bench.stack.top = rest
