# SPDX-License-Identifier: Apache-2.0
"""Capture files whose worker process is killed at any instruction of a burst: a source goes on at
the boundary of a record, a sink behind the last record that was published.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

import pytest

from tests.support.pcap_rig import (
    FRAMES,
    KINDS,
    STAMPS,
    Piped,
    Reader,
    Sink,
    enhanced,
    interface,
    pcapng,
    read,
    section,
)
from tests.support.stepping import Region, Stepper, region, x86_only
from uspnet.fastpath import ffi, lib

LOST = lib.DROP_WORKER_LOST
WINDOW = 1 << 16  # bytes of a stream's window that a test looks at
# Two interfaces, the second one with other units, described between packets; and two sections.
MIXED = (
    section("<")
    + interface("<")
    + enhanced("<", STAMPS[0], FRAMES[0])
    + interface("<", resolution=6)
    + enhanced("<", STAMPS[1] // 1000, FRAMES[1], 1)
    + section(">")
    + interface(">", resolution=3)
    + enhanced(">", STAMPS[2] // 1000_000, FRAMES[2])
)


def memory_of(reader: Reader) -> list[Region]:
    kept = [region(each) for each in (reader.c, reader.counters, reader.stack)]
    return [*kept, (reader.stack.free, 4 * reader.stack.room)]


def dying(name: str, queue: object, packets: object, n: int, kept: list[Region]) -> Stepper:
    base = ffi.cast("struct queue *", queue)
    return Stepper(ffi.addressof(lib, name), (base, packets, n), kept)


def refill(reader: Reader) -> None:
    reader.stack.free[0 : reader.stack.room] = range(reader.stack.room)
    reader.stack.top = reader.stack.room


@x86_only
@pytest.mark.parametrize("data", [*KINDS.values(), MIXED], ids=[*KINDS, "mixed"])
def test_a_source_goes_on_at_a_record(data: bytes) -> None:
    want, reader = read(data)[0], Reader(data)
    packets = ffi.new("struct packet[64]")
    for step in dying("pcap_rx", reader.c, packets, 32, memory_of(reader)).steps():
        lib.pcap_revive(reader.c)
        refill(reader)
        counted = reader.counters.packets + reader.counters.drops[LOST]
        again = reader.all()
        assert again == want[len(want) - len(again) :], step
        # the packet that `at` has just passed may not be among those held
        assert len(want) - 1 <= counted + len(again) <= 2 * len(want), step
        assert not reader.counters.errors, step
        assert not reader.c.q.fault, step
        assert reader.c.number <= len(want), step
    reader.close()


@x86_only
def test_descriptions_go_on_to_the_sink_once() -> None:
    def carried(reader: Reader) -> list[int]:
        data, at, kinds = reader.sink.take(), 0, []
        while at < len(data):
            kind, length = struct.unpack_from("=II", data, at)
            kinds.append(kind)
            at += length
        return [kind for kind in kinds if kind != 6]

    reader = Reader(MIXED)
    want = carried_whole(carried)
    sink, packets = reader.carry(), ffi.new("struct packet[64]")
    used = (sink.chunks, 4096)
    kept = [*memory_of(reader), region(sink.c), region(sink.shared), used]
    for step in dying("pcap_rx", reader.c, packets, 32, kept).steps():
        sink.written = b""
        assert not lib.pcap_sink_revive(sink.c)
        lib.pcap_revive(reader.c)
        refill(reader)
        reader.all()
        assert carried(reader) == want, step
    reader.close()


def carried_whole(carried) -> list[int]:
    whole = Reader(MIXED)
    whole.carry()
    whole.all()
    found = carried(whole)
    whole.close()
    return found


@x86_only
def test_a_source_that_begins_again_does_not_end_instead() -> None:
    data = pcapng()
    reader = Reader(data, loop=True)
    reader.burst(len(FRAMES))
    packets = ffi.new("struct packet[64]")
    for step in dying("pcap_rx", reader.c, packets, 3, memory_of(reader)).steps():
        lib.pcap_revive(reader.c)
        refill(reader)
        assert reader.burst(6)[0][1] in FRAMES[:4], step
        assert not reader.c.q.ended, step
    reader.close()


@x86_only
@pytest.mark.parametrize("form", [lib.PCAP_NG, lib.PCAP_US])
def test_a_sink_goes_on_behind_what_was_published(form: int) -> None:
    reader = Reader(b"")
    sink, packets = Sink(reader, form), ffi.new("struct packet[64]")
    stamps = ffi.new("uint64_t[64]", STAMPS)  # or the clock would be read for ever, step by step
    sink.c.q.stamps = stamps
    for i, frame in enumerate(FRAMES):
        packets[i] = (i, 64, len(frame))
        ffi.memmove(reader.pool.c.base + i * reader.pool.size + 64, frame, len(frame))
    reader.stack.top = 64  # the packets have buffers that it had
    sink.c.fill = lib.PCAP_CHUNK - 64 - 64 - 500  # the chunk ends within the burst
    sink.shared.positions[0].published = sink.shared.positions[0].written = sink.c.fill
    kept = [region(each) for each in (sink.c, sink.shared, sink.counters, reader.stack)]
    kept += [(reader.stack.free, 4 * reader.stack.room), (sink.chunks, 3 * lib.PCAP_CHUNK)]
    whole = 0
    for step in dying("pcap_tx", sink.c, packets, len(FRAMES), kept).steps(stride=3):
        assert not lib.pcap_sink_revive(sink.c)
        sent, sink.written = sink.counters.packets, b""
        before = len(sink.take())
        assert bool(before) >= bool(sent), step
        whole = max(whole, before)
        assert before in (0, whole), step
        assert sink.send(packets, len(FRAMES), stamps, ffi.NULL) == len(FRAMES), step
        assert len(sink.written) == before + whole or not whole, step
    assert whole
    reader.close()


def test_positions_that_are_out_of_range_are_refused() -> None:
    reader = Reader(b"")
    sink = Sink(reader, lib.PCAP_NG)
    at = sink.shared.positions[0]
    for published, written in ((1, 2), (lib.PCAP_CHUNK, 0), (4 << 32, 0), ((1 << 32) - 1, 0)):
        at.published, at.written = published, written
        assert lib.pcap_sink_revive(sink.c) == -1
    reader.close()


@x86_only
def test_a_stream_loses_nothing_or_says_so() -> None:
    data = pcapng()
    reader = Piped(data, 100)
    reader.burst(1)  # now the window has a part of it
    rest = data[100 : len(data) - 8]
    reader.rest = b""
    assert len(rest) > 100

    os.write(reader.out, rest)
    packets = ffi.new("struct packet[64]")
    kept = [*memory_of(reader), (reader.window, WINDOW)]
    torn = []
    for step in dying("pcap_rx", reader.c, packets, 64, kept).steps():
        lib.pcap_revive(reader.c)
        waiting = struct.unpack("i", fcntl.ioctl(reader.c.stream_fd, termios.FIONREAD, bytes(4)))[0]
        if reader.c.why == lib.PCAP_TORN:
            torn.append(step)
            assert (reader.c.q.ended, reader.c.q.fault) == (1, lib.FAULT_MALFORMED)
        else:
            assert reader.c.passed + reader.c.size + waiting == 100 + len(rest), step
    assert torn, "in and right after the system call"
    reader.close()


@pytest.mark.parametrize("done", [0, 50, 100])
def test_a_window_that_was_being_moved_is_moved(done: int) -> None:
    data = pcapng()
    reader = Piped(b"", 1)
    ffi.memmove(reader.window + 1000, data, len(data))
    reader.window[0:done] = data[:done]
    reader.c.at, reader.c.size = 1000, 1000 + len(data)
    reader.c.move.bytes, reader.c.move.passed = len(data), 1000
    setattr(reader.c.move, "from", 1000)
    lib.pcap_revive(reader.c)
    assert (reader.c.at, reader.c.size, reader.c.passed) == (0, len(data), 1000)
    assert reader.all() == read(data)[0]
    setattr(reader.c.move, "from", 10)  # within itself: that can't be repeated
    reader.c.move.bytes = 20
    lib.pcap_revive(reader.c)
    assert reader.c.why == lib.PCAP_TORN
    reader.close()
