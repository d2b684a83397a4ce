# SPDX-License-Identifier: Apache-2.0
"""The ring between the workers that capture and the process that writes; the test is the writer."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest

from uspnet.fastpath import ffi, lib
from uspnet.pool import Pool


def give_back(stack: Any, packets: Any, n: int) -> None:
    for i in range(n):
        stack.free[stack.top] = packets[i].index
        stack.top += 1


class Ring:
    """A sink's ring of three chunks; the test is its writer."""

    def __init__(self, form: int, snaplen: int = lib.PCAP_LONGEST) -> None:
        self.pool = Pool(128, 9728)
        self.stack = self.pool.stack(128)
        self.counters = ffi.new("struct counters *")
        self.shared = ffi.new("struct pcap_shared *")
        self.chunks = ffi.new("struct pcap_chunk[]", 3)
        self.c = ffi.new("struct pcap_sink *")
        self.c.shared, self.c.snaplen, self.c.bell_fd = self.shared, snaplen, -1
        self.ring = ffi.addressof(self.c.ring)
        self.ring.positions = ffi.addressof(self.shared.positions, 0)
        self.ring.chunks, self.ring.n_chunks, self.ring.format = self.chunks, 3, form
        queue = self.c.q
        queue.pool, queue.stack, queue.counters = self.pool.c, self.stack, self.counters

    def send(self, n: int, length: int) -> int:
        packets = ffi.new("struct packet[64]")
        for i in range(n):
            self.stack.top -= 1
            packets[i] = (self.stack.free[self.stack.top], 64, length)
        done = lib.pcap_tx(ffi.cast("struct queue *", self.c), packets, n)
        give_back(self.stack, packets + done, n - done)
        return int(done)

    def take(self, most: int = 2**31) -> bytes:
        """What the writer would write next, at most so many bytes, cut to whole records."""
        start = ffi.new("uint8_t **")
        ready = min(lib.pcap_peek(self.ring, start), most)
        whole = lib.pcap_whole(self.ring, start[0], ready)
        data = bytes(ffi.buffer(start[0], whole))
        lib.pcap_release(self.ring, whole)
        return data


@pytest.mark.parametrize("form", [lib.PCAP_NG, lib.PCAP_US, lib.PCAP_NS])
@pytest.mark.parametrize("length", [14, 60, 61, 1514, 9728])
def test_sink_ring_fills_wraps_and_forgets(form: int, length: int) -> None:
    ring, sent, taken = Ring(form), 0, 0
    size = -(-length // 4) * 4 + 32 if form == lib.PCAP_NG else length + 16
    while (done := ring.send(32, length)) == 32:
        sent += done
    sent += done
    assert ring.send(1, length) == 0
    assert ring.stack.top == 128
    taken += len(ring.take(100_000))
    while data := ring.take():
        assert len(data) % size == 0
        taken += len(data)
    assert taken == sent * size
    for _ in range(40):  # around the ring, more than once
        assert ring.send(32, length) == 32
        while data := ring.take():
            taken += len(data)
    assert taken == (sent + 1280) * size
    ring.send(32, length)
    ring.take(size * 5 + 3)
    octets = ffi.new("uint64_t *")
    assert lib.pcap_forget(ring.ring, octets) == 27
    assert octets[0] == 27 * length
    ring.pool.close()


def test_sink_copies_every_byte_and_pads_with_zeros() -> None:
    ring = Ring(lib.PCAP_NG, snaplen=1000)
    ffi.memmove(ring.pool.c.base, os.urandom(ring.pool.c.size * 128), ring.pool.c.size * 128)
    for length in range(14, 1100):
        index = ring.stack.free[ring.stack.top - 1]
        want = bytes(ffi.buffer(ring.pool.c.base + index * ring.pool.c.size + 64, length))
        assert ring.send(1, length) == 1
        data, kept = ring.take(), min(length, 1000)
        kind, total, number, _, _, caplen, wire = struct.unpack_from("=7I", data)
        assert (kind, total, number, caplen, wire) == (6, len(data), 0, kept, length)
        assert data[28 : 28 + kept] == want[:kept]
        assert data[28 + kept : -4] == bytes(-kept % 4)
        assert data[-4:] == struct.pack("=I", total)
    ring.pool.close()


@pytest.mark.parametrize("ahead", [-1, 3, 4, 2**31])
def test_positions_that_no_worker_writes_promise_nothing(ahead: int) -> None:
    ring = Ring(lib.PCAP_NG)
    for chunk in ring.chunks:
        chunk.bytes = 1000  # of an earlier lap
    ring.ring.positions.written = 7 << 32
    ring.ring.positions.published = (7 + ahead) % 2**32 << 32
    assert ring.take() == b""
    assert lib.pcap_sleep(ring.shared, ring.ring, 1) == 1
    assert lib.pcap_forget(ring.ring, ffi.new("uint64_t *")) == 0
    ring.pool.close()


@pytest.mark.parametrize("form", [lib.PCAP_NG, lib.PCAP_US])
def test_a_cut_is_behind_the_record_that_fills_a_file(form: int) -> None:
    size = 92 if form == lib.PCAP_NG else 76
    sink = Ring(form)
    assert sink.send(9, 60) == 9
    start, most = ffi.new("uint8_t **"), ffi.new("uint64_t *")
    ready = lib.pcap_peek(sink.ring, start)
    assert ready == 9 * size
    for room, packets, expected in [(1, 9, 1), (size, 9, 1), (size + 1, 9, 2), (9999, 4, 4),
                                    (0, 9, 0), (9999, 0, 0), (2**63, 2**63, 9)]:  # fmt: skip
        most[0] = packets
        assert lib.pcap_cut(sink.ring, start[0], ready, room, most) == expected * size
        assert most[0] == expected
    at = 2 * size + (4 if form == lib.PCAP_NG else 8)  # where the third record's length stands
    for length in (0, 7, 2**32 - 1):  # as a hostile worker may write it
        ffi.memmove(start[0] + at, length.to_bytes(4, "little"), 4)
        most[0] = 9
        assert 2 * size <= lib.pcap_cut(sink.ring, start[0], ready, 9999, most) <= ready


def test_what_is_taken_keeps_its_room_until_it_is_in_the_file() -> None:
    ring, start, octets = Ring(lib.PCAP_US), ffi.new("uint8_t **"), ffi.new("uint64_t *")
    ring.ring.patient = 1
    assert ring.send(9, 60) == 9
    assert lib.pcap_sleep(ring.shared, ring.ring, 1) == 1  # its chunk is not full
    ring.ring.patient = 0
    assert lib.pcap_sleep(ring.shared, ring.ring, 1) == 0
    assert lib.pcap_peek(ring.ring, start) == 9 * 76
    lib.pcap_take(ring.ring, 4 * 76)
    assert (lib.pcap_taken(ring.ring), ring.ring.positions.written) == (4 * 76, 0)
    assert lib.pcap_peek(ring.ring, start) == 5 * 76
    lib.pcap_release(ring.ring, 76)  # of what is not to be written
    lib.pcap_settle(ring.ring, 2 * 76)
    assert (lib.pcap_taken(ring.ring), ring.ring.positions.written) == (5 * 76, 2 * 76)
    lib.pcap_settle(ring.ring, 5 * 76)
    assert (ring.ring.staged, lib.pcap_peek(ring.ring, start)) == (0, 4 * 76)
    lib.pcap_take(ring.ring, 4 * 76)
    while ring.send(32, 1514) == 32:
        pass
    assert ring.send(1, 1514) == 0
    ring.ring.patient = 1
    assert lib.pcap_sleep(ring.shared, ring.ring, 1) == 0  # whole chunks wait
    while taken := lib.pcap_peek(ring.ring, start):
        lib.pcap_take(ring.ring, taken)
    assert ring.send(1, 1514) == 0
    lib.pcap_settle(ring.ring, ring.ring.taken)
    assert ring.send(1, 1514) == 1
    assert lib.pcap_forget(ring.ring, octets) == 1
    assert octets[0] == 1514
    ring.pool.close()


@pytest.mark.parametrize("octets", [lib.PCAP_ROOM + 1, lib.PCAP_CHUNK, 2**32 - 1])
def test_what_is_longer_than_a_chunk_gets_no_room(octets: int) -> None:
    ring = Ring(lib.PCAP_NG)
    assert ring.send(1, 60) == 1
    assert lib.pcap_note(ring.c, ffi.NULL, octets) == 0
    assert (ring.c.number, len(ring.take())) == (0, 92)
    ring.pool.close()


def test_who_asks_for_a_trigger_before_the_first_packet_gets_its_time() -> None:
    ring, own = Ring(lib.PCAP_NG), Ring(lib.PCAP_NG)
    rings = ffi.new("struct pcap_ring[2]", [ring.ring[0], own.ring[0]])
    hold = ffi.new("struct pcap_hold *", {"shared": ring.shared, "n": 1, "after_ns": 10**9})
    hold.rings[0].ring, hold.rings[0].most = rings, 2
    ring.shared.asked_ns = 2**64 - 1
    lib.pcap_hold_look(hold)
    assert (hold.triggered, lib.pcap_hold_sleep(hold, rings, 2)) == (0, 1)
    assert ring.send(1, 60) == 1
    lib.pcap_hold_look(hold)
    assert ring.shared.triggered_ns == hold.newest_ns > 0
    for each in (ring, own):
        each.pool.close()
