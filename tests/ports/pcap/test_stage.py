# SPDX-License-Identifier: Apache-2.0
"""Blocks on their way past the page cache, to disks that take all of it, a part, or nothing."""

from __future__ import annotations

import errno
import os
import random
import struct

import pytest

from tests.fastpath.test_pcap_sink import Ring
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib
from uspnet.ports.pcap.output import Output
from uspnet.ports.pcap.stage import BLOCK, PAGE, Stage

ROUNDS = by_tier(12, 40, 400)


class Disk(Output):
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
def test_a_file_ends_with_a_whole_record_and_rings_know_it(tmp_path, form):
    for number in range(ROUNDS):
        dice = random.Random(number)
        rings, shared = [Ring(form), Ring(form)], ffi.new("struct pcap_shared *")
        head = dice.randbytes(dice.randrange(1, 9000))
        room = dice.choice([1 << 40, dice.randrange(4 * BLOCK), dice.randrange(PAGE)])
        disk = Disk(tmp_path / f"{number}", room + len(head), refuses=number % 5 == 4)
        disk.put(memoryview(head))
        stage, wanted, failed, start = Stage(shared), head, False, ffi.new("uint8_t **")
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


def test_a_ring_that_goes_on_while_another_waits_is_not_set_back(tmp_path, monkeypatch):
    """The block is full amid the second ring's records; then the first one's are discarded."""
    monkeypatch.setattr("uspnet.ports.pcap.stage.BLOCK", 8 * PAGE)
    file = Output(os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT), None)
    rings, stage = [Ring(lib.PCAP_NG), Ring(lib.PCAP_NG)], Stage(ffi.new("struct pcap_shared *"))
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
