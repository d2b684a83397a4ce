# SPDX-License-Identifier: Apache-2.0
"""Classic files of which only the frames are wanted: they are read in a loop of their own, up to
the first record that is not whole, and so nothing must be different.
"""

from __future__ import annotations

import random
import struct

import pytest

from tests.fastpath.test_pcap_death import LOST, dying, memory_of, refill
from tests.support.pcap_rig import FRAMES, Reader, classic, read
from tests.support.stepping import x86_only
from uspnet.fastpath import ffi, lib

ROOM = 1522  # of the reader's buffers
# Bytes in the file, and on the wire.
WHOLE = [(60, 60), (61, 61), (14, 14), (1514, 1514), (ROOM, ROOM)]
OTHERS = [(60, 90), (60, 59), (0, 60), (0, 0), (1, 1), (ROOM + 1, ROOM + 1), (2000, 9000), (60, 0)]


def records(seed, octets):
    """A file of these, mostly whole ones, that is cut off somewhere."""
    chance, data = random.Random(seed), classic()[:24]
    while len(data) < octets:
        length, wire = chance.choice(WHOLE if chance.random() < 0.9 else OTHERS)
        frame = chance.randbytes(length)
        data += struct.pack("=4I", len(data), 1, length, wire) + frame
    return data[: -chance.randrange(1, 60)] if seed % 2 else data


def unstamped(data):
    reader = Reader(data)
    reader.c.q.stamps, reader.c.q.origins = ffi.NULL, ffi.NULL
    return reader


def outcome(reader, truncated):
    """All that reading a file leaves behind."""
    reader.c.when_truncated = truncated
    frames = [frame for _, frame in reader.all()]
    kept = [(name, int(getattr(reader.c, name))) for name in ("at", "number", "truncated", "why")]
    counted = reader.counters
    counts = (counted.packets, counted.bytes, counted.dropped, counted.errors, list(counted.drops))
    reader.close()
    return frames, kept, counts, reader.c.q.fault


@pytest.mark.parametrize("truncated", [lib.PCAP_SEND, lib.PCAP_PAD, lib.PCAP_SKIP])
def test_frames_and_counts_are_the_same_without_time_stamps(truncated):
    for seed in range(20):
        data = records(seed, 50_000)
        stamped, plain = (outcome(make(data), truncated) for make in (Reader, unstamped))
        assert plain == stamped, seed
        assert len(plain[0]) > 40, seed


@x86_only
def test_a_worker_killed_meanwhile_leaves_the_boundary_of_a_record():
    data = classic()
    want, reader = [frame for _, frame in read(data)[0]], unstamped(data)
    assert len(reader.burst(1)) == 1  # has read the head
    packets = ffi.new("struct packet[64]")
    for step in dying("pcap_rx", reader.c, packets, 32, memory_of(reader)).steps():
        lib.pcap_revive(reader.c)
        refill(reader)
        counted = reader.counters.packets + reader.counters.drops[LOST]
        again = [frame for _, frame in reader.all()]
        assert again == want[len(want) - len(again) :], step
        assert len(FRAMES) - 1 <= counted + len(again) <= 2 * len(FRAMES), step
        assert not reader.counters.errors, step
        assert reader.c.number <= len(FRAMES), step
    reader.close()
