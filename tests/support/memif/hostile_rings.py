# SPDX-License-Identifier: Apache-2.0
"""A program: throws mutated descriptors and positions at memif's ring functions.

`hostile_rings.py SEED DESCRIPTORS SECONDS`: so many descriptors through the functions one burst
at a time, then so long with a worker running while the other side scribbles. Meant for a build
with sanitizers; prints what was worked on.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time

from tests.support.memif.raw_memif import Mutator, punch
from tests.support.memif_rig import KINDS, Rig
from uspnet.fastpath import ffi, lib
from uspnet.jobs.loops import Drop
from uspnet.jobs.measure import make_streams
from uspnet.jobs.sender import Generate
from uspnet.jobs.worker import Lane, Worker
from uspnet.memory import new
from uspnet.port import Queue

VARIANTS = 2048


def scribble(rig, variants, chance):
    """A whole ring of new descriptors."""
    block = b"".join(chance.choices(variants, k=rig.size))
    ffi.memmove(rig.ring.slots, block, len(block))


def turn(rig, chance):
    """The peer's position moves, mostly as it may; then bursts until nothing more happens.

    Returns the descriptors that were worked on.
    """
    before = position(rig)
    ahead = rig.waiting() if rig.zero or rig.direction == "tx" else rig.size
    rig.move(chance.choice([ahead, ahead, ahead // 2, 1]))
    if chance.random() < 0.02:
        rig.m.theirs[0] = chance.randrange(65536)
    for _ in range(2 * rig.size + 8):
        n = chance.choice([1, 32, 64])
        if rig.direction == "rx":
            got = rig.burst(rig.q, rig.packets, n)
            for packet in rig.packets[0:got]:
                assert packet.index < rig.count
                assert packet.offset + packet.length <= rig.pool.size
                rig.give(packet.index)
            done = got
        else:
            done = rig.send(*[b"x" * chance.choice([1, 60, 1514])] * n)
        if not done and (rig.m.q.fault or quiet(rig)):
            break
    return (position(rig) - before) & 0xFFFF


def position(rig):
    """What moves on with each descriptor that we have worked on."""
    return rig.m.clean if rig.zero and rig.direction == "rx" else rig.m.next


def quiet(rig):
    """Did another look find nothing either?"""
    at = (rig.m.next, rig.m.clean)
    if rig.direction == "rx":
        got = rig.burst(rig.q, rig.packets, 64)
        for packet in rig.packets[0:got]:
            rig.give(packet.index)
    return at == (rig.m.next, rig.m.clean)


def bursts(seed, wanted):
    """Descriptors by the burst, over all functions and roles."""
    chance, total = random.Random(seed), 0
    mutator = Mutator(seed, "/tmp")
    while total < wanted:
        for kind in KINDS:
            log2 = chance.choice([1, 3, 6, 10, 10, 10, 12, 14])
            rig = Rig(kind, log2, chance.randrange(65536), count=(1 << log2) + 256, slot=512)
            variants = [mutator.descriptor(rig.region_bytes) for _ in range(VARIANTS)]
            for _ in range(10):
                scribble(rig, variants, chance)
                total += turn(rig, chance)
                assert rig.conserved(), (kind, log2, seed)
                if rig.m.q.fault:
                    break
    mutator.close()
    return total


class FileRig(Rig):
    """On a file that its owner may shorten, stretch and punch holes into at any time."""

    def region(self, size):
        self.fault, self.file = ffi.new("uint32_t *"), os.memfd_create("rig")
        self.mapped = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        os.ftruncate(self.file, self.mapped)
        return ffi.cast("uint8_t *", lib.guard_map(self.file, self.mapped, self.fault))

    def change(self, chance):
        """One change of the file."""
        at = chance.randrange(self.mapped)
        if chance.random() < 0.3:
            punch(self.file, at & -mmap.PAGESIZE, chance.choice([mmap.PAGESIZE, self.mapped]))
        else:
            os.ftruncate(self.file, chance.choice([0, at, self.mapped, 2 * self.mapped]))

    def close(self):
        lib.guard_unmap(self.base, self.mapped)
        os.close(self.file)


def files(seed, wanted):
    """Descriptors as in `bursts`, while the file behind them changes. Returns the changes."""
    chance, changes, faults = random.Random(seed), 0, 0
    mutator = Mutator(seed, "/tmp")
    while changes < wanted:
        for kind in KINDS:
            log2 = chance.choice([1, 3, 6, 8])
            rig = FileRig(kind, log2, chance.randrange(65536), count=(1 << log2) + 256, slot=512)
            variants = [mutator.descriptor(rig.region_bytes) for _ in range(64)]
            for _ in range(10):
                rig.change(chance)
                scribble(rig, variants, chance)
                rig.change(chance)
                turn(rig, chance)
                changes += 2
                assert rig.conserved(), (kind, log2, seed)
                if rig.m.q.fault or (rig.fault[0] and chance.random() < 0.5):
                    break
            faults += rig.fault[0] != 0
            rig.close()
    mutator.close()
    assert faults
    return changes


def generate(template):
    """A loop that sends one template as fast as it can."""
    turn = new("uint64_t *")
    return Generate(template, 1, 1, ffi.NULL, turn, 0, 0, ffi.NULL, 0.0, make_streams(1), 0)


def race(seed, kind, seconds, make=Rig):
    """A worker moves packets while ring and position change under it, and, where it is one, the
    file as well. Returns the packets.
    """
    chance, mutator = random.Random(seed), Mutator(seed, "/tmp")
    rig = make(kind, 6, count=512, slot=512)
    variants = [mutator.descriptor(rig.region_bytes) for _ in range(VARIANTS)]
    queue = Queue(None, rig.direction, 0, rig.q)
    if rig.direction == "rx":
        loop, lane = Drop(), Lane(rx=queue)
    else:
        frame = ffi.new("uint8_t[]", 600)
        template = ffi.new("struct frame_template *", {"frame": frame, "length": 600})
        loop, lane = generate(template), Lane(exits=[queue])
    worker = Worker(loop, [lane], rig.stack)
    worker.c.poll, worker.c.burst, worker.c.ticks_hz = lib.POLL_BUSY, 32, 10**9
    worker.thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for variant in chance.sample(variants, 100):
            at = chance.randrange(rig.size)
            ffi.memmove(rig.base + 128 + 16 * at, variant, 16)
            by = chance.randrange(rig.size + 1)
            if rig.zero:
                at = rig.m.clean + by % (((rig.m.next - rig.m.clean) & 0xFFFF) + 1)
            else:
                at = rig.m.next + (by if rig.direction == "rx" else -by)
            rig.m.theirs[0] = (at + rig.m.their_lead) & 0xFFFF
            if make == FileRig and chance.random() < 0.001:
                rig.change(chance)
    worker.join()
    worker.close()
    assert rig.conserved(), (kind, seed)
    mutator.close()
    if make == FileRig:
        rig.close()
    return rig.counters.packets + rig.counters.errors


def main():
    seed, wanted, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    lib.guard_install()
    total = bursts(seed, wanted)
    changes = files(seed, wanted // 100)
    raced = [race(seed, kind, seconds) for kind in KINDS]
    assert all(raced), raced
    for kind in KINDS:
        race(seed, kind, seconds, FileRig)
    print(json.dumps({"descriptors": total, "changes": changes, "raced": sum(raced)}))


if __name__ == "__main__":
    main()
