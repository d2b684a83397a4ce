# SPDX-License-Identifier: Apache-2.0
"""Blocks on their way past the page cache, to disks that take all of it, a part, or nothing."""

from __future__ import annotations

import errno
import os
import random
import struct
import threading
from types import SimpleNamespace

import pytest

from tests.fastpath.test_pcap_sink import Ring
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib
from uspnet.ports.pcap.disk import BLOCK, BLOCKS, PAGE, blocks
from uspnet.ports.pcap.hold import ANY_TIME, NEWEST, Held, Hold
from uspnet.ports.pcap.output import Output
from uspnet.ports.pcap.parts import Part
from uspnet.ports.pcap.stage import Stage
from uspnet.ports.pcap.writer import _Child

ROUNDS = by_tier(12, 40, 400)


class Small(Output):
    """A file that takes `room` bytes; `refuses`: nothing past the page cache."""

    def __init__(self, path, room, *, refuses):
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT), None)
        self.room, self.refuses, self.tried = room, refuses, False

    def put(self, data):
        taken = super().put(data[: self.room])
        self.room -= taken
        if taken < len(data):
            self.error = errno.ENOSPC
        return taken

    def put_direct(self, pages):
        at, self.tried = os.lseek(self.fd, 0, os.SEEK_CUR), True
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(pages)))
        assert at % PAGE == len(pages) % PAGE == address % PAGE == 0
        if self.refuses:
            self.error = errno.EINVAL
            return 0
        return self.put(pages[: self.room // 512 * 512])


@pytest.fixture
def begun():
    """Stages, with the threads that write for them."""
    made = []

    def begin(shared):
        made.append(Stage(shared))
        made[-1].disk.start()
        return made[-1]

    yield begin
    for stage in made:
        stage.disk.end()


def packets_of(form, data):
    """How many packets there are in whole records."""
    at = found = 0
    while at < len(data):
        size = struct.unpack_from("=I", data, at + (4 if form == lib.PCAP_NG else 8))[0]
        at, found = at + size + (0 if form == lib.PCAP_NG else 16), found + 1
    assert at == len(data)
    return found


def not_written(ring):
    """The packets that the writer's parent finds in a ring when the writer is gone."""
    theirs = ffi.new("struct pcap_ring *", ring.ring[0])
    theirs.staged = 0
    return int(lib.pcap_forget(theirs, ffi.new("uint64_t *")))


@pytest.mark.parametrize("form", [lib.PCAP_NG, lib.PCAP_US])
def test_a_file_ends_with_a_whole_record_and_rings_know_it(tmp_path, begun, form):
    for number in range(ROUNDS):
        dice = random.Random(number)
        rings, shared = [Ring(form), Ring(form)], ffi.new("struct pcap_shared *")
        head = dice.randbytes(dice.randrange(1, 9000))
        room = dice.choice([1 << 40, dice.randrange(4 * BLOCK), dice.randrange(PAGE)])
        disk = Small(tmp_path / f"{number}", room + len(head), refuses=number % 5 == 4)
        disk.put(memoryview(head))
        stage, wanted, failed, start = begun(shared), head, False, ffi.new("uint8_t **")
        try:
            for _ in range(dice.randrange(1, 60)):
                ring = dice.choice(rings)
                for _ in range(dice.randrange(1, 60)):
                    ring.send(dice.randrange(1, 32), dice.choice([14, 61, 1514, 9000]))
                octets = lib.pcap_peek(ring.ring, start)
                wanted += bytes(ffi.buffer(start[0], octets))
                stage.add(disk, start[0], octets, ring.ring)
                if dice.random() < 0.1:
                    stage.flush(disk)
            stage.flush(disk)
        except OSError as error:
            failed = error.errno == errno.ENOSPC
        found = (tmp_path / f"{number}").read_bytes()
        assert wanted.startswith(found)
        assert failed is (len(wanted) - len(head) > room)
        assert failed or found == wanted
        left = sum(map(not_written, rings))
        sent = sum(int(ring.counters.packets) for ring in rings)
        assert packets_of(form, found[len(head) :]) == sent - left
        assert bool(shared.cached) is (disk.refuses and disk.tried)
        os.close(disk.fd)
        for ring in rings:
            ring.pool.close()


def test_a_ring_that_goes_on_while_another_waits_is_not_set_back(tmp_path, monkeypatch, begun):
    """The block is full amid the second ring's records; then the first one's are discarded."""
    monkeypatch.setattr("uspnet.ports.pcap.stage.BLOCK", 8 * PAGE)
    file = Output(os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT), None)
    rings, stage = [Ring(lib.PCAP_NG), Ring(lib.PCAP_NG)], begun(ffi.new("struct pcap_shared *"))
    start = ffi.new("uint8_t **")
    for ring, packets in zip(rings, (10, 32), strict=True):
        ring.send(packets, 1514)
        octets = lib.pcap_peek(ring.ring, start)
        stage.add(file, start[0], octets, ring.ring)
    first, second = rings
    assert second.ring.staged
    first.send(5, 1514)
    lib.pcap_release(first.ring, lib.pcap_peek(first.ring, start))
    stage.flush(file)
    assert not_written(first) == not_written(second) == 0
    os.close(file.fd)
    for ring in rings:
        ring.pool.close()


class Slow(Output):
    """A file that takes each block only when it is `allowed`."""

    def __init__(self, path):
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT), None)
        self.allowed = threading.Semaphore(0)

    def put_direct(self, pages):
        with self.allowed:
            return super().put(pages)


def test_blocks_are_filled_while_the_disk_writes(tmp_path, monkeypatch, begun):
    monkeypatch.setattr("uspnet.ports.pcap.stage.BLOCK", 16 * PAGE)
    monkeypatch.setattr("uspnet.ports.pcap.disk.LEAST", PAGE)
    file, ring = Slow(tmp_path / "x"), Ring(lib.PCAP_NG)
    ring.ring.n_chunks = 3
    stage, data = begun(ffi.new("struct pcap_shared *")), random.Random(1).randbytes(200 * PAGE)
    for number in range(BLOCKS - 1):  # nothing waits: the disk has taken nothing yet
        stage.add(file, ffi.from_buffer("uint8_t[]", data) + number * 16 * PAGE, 16 * PAGE, None)
    assert (stage.disk.under_way, len(stage.free)) == (BLOCKS - 1, 0)
    file.allowed.release(BLOCKS)
    ring.send(20, 1514)
    start = ffi.new("uint8_t **")
    octets = lib.pcap_peek(ring.ring, start)
    stage.add(file, start[0], octets, ring.ring)
    assert not_written(ring) == 20  # what is staged only
    stage.flush(file)
    assert (stage.disk.under_way, len(stage.free), not_written(ring)) == (0, BLOCKS - 1, 0)
    found = (tmp_path / "x").read_bytes()
    assert found[: -int(octets)] == data[: (BLOCKS - 1) * 16 * PAGE]
    assert packets_of(lib.PCAP_NG, found[-int(octets) :]) == 20
    os.close(file.fd)
    ring.pool.close()


def test_each_block_can_be_a_huge_page():
    addresses = [int(ffi.cast("uintptr_t", block.base)) for block in blocks()]
    assert [address % BLOCK for address in addresses] == [0] * BLOCKS
    assert len(set(addresses)) == BLOCKS


def child_of(ring, file, hold):
    """The process that writes, as an object, of one ring; `file` is what it writes to."""
    rings = ffi.new("struct pcap_ring[]", 2)
    rings[0], rings[1] = ring.ring[0], ring.ring[0]
    rings[1].positions = ffi.addressof(ring.shared.positions, 1)
    part = Part(direct=True, hold=hold)
    writer = SimpleNamespace(bell=-1, user=0, shared=ring.shared, rings=rings, part=part)
    child = _Child(file.fd, writer, -1, None)
    child.file = file
    child.start_disk()
    return child


@pytest.mark.parametrize("room", [0, 10_000, 1 << 30])
def test_what_a_trigger_did_not_ask_for_counts_once_on_a_full_disk(tmp_path, room):
    """Records behind those that were staged are discarded when these are in the file."""
    ring, file = Ring(lib.PCAP_NG), Small(tmp_path / "x", room, refuses=False)
    ring.c.q.stamps = stamps = ffi.new("uint64_t[64]")
    for ns in (10, 20, 5, 30):  # 5 comes late, and is before the trigger's time
        stamps[0:64] = [ns] * 64
        assert ring.send(15, 1514) == 15
    ring.shared.asked_ns = 15
    child, failed = child_of(ring, file, Hold(1 << 20, before_ns=5, after_ns=10)), False
    try:
        child.drain(least=1)
    except OSError as error:
        failed = error.errno == errno.ENOSPC
    at = ring.shared.positions[0]
    in_file = packets_of(lib.PCAP_NG, (tmp_path / "x").read_bytes())
    assert in_file + at.untriggered + not_written(ring) == 60
    assert (failed, in_file) == (room < 1 << 30, min(room // 1548, 30))
    assert at.untriggered == (0 if failed else 30)
    child.stage.disk.end()
    os.close(file.fd)
    ring.pool.close()


@pytest.mark.parametrize("before_ns", [0, ANY_TIME])
def test_who_asks_for_a_trigger_gets_packets_without_times(before_ns):
    ring = Ring(lib.PCAP_NG)
    rings = ffi.new("struct pcap_ring[]", [ring.ring[0], ring.ring[0]])
    held = Held(Hold(1 << 20, before_ns), SimpleNamespace(shared=ring.shared, rings=rings))
    ring.c.q.stamps = stamps = ffi.new("uint64_t[64]")
    stamps[0:64] = [0] * 64
    ring.shared.asked_ns = NEWEST
    for count, triggered in ((0, 0), (3, 1)):
        assert ring.send(count, 60) == count
        held.look()
        assert ring.shared.triggered_ns == triggered
    start = ffi.new("uint8_t **")
    size = held.peek(0, start)
    assert packets_of(lib.PCAP_NG, bytes(ffi.buffer(start[0], size))) == 3
    ring.pool.close()


def test_a_user_with_too_many_threads_writes_through_the_page_cache(tmp_path, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    ring, file = Ring(lib.PCAP_NG), Output(os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT), None)
    ring.send(20, 1514)
    child = child_of(ring, file, None)
    child.drain()
    assert (bool(ring.shared.cached), not_written(ring)) == (True, 0)
    assert packets_of(lib.PCAP_NG, (tmp_path / "x").read_bytes()) == 20
    os.close(file.fd)
    ring.pool.close()
