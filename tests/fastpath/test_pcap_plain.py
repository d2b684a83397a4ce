# SPDX-License-Identifier: Apache-2.0
"""Files of which only the frames are wanted: they are read in a loop of their own, up to the first
record that is not whole, and so nothing must be different.
"""

from __future__ import annotations

import random
import struct

import pytest

from tests.fastpath.test_pcap_death import LOST, dying, memory_of, refill
from tests.support.pcap_rig import (
    FRAMES,
    Reader,
    block,
    classic,
    enhanced,
    interface,
    obsolete,
    option,
    pcapng,
    read,
    section,
)
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


def blocks(seed, octets):
    """The same as pcapng: also with options, of other interfaces, and what may be wrong."""
    chance, order = random.Random(seed), "<"
    interfaces = [interface(order), interface(order, link=113), interface(order, 6)]
    fcs = interface(order, options=option(order, 13, b"\4"))
    data = section(order) + b"".join(interfaces) + fcs
    while len(data) < octets:
        length, wire = chance.choice(WHOLE if chance.random() < 0.9 else OTHERS)
        frame, number = chance.randbytes(length), chance.choice([0] * 40 + [1, 2, 3])
        ends = chance.choice([b""] * 9 + [bytes(4), option(order, 2, b"\x80\0\0\0"), b"\1\0\0\0"])
        made = enhanced(order, len(data), frame, number, wire, ends)
        data += made if chance.random() < 0.95 else chance.choice(others(made, frame, seed))
    return data[: -chance.randrange(1, 60)] if seed % 2 else data


def others(made, frame, seed):
    """What stands between Enhanced Packet Blocks; in some files, what ends the packets."""
    found = [block("<", 5, bytes(12)), obsolete("<", 1, frame), block("<", 3, bytes(4) + frame)]
    found += [pcapng(">") + section("<") + interface("<")] if seed % 3 else []
    if seed % 4 == 3:
        short, long = (struct.pack("<I", len(made) + more) for more in (-4, 4))
        found += [made[:-4] + long, made[:4] + short + made[8:], made[:4] + long + made[8:]]
        found += [made[:8] + struct.pack("<I", 9) + made[12:], made[:4] + bytes(4) + made[8:]]
    return found


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


@pytest.mark.parametrize("make", [records, blocks])
@pytest.mark.parametrize("truncated", [lib.PCAP_SEND, lib.PCAP_PAD, lib.PCAP_SKIP])
def test_frames_and_counts_are_the_same_without_time_stamps(make, truncated):
    most = 0
    for seed in range(20):
        data = make(seed, 50_000)
        stamped, plain = (outcome(each(data), truncated) for each in (Reader, unstamped))
        assert plain == stamped, seed
        most = max(most, len(plain[0]))
    assert most > 40


@pytest.mark.parametrize("more", range(9))
@pytest.mark.parametrize("length", [60, 61, 62, 63])
def test_the_end_of_a_block_is_that_of_its_frame_or_of_no_options(length, more):
    frame = bytes(range(length))
    made = section("<") + interface("<") + enhanced("<", 1, frame, options=bytes(more)) * 3
    stamped, plain = (outcome(each(made), lib.PCAP_SEND) for each in (Reader, unstamped))
    assert plain == stamped
    assert plain[0] == [frame] * 3


@x86_only
@pytest.mark.parametrize("data", [classic(), pcapng()], ids=["pcap", "pcapng"])
def test_a_worker_killed_meanwhile_leaves_the_boundary_of_a_record(data):
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
