# SPDX-License-Identifier: Apache-2.0
"""memif's rings; the test plays the peer on the same memory.

size: four rings and every lie a peer can tell them, on one set of helpers.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.memif_rig import KINDS, NEXT, Rig
from uspnet.fastpath import ffi, lib
from uspnet.telemetry import REASONS

RX = [kind for kind in KINDS if "-rx-" in kind]
TX = [kind for kind in KINDS if "-tx-" in kind]
COPY_RX = ["copy-rx-client", "copy-rx-server"]
LENGTHS = [1, 14, 31, 32, 33, 60, 63, 64, 65, 127, 128, 129, 1514]


def frame(number, length=60):
    """A frame that no other number has."""
    return (number.to_bytes(4, "little") * (length // 4 + 1))[:length]


def errors(rig):
    assert rig.counters.errors == sum(rig.counters.drops[lib.DROP_ERRORS : lib.DROP_REASONS])
    return rig.counters.errors


def reasons(rig):
    return {name: n for name, at in REASONS.items() if (n := rig.counters.drops[at])}


# -- empty, full, wrap ----------------------------------------------------------------------------


@pytest.mark.parametrize("log2", range(1, 15))
@pytest.mark.parametrize("kind", RX)
def test_an_rx_ring_is_received_from_empty_to_full(kind, log2):
    rig = Rig(kind, log2, start=65530, count=(2 << log2) + 128)
    assert rig.receive_all() == []
    room = rig.waiting() if rig.zero else rig.size  # zero copy lends in batches
    frames = [frame(i) for i in range(room)]
    rig.fill(*frames)
    assert rig.receive_all() == frames
    assert rig.conserved()
    assert not errors(rig)
    assert not rig.m.q.fault


@pytest.mark.parametrize("log2", range(1, 15))
@pytest.mark.parametrize("kind", TX)
def test_a_tx_ring_takes_what_it_has_slots_for(kind, log2):
    rig = Rig(kind, log2, start=65530, count=(1 << log2) + 128)
    frames = [frame(i) for i in range(rig.size + 1)]
    sent = 0
    while taken := rig.send(*frames[sent : sent + 64]):
        sent += taken
    assert sent == rig.size
    assert rig.drain() == frames[:-1]
    assert rig.send(frames[-1]) == 1
    assert rig.drain() == frames[-1:]
    assert rig.conserved()
    assert not rig.m.q.fault


@pytest.mark.parametrize("kind", KINDS)
def test_positions_wrap_many_times(kind):
    rig = Rig(kind, log2=6)
    number = 0
    while number < 140_000:
        if rig.direction == "tx":
            frames = [frame(number + i) for i in range(50)]
            assert rig.send(*frames) == 50
            assert rig.drain() == frames
        else:
            rig.receive()  # lends
            frames = [frame(number + i) for i in range(50 if not rig.zero else rig.waiting())]
            rig.fill(*frames)
            assert rig.receive_all() == frames
        number += len(frames)
    assert rig.counters.packets == number
    assert rig.counters.bytes == number * 60
    assert rig.conserved()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_length_arrives_byte_for_byte(kind, length):
    rig = Rig(kind)
    frames = [frame(0x01020304 + i, length) for i in range(4)]
    if rig.direction == "tx":
        assert rig.send(*frames) == 4
        assert rig.drain() == frames
    else:
        rig.receive()
        rig.fill(*frames)
        assert rig.receive_all() == frames


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", ["copy-tx-client", "copy-tx-server"])
def test_a_peer_sees_no_byte_behind_a_packet(kind, length):
    rig = Rig(kind)
    ffi.memmove(rig.pool.base, b"\xee" * rig.count * 2048, rig.count * 2048)  # older packets
    assert rig.send(frame(7, length)) == 1
    slot = bytes(ffi.buffer(rig.memory_of(0), rig.slot))
    assert slot == frame(7, length) + bytes(rig.slot - length)


# -- chains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RX)
def test_a_chain_is_joined_and_an_incomplete_one_waits(kind):
    rig = Rig(kind)
    rig.receive()
    rig.fill([b"a" * 100, b"b" * 33, b"c"], b"d" * 60)
    assert rig.receive() == [b"a" * 100 + b"b" * 33 + b"c", b"d" * 60]
    rig.receive()
    rig.fill([b"e" * 40, b"f" * 40, b"g" * 40])
    rig.move(-1)
    assert rig.receive() == []
    assert not errors(rig)
    rig.move(1)
    assert rig.receive() == [b"e" * 40 + b"f" * 40 + b"g" * 40]
    assert rig.conserved()


@pytest.mark.parametrize("kind", COPY_RX)
def test_a_chain_as_long_as_the_ring_is_malformed_and_given_up(kind):
    rig = Rig(kind)
    for _ in range(rig.size):
        rig.lie(flags=NEXT)
    assert rig.receive() == []
    assert errors(rig) == 1
    assert reasons(rig) == {"bad_chain": 1}
    assert rig.waiting() == 0
    rig.fill(b"x" * 60)
    assert rig.receive() == [b"x" * 60]
    assert rig.conserved()


def test_a_zero_copy_chain_as_long_as_the_ring_is_given_up():
    rig = Rig("zero-rx-client")
    while rig.waiting() < rig.size:
        rig.receive()
    for i in range(rig.size):
        rig.ring.slots[i].flags = NEXT
        rig.ring.slots[i].length = 60
    rig.move(rig.size)
    assert rig.receive() == []
    assert errors(rig) == 1
    assert reasons(rig) == {"bad_chain": 1}
    assert rig.conserved()


@pytest.mark.parametrize("kind", RX)
def test_a_chain_longer_than_a_buffer_is_malformed(kind):
    rig = Rig(kind)
    rig.receive()
    longest = rig.pool.size - 448
    rig.fill([bytes(longest - 1), b"x"])
    assert rig.receive() == [bytes(longest - 1) + b"x"]
    rig.receive()
    rig.fill([bytes(longest - 1), b"xy"], b"z" * 60)
    assert rig.receive_all() == [b"z" * 60]
    assert errors(rig) == 1
    assert reasons(rig) == {"too_long": 1}
    assert rig.conserved()


@pytest.mark.parametrize("kind", ["copy-tx-client", "copy-tx-server"])
def test_a_frame_longer_than_a_slot_becomes_a_chain(kind):
    rig = Rig(kind, slot=128)
    long = frame(3, 1000)  # 8 slots of 128 bytes: the whole ring
    assert rig.send(long, b"x" * 60) == 1
    assert rig.drain() == [long]
    assert rig.send(b"x" * 60, long) == 1
    assert rig.drain() == [b"x" * 60]
    assert rig.conserved()


@pytest.mark.parametrize("kind", ["copy-tx-client", "copy-tx-server"])
def test_a_frame_longer_than_the_ring_is_dropped_as_an_error(kind):
    rig = Rig(kind, slot=128)
    assert rig.send(frame(3, 1025), b"x" * 60) == 2
    assert errors(rig) == 1
    assert reasons(rig) == {"too_long": 1}
    assert rig.counters.packets == 1
    assert rig.drain() == [b"x" * 60]
    assert rig.conserved()


# -- lies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"region": 1}, "bad_slot"),
        ({"region": 0xFFFF}, "bad_slot"),
        ({"length": 0}, "bad_length"),
        ({"length": 0xFFFFFFFF}, "bad_length"),
        ({"offset": 0xFFFFFFFF}, "bad_slot"),
        ({"offset": 0xFFFFFFFF, "length": 2}, "bad_slot"),
        ({"offset": 0xFFFFFFC4, "length": 0xFFFFFFFF}, "bad_slot"),
        ({"flags": NEXT, "region": 9}, "bad_slot"),
    ],
    ids=str,
)
def test_a_lying_descriptor_is_counted_and_skipped(lie, reason):
    rig = Rig("copy-rx-server")
    rig.fill(b"a" * 60)
    rig.lie(**lie)
    rig.fill(b"b" * 60, b"c" * 60)
    expected = [b"a" * 60, b"b" * 60, b"c" * 60]
    if lie.get("flags"):
        del expected[1]  # it is the lie's last link
    assert rig.receive_all() == expected
    assert errors(rig) == 1
    assert reasons(rig) == {reason: 1}
    assert rig.conserved()


def test_a_buffer_may_end_where_its_region_ends_and_not_a_byte_later():
    rig = Rig("copy-rx-server")
    for past, length in ((0, 60), (0, 1), (1, 60), (60, 60)):
        rig.lie(offset=rig.region_bytes - length + past, length=length)
    assert [len(packet) for packet in rig.receive_all()] == [60, 1]
    assert errors(rig) == 2


def test_a_server_of_a_client_believes_lengths_only_up_to_its_own_slot():
    rig = Rig("copy-rx-client", slot=256)
    for length in (256, 257, 0xFFFFFFFF):
        rig.lie(length=length, offset=0xDEADBEEF, region=77)  # a client knows where its slots are
    assert [len(packet) for packet in rig.receive_all()] == [256]
    assert errors(rig) == 2
    assert rig.ring.slots[1].length == 256  # lent again as it was
    assert rig.ring.slots[1].offset == rig.whole(1)[3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", [1, 2, 1000, 32768, 65000])
def test_a_position_beyond_the_ring_is_a_fault(kind, by):
    rig = Rig(kind, start=65000)
    if rig.direction == "rx":
        rig.receive()
    else:
        assert rig.send(*[b"x" * 60] * rig.size) == rig.size
    top = rig.stack.top
    legal = rig.waiting() if rig.zero or rig.direction == "tx" else rig.size
    rig.move(legal + by)
    if rig.direction == "rx":
        assert rig.receive() == []
    else:
        assert rig.send(b"x" * 60) == 0
    assert rig.m.q.fault == lib.FAULT_PEER
    assert rig.stack.top <= top
    if rig.zero:
        lib.memif_zero_reset(rig.m)
    assert rig.conserved()


@pytest.mark.parametrize("lie", [(0, 0, 0, 0, 0), (0, 7, 2048, 0, 0), (0, 0, 2048, 1 << 31, 0)])
def test_a_lent_slot_without_memory_goes_back_empty(lie):
    rig = Rig("copy-tx-server")
    rig.ring.slots[0] = rig.ring.slots[2] = lie
    assert rig.send(b"a" * 60, b"b" * 60) == 2
    assert errors(rig) == 0  # no packet is lost
    lengths = [rig.ring.slots[i].length for i in range(4)]
    assert lengths == [0, 60, 0, 60]
    assert rig.waiting() == 4
    assert rig.conserved()


def test_zero_copy_believes_lengths_only_up_to_the_buffer():
    rig = Rig("zero-rx-client")
    rig.receive()
    for length in (1600, 1601, 0, 0xFFFFFFFF):
        rig.ring.slots[rig.at % 8].length = length
        rig.ring.slots[rig.at % 8].offset = 0xFFFFFFFF
        rig.move(1)
    assert [len(packet) for packet in rig.receive_all()] == [1600]
    assert errors(rig) == 3
    assert rig.conserved()


def test_malformed_packets_count_against_the_burst():
    rig = Rig("copy-rx-server", log2=10)
    for _ in range(1000):
        rig.lie(length=0)
    assert rig.receive(32) == []
    assert errors(rig) == 32  # bounded work for each call


def test_without_free_buffers_nothing_is_lost():
    rig = Rig("copy-rx-server", count=2)
    rig.fill(b"a" * 60, b"b" * 60, b"c" * 60)
    rig.stack.top = 0
    assert rig.receive() == []
    rig.stack.top = 2
    assert rig.receive_all() == [b"a" * 60, b"b" * 60, b"c" * 60]


# -- wake-ups -------------------------------------------------------------------------------------


def test_a_doorbell_rings_only_for_a_peer_that_sleeps():
    rig = Rig("copy-tx-client")
    rig.m.bell_fd = bell = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        rig.send(b"x" * 60)
        assert rig.counters.doorbells == 0
        rig.ring.flags = 0
        rig.send(b"x" * 60, b"y" * 60)
        assert rig.counters.doorbells == 1
        assert os.eventfd_read(bell) == 1
    finally:
        os.close(bell)


@pytest.mark.parametrize("kind", RX)
def test_arming_asks_for_a_doorbell_and_looks_once_more(kind):
    rig = Rig(kind)
    rig.m.q.wake_fd = wake = os.eventfd(1, os.EFD_NONBLOCK)
    arm = lib.memif_zero_arm if rig.zero else lib.memif_copy_arm
    try:
        rig.receive()
        assert not arm(rig.q, 1)
        assert rig.ring.flags == 0
        rig.fill(b"x" * 60)
        assert arm(rig.q, 1)
        arm(rig.q, 0)
        assert rig.ring.flags == lib.MEMIF_MASK_INT
        with pytest.raises(BlockingIOError):
            os.eventfd_read(wake)  # taken
        os.set_blocking(wake, True)  # a hostile peer can do this
        arm(rig.q, 0)  # and it does not block
    finally:
        os.close(wake)


# -- any order of events --------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(1, 1600), max_size=40), st.integers(0, 40)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    log2=st.integers(1, 7),
    start=st.integers(0, 65535),
    slot=st.sampled_from([128, 300, 2048]),
    steps=STEPS,
)
def test_what_goes_in_comes_out_in_order(kind, log2, start, slot, steps):
    rig = Rig(kind, log2, start, slot=2048 if "rx" in kind else slot)
    put, got, number = [], [], 0
    for first, lengths, n in steps:
        frames = [frame(number + i, length) for i, length in enumerate(lengths)]
        number += len(frames)
        if rig.direction == "tx":
            taken = rig.send(*frames)
            too_long = slot * rig.size if not rig.zero else 65535
            put += [f for f in frames[:taken] if len(f) <= too_long]
            if first:
                got += rig.drain()
        else:
            free = rig.waiting() if rig.zero else rig.size - rig_ahead(rig)
            rig.fill(*frames[:free])
            put += frames[:free]
            got += rig.receive(max(n, 1))
        assert rig.conserved()
        assert not rig.m.q.fault
    got += rig.drain() if rig.direction == "tx" else rig.receive_all()
    assert got == put


def rig_ahead(rig):
    """Slots that the peer has filled and we have not taken."""
    return (rig.at - rig.m.next) & 0xFFFF
