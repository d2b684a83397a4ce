# SPDX-License-Identifier: Apache-2.0
"""The capture file reader against every kind of file, sound and broken."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.pcap_rig import (
    FRAMES,
    KINDS,
    STAMPS,
    UNKNOWN,
    Reader,
    block,
    classic,
    enhanced,
    interface,
    obsolete,
    pcapng,
    read,
    section,
)
from tests.support.waiting import scaled
from uspnet.fastpath import ffi, lib


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind: str) -> None:
    found, reader = read(KINDS[kind])
    unit = 1000 if kind.startswith("us") else 1
    assert found == [(ns // unit * unit, f) for ns, f in zip(STAMPS, FRAMES, strict=True)]
    assert reader.counters.bytes == sum(map(len, FRAMES))
    assert not reader.c.q.fault


@pytest.mark.parametrize(
    ("resolution", "units"),
    [
        (0, 1),
        (3, 10**3),
        (6, 10**6),
        (9, 10**9),
        (12, 10**12),
        (0x80, 1),
        (0x8A, 2**10),
        (0x9E, 2**30),
        (0xA0, 2**32),
        (None, 10**6),
    ],
)
@pytest.mark.parametrize("offset", [0, 1000, -5])
def test_resolutions(resolution: int | None, units: int, offset: int) -> None:
    ticks = 1_234_567 * units + units // 3
    data = section("<") + interface("<", resolution, offset) + enhanced("<", ticks, FRAMES[0])
    ((ns, _),) = read(data)[0]
    assert ns == (ticks // units + offset) * 10**9 + ticks % units * 10**9 // units


@pytest.mark.parametrize("resolution", [20, 127, 0xC0, 0xFF])
def test_the_finest_resolutions(resolution: int) -> None:
    data = section("<") + interface("<", resolution) + enhanced("<", 2**64 - 1, FRAMES[0])
    units = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    assert read(data)[0] == [((2**64 - 1) * 10**9 // units, FRAMES[0])]


@pytest.mark.parametrize(("seconds", "offset"), [(2**63, 0), (99, -100), (1, 2**62)])
def test_times_that_do_not_fit_are_unknown(seconds: int, offset: int) -> None:
    data = section("<") + interface("<", 0, offset) + enhanced("<", seconds, FRAMES[0])
    found, reader = read(data)
    assert found == [(UNKNOWN, FRAMES[0])]
    assert (reader.c.timeless, reader.c.timeless_first) == (1, 1)


@pytest.mark.parametrize("ticks", [2**64 // 1000 - 1, 2**64 // 1000, 2**64 // 1000 + 1, 2**63])
def test_microseconds_fit_until_2554(ticks: int) -> None:
    (found,), _ = read(section("<") + interface("<", 6) + enhanced("<", ticks, FRAMES[0]))
    assert found[0] == min(UNKNOWN, ticks * 1000)


def test_the_beginning_of_1970_is_known() -> None:
    data = section("<") + interface("<") + enhanced("<", 0, FRAMES[0])
    assert read(data)[0] == [(0, FRAMES[0])]


def test_sections_and_strange_blocks() -> None:
    data = b""
    for order in "<><":
        data += section(order) + block(order, 0x0BAD, b"comment") + interface(order, None)
        data += interface(order, 9) + enhanced(order, STAMPS[0], FRAMES[0], 1)
        data += obsolete(order, STAMPS[1] // 1000, FRAMES[1])
        data += block(order, 3, struct.pack(order + "I", len(FRAMES[2])) + FRAMES[2])
    one = [(STAMPS[0], FRAMES[0]), (STAMPS[1] // 1000 * 1000, FRAMES[1]), (UNKNOWN, FRAMES[2])]
    assert read(data)[0] == one * 3


def test_simple_packets_end_at_the_snap_length() -> None:
    data = section("<") + interface("<", snaplen=20)
    data += block("<", 3, struct.pack("<I", 60) + FRAMES[0][:20])
    assert read(data)[0] == [(UNKNOWN, FRAMES[0][:20])]


def test_long_packets_are_dropped_and_empty_ones_wrong() -> None:
    data = section("<") + interface("<")
    for frame in (FRAMES[0], bytes(1601), b"", bytes(1600), FRAMES[1]):
        data += enhanced("<", 5, frame)
    found, reader = read(data)
    assert [len(frame) for _, frame in found] == [60, 1600, 61]
    drops = reader.counters.drops
    assert (drops[lib.DROP_TOO_LONG], drops[lib.DROP_TOO_SHORT]) == (1, 1)
    assert reader.counters.errors == 2
    assert not reader.c.q.fault


@pytest.mark.parametrize("kind", KINDS)
def test_loop_starts_again(kind: str) -> None:
    reader = Reader(KINDS[kind], loop=True)
    found = [packet for _ in range(10) for packet in reader.burst(7)]
    assert len(found) == 70
    assert [frame for _, frame in found] == (FRAMES * 12)[:70]
    reader.close()


def test_a_loop_without_packets_ends() -> None:
    reader = Reader(section("<"), loop=True)
    assert reader.all() == []
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_anywhere(kind: str) -> None:
    whole = read(KINDS[kind])[0]
    for cut in range(len(KINDS[kind])):
        found, reader = read(KINDS[kind][:cut])
        assert found == whole[: len(found)]
        if reader.c.why:
            assert reader.c.q.fault == lib.FAULT_MALFORMED
            assert reader.c.at <= cut
            assert reader.c.number == len(found)


@pytest.mark.parametrize("length", [0, 4, 8, 11, 13, 16, 2**31, 2**32 - 4, 2**32 - 1])
@pytest.mark.parametrize("kind", [0x0BAD, 1, 2, 3, 6])
def test_block_lengths_that_can_not_be(kind: int, length: int) -> None:
    bad = struct.pack("<III", kind, length, length) + bytes(64)
    found, reader = read(pcapng() + bad)
    assert len(found) == len(FRAMES)
    assert reader.c.q.fault == lib.FAULT_MALFORMED
    assert (reader.counters.errors, reader.c.at) == (1, len(pcapng()))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (enhanced("<", 1, FRAMES[0], 9), lib.PCAP_ORDER),
        (interface("<") * lib.PCAP_INTERFACES, lib.PCAP_TOO_MANY),
        (section("<") + enhanced("<", 1, FRAMES[0]), lib.PCAP_ORDER),
        (section("<").replace(b"\1\0\0\0", b"\2\0\0\0", 1), lib.PCAP_VERSION),
        (block("<", 6, struct.pack("<5I", 0, 0, 0, 2**32 - 8, 60)), lib.PCAP_LENGTH),
        (block("<", 3, struct.pack("<I", 60)), lib.PCAP_LENGTH),
        (block("<", 1, struct.pack("<HHIHH", 1, 0, 0, 9, 60000)), lib.PCAP_LENGTH),
    ],
)
def test_what_is_wrong_is_told(more: bytes, why: int) -> None:
    found, reader = read(pcapng() + more)
    assert (len(found), reader.c.why) == (len(FRAMES), why)


def wireshark_count(data: bytes, path: Path) -> int:
    """Packets that Wireshark's library reads before it gives a file up."""
    path.write_bytes(data)
    command = ["capinfos", "-cM", path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=scaled(120), check=False)
    text = run.stderr + run.stdout
    told = re.search(r"after reading (\d+) packets|Number of packets: +(\d+)", text)
    return int(told[1] or told[2]) if told else 0


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(
        st.tuples(st.integers(0, 800), st.sampled_from([0, 1, 3, 6, 0x7F, 0x80, 0xFF, None])),
        min_size=1,
        max_size=6,
    ),
)
def test_mutated_files(kind: str, changes: list[tuple[int, int | None]]) -> None:
    """No crash, an end, every buffer back, and no packet out of nowhere."""
    data = bytearray(KINDS[kind])
    for at, value in changes:
        if value is None:
            del data[at % len(data) :][:8]
        else:
            data[at % len(data)] = value
    found, reader = read(bytes(data))
    assert sum(len(frame) for _, frame in found) <= len(data)
    assert reader.counters.packets == len(found)


@pytest.mark.skipif(
    not shutil.which("capinfos"), reason="capinfos is not installed: apt-get install tshark"
)
@pytest.mark.parametrize("kind", ["pcapng-le", "us-be"])
def test_broken_files_hold_no_more_than_wireshark_finds(kind: str, tmp_path: Path) -> None:
    for at in range(0, len(KINDS[kind]), 23):
        data = bytearray(KINDS[kind])
        data[at] ^= 0xFF
        found, _ = read(bytes(data))
        assert len(found) <= wireshark_count(bytes(data), tmp_path / "f"), at


@contextlib.contextmanager
def shrunk(path: Path, data: bytes) -> Iterator[Reader]:
    """A reader of a mapped file that is cut to 4096 bytes behind its first burst."""
    path.write_bytes(data)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = Reader(b"")
        reader.c.base, reader.c.size = ffi.from_buffer(mapped), len(mapped)
        assert lib.guard_install() == 0
        lib.guard_add(reader.c.base, reader.c.size, ffi.addressof(reader.c.q, "fault"))
        assert len(reader.burst()) == 32
        os.ftruncate(file.fileno(), 4096)
        yield reader
        lib.guard_remove(reader.c.base)
        assert reader.c.q.fault == lib.FAULT_MEMORY
        reader.close()


def test_a_file_may_shrink(tmp_path: Path) -> None:
    data = section("<") + interface("<") + enhanced("<", 1, FRAMES[0]) * 900
    with shrunk(tmp_path / "f", data) as reader:
        found = [packet for _ in range(30) for packet in reader.burst()]
        assert all(frame == FRAMES[0] for _, frame in found)
        assert reader.stack.top == 128


def test_a_file_that_shrinks_has_no_empty_packets(tmp_path: Path) -> None:
    data = classic()
    with shrunk(tmp_path / "f", data[:24] + data[24:] * 900) as reader:
        while reader.burst():
            pass
        assert not reader.counters.drops[lib.DROP_TOO_SHORT]
        assert reader.c.at <= 4096 + 200


MS = 10**6  # ns


@pytest.mark.parametrize(
    ("times", "lasts"),
    [
        ([each * MS + late for each in range(5, 15) for late in (MS, 0)], 9 * MS),  # two queues
        ([10**10, 10**10 + 4 * MS, 0, 5 * MS], 9 * MS),  # two recordings in one file
        ([0, 4 * MS], 4 * MS),
    ],
)
def test_the_time_that_a_file_takes(times: list[int], lasts: int) -> None:
    packets = [enhanced("<", each, FRAMES[0]) for each in times]
    data = section("<") + interface("<") + b"".join(packets)
    reader = Reader(data, loop=True)
    reader.c.timing, reader.c.clock.pace, reader.c.clock.gap_max = 1, 1e-3, 10**18
    first, got = 0, 0
    while got < 3 * len(times):  # a pass begins when the one before has ended
        got += len(reader.burst(1))
        first = first or reader.c.clock.last_due
    assert abs((reader.c.clock.last_due - first) * 1000 - 3 * lasts) < 10**6
    reader.close()


def test_records_that_are_passed_over_keep_nobody_asleep() -> None:
    """With the file's own timing, the timer is for a packet that is found already."""
    others = enhanced("<", 1, bytes(60), number=1) * 5000
    data = section("<") + interface("<") + interface("<", link=113) + others
    reader = Reader(data + enhanced("<", 2, bytes(60)))
    queue = ffi.cast("struct queue *", reader.c)
    reader.c.timing, reader.c.timer_fd = 1, -1
    assert not reader.burst()
    assert lib.pcap_arm(queue, 1)
    assert len(reader.burst()) == 1
    assert not lib.pcap_arm(queue, 1)
    reader.close()
