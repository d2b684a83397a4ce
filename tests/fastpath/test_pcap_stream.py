# SPDX-License-Identifier: Apache-2.0
"""Files that come through a pipe, and the blocks that go on from pcapng to pcapng."""

from __future__ import annotations

import mmap
import random
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.pcap_rig import (
    FRAMES,
    KINDS,
    STAMPS,
    Piped,
    Reader,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    pcapng,
    read,
    section,
)
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib

SHB, IDB, NRB, ISB, JOURNAL, DSB, CUSTOM = 0x0A0D0D0A, 1, 4, 5, 9, 10, 0x0BAD


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 7, 100, 100000])
def test_a_stream_is_the_file(kind: str, step: int) -> None:
    reader = Piped(KINDS[kind], step)
    assert reader.all() == read(KINDS[kind])[0]
    assert not reader.c.q.fault
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_streams_cut_anywhere(kind: str) -> None:
    for cut in range(0, len(KINDS[kind]), 5):
        want, file = read(KINDS[kind][:cut])
        reader = Piped(KINDS[kind][:cut], 64)
        assert reader.all() == want
        assert (reader.c.why, reader.c.number) == (file.c.why, file.c.number)
        assert reader.c.passed + reader.c.at == file.c.at
        reader.close()


def test_a_stream_goes_on_for_ever() -> None:
    """The window is used again and again; nothing in it is moved under a burst."""
    data = section("<") + interface("<") + enhanced("<", 1, bytes(1500)) * 2000
    reader = Piped(data, 60000)
    assert reader.all() == [(1, bytes(1500))] * 2000
    assert reader.c.size < 1 << 20
    reader.close()


@pytest.mark.parametrize("length", [lib.PCAP_WINDOW + 4, 2**32 - 4])
def test_blocks_longer_than_the_window_are_refused(length: int) -> None:
    reader = Piped(pcapng() + struct.pack("<II", 6, length) + bytes(4000), 4096)
    assert len(reader.all()) == len(FRAMES)
    assert reader.c.why == lib.PCAP_LENGTH
    reader.close()


# -- from pcapng to pcapng -----------------------------------------------------------------------


def described(order: str) -> bytes:
    """A file with everything that goes on."""

    def pack(form: str, *values: int) -> bytes:
        return struct.pack(order + form, *values)

    data = block(
        order,
        SHB,
        pack("IHHq", 0x1A2B3C4D, 1, 0, -1)
        + option(order, 1, b"a section")
        + option(order, 4, b"their program")
        + bytes(4),
    )
    name = option(order, 2, b"west") + option(order, 8, pack("Q", 10**9))
    data += interface(order, 6, -100, options=name) + interface(order, 0x9E, options=bytes(0))
    data += block(order, NRB, pack("HH", 1, 9) + b"\xc0\0\2\1host\0" + bytes(3) + pack("HH", 0, 0))
    flags = option(order, 1, b"a comment") + option(order, 2, pack("I", 2))
    data += enhanced(
        order, 12345, FRAMES[1], 0, 900, flags + option(order, 4, pack("Q", 7)) + bytes(4)
    )
    data += block(order, DSB, pack("II", 0x544C534B, 5) + b"hello")
    data += block(order, CUSTOM, pack("I", 32473) + b"theirs!!")
    data += block(order, JOURNAL, b"MESSAGE=x\n\n\n")
    data += enhanced(order, 2**64 - 1, FRAMES[0], 1) + obsolete(order, 5, FRAMES[2])
    counts = option(order, 2, pack("II", 1, 2)) + option(order, 5, pack("Q", 3))
    return data + block(order, ISB, pack("III", 1, 4, 5) + counts + bytes(4))


def carried(data: bytes, *, piped: bool = False, form: int = lib.PCAP_NG) -> bytes:
    reader = Piped(data, 300) if piped else Reader(data)
    sink = reader.carry(form)
    found = reader.all()
    written = sink.take()
    assert sink.counters.packets == len(found)
    reader.close()
    return written


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("=II", data, at)
        assert data[at + length - 4 : at + length] == struct.pack("=I", length)
        found.append((kind, data[at + 8 : at + length - 4]))
        at += length
    return found


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("piped", [False, True])
def test_everything_goes_on_in_our_byte_order(order: str, piped: bool) -> None:
    got = blocks(carried(described(order), piped=piped))
    want = blocks(described("="))
    assert [kind for kind, _ in got] == [6 if kind == 2 else kind for kind, _ in want]
    for (kind, ours), (was, theirs) in zip(got, want, strict=True):
        if kind == SHB:
            assert ours[:16] == theirs[:16]
            assert b"a section" in ours
            assert b"test" in ours
            assert b"their program" not in ours
        elif was == 2:  # an obsolete block's losses are an option now
            assert ours.endswith(struct.pack("=HHQ", 4, 8, 7) + bytes(4))
        else:
            assert ours.rstrip(b"\0") == theirs.rstrip(b"\0"), kind


def test_our_own_reader_reads_what_went_on() -> None:
    once = carried(described(">"))
    assert carried(once) == once
    assert read(once)[0] == read(described(">"))[0]


def test_sections_stay_sections_and_a_loop_describes_one_once() -> None:
    data = described("<") + described(">")
    assert [kind for kind, _ in blocks(carried(data))].count(SHB) == 2
    reader = Reader(pcapng(), loop=True)
    sink = reader.carry()
    for _ in range(10):
        reader.burst()
    kinds = [kind for kind, _ in blocks(sink.take())]
    assert kinds[:2] == [SHB, IDB]
    assert set(kinds[2:]) == {6}
    reader.close()


def test_a_classic_source_gets_our_header() -> None:
    for piped in (False, True):
        written = carried(KINDS["ns-le"], piped=piped)
        kinds = [kind for kind, _ in blocks(written)]
        assert kinds == [SHB, IDB] + [6] * len(FRAMES)
        assert read(written)[0] == list(zip(STAMPS, FRAMES, strict=True))


def test_an_fcs_is_told_of_no_more() -> None:
    data = section("<") + interface("<", options=option("<", 13, b"\4"))
    flags = option("<", 2, struct.pack("<I", 4 << 5 | 2))
    written = carried(data + enhanced("<", 1, bytes(64), options=flags))
    assert blocks(written)[1][1][8:] == option("=", 9, b"\x09") + bytes(4)
    assert option("=", 2, struct.pack("=I", 2)) in written
    assert len(read(written)[0][0][1]) == 60


def test_options_that_are_too_long_stay_out() -> None:
    comments = option("<", 1, b"x" * 65000) * 5
    data = pcapng() + enhanced("<", 1, FRAMES[0], options=comments)
    data += block("<", NRB, bytes(300000)) + enhanced("<", 2, FRAMES[1])
    reader = Reader(data)
    sink = reader.carry()
    found = reader.all()
    assert (len(found), sink.c.left_out) == (len(FRAMES) + 2, 2)
    assert read(sink.take())[0] == found
    reader.close()


def test_times_beyond_2106_do_not_fit_a_pcap_file() -> None:
    data = section("<") + interface("<", 0) + enhanced("<", 2**32, FRAMES[0]) * 3
    reader = Reader(data)
    sink = reader.carry(lib.PCAP_US)
    reader.all()
    assert sink.c.misfits == 3
    assert sink.take()[:4] == b"\xff" * 4
    reader.close()


# -- strangers -----------------------------------------------------------------------------------

MUTATED = {**KINDS, "described-le": described("<"), "described-be": described(">")}
CHANGES = st.lists(
    st.tuples(st.integers(0, 900), st.sampled_from([0, 1, 3, 6, 0x7F, 0x80, 0xFF, None])),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=by_tier(300, 1_500, 5_000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    kind=st.sampled_from(sorted(MUTATED)),
    changes=CHANGES,
    link=st.sampled_from([1, 0, 9, 50, 51, 101, 104, 108, 113, 276]),
)
def test_mutated_files_by_every_way(
    kind: str, changes: list[tuple[int, int | None]], link: int
) -> None:
    """The same packets from memory and from a pipe, and what goes on is a sound file."""
    data = bytearray(MUTATED[kind])
    if link != 1:
        data = data.replace(interface("<")[8:16], interface("<", link=link)[8:16])
    for at, value in changes:
        if value is None:
            del data[at % len(data) :][:8]
        else:
            data[at % len(data)] = value
    readers = Reader(bytes(data)), Piped(bytes(data), 500)
    results = []
    for reader in readers:
        reader.c.make_ethernet = 1
        sink = reader.carry()
        found = reader.all()
        again, second = read(sink.take())
        assert [frame for _, frame in again] == [frame for _, frame in found]
        assert not second.c.why or not sink.take()
        # A block beyond the end of a file may be one beyond the window of a stream.
        why = lib.PCAP_LENGTH if reader.c.why == lib.PCAP_CUT else reader.c.why
        results.append((found, sink.take(), why, list(reader.counters.drops)))
        reader.close()
    assert results[0] == results[1]


def test_the_owner_may_rewrite_the_file_meanwhile(tmp_path: Path) -> None:
    """Lengths change between any two looks: no read outside, no length that was not checked."""
    sound = described("<") * 40
    path = tmp_path / "f"
    path.write_bytes(sound)
    stop = threading.Event()

    def rewrite() -> None:
        dice = random.Random(5)
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            while not stop.is_set():
                at = dice.randrange(len(sound) // 4) * 4
                mapped[at : at + 4] = dice.choice([b"\xff\xff\xff\x7f", bytes(4), b"\0\1\0\0"])
                if dice.random() < 0.1:
                    mapped[:] = sound

    owner = threading.Thread(target=rewrite)
    owner.start()
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for _ in range(by_tier(100, 200, 400)):
            reader = Reader(b"")
            reader.c.base, reader.c.size = ffi.from_buffer(mapped), len(mapped)
            reader.bound = 4000
            sink = reader.carry()
            reader.all()
            blocks(sink.take())
            reader.close()
    finally:
        stop.set()
        owner.join()
