# SPDX-License-Identifier: Apache-2.0
"""A device that writes anything anywhere in its rings, between calls and during them. Whatever it
does, packets stay inside their buffers, and every buffer has one owner.
"""

import random
import struct
import threading
from contextlib import contextmanager

import pytest

from tests.fastpath import test_intel_advanced, test_intel_legacy, test_virtq, test_vmxnet3
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib

STEPS = by_tier(6000, 20_000, 50_000)
BURST = 64


class Intel:
    """Descriptors that begin with done and last in either format."""

    def __init__(self, module, name):
        self.bench = module.Bench()
        self.rx, self.tx = self.bench.rx, self.bench.tx
        self.receive, self.send = getattr(lib, f"{name}_rx"), getattr(lib, f"{name}_tx")
        assert lib.intel_fill(self.rx) == 0
        self.palette = [3, 3 << 32, 1, 1 << 32, 3 | 60 << 32, 60 | 3 << 32, 60 | 1 << 32]
        self.palette += [3 | 0xFFFF << 32, 0xFFFF | 3 << 32]

    def answer(self, noise):
        """A frame, or nearly one, in the slot that is looked at next."""
        self.rx.ring[self.rx.next % self.rx.size].word = noise.choice(self.palette)

    def empty(self):
        lib.intel_empty(self.rx, 1)
        lib.intel_empty(self.tx, 0)


class Vmxnet3:
    """Completions of either generation."""

    def __init__(self):
        self.bench = test_vmxnet3.Bench(limit=256)
        self.rx, self.tx = self.bench.rx, self.bench.tx
        self.receive, self.send = lib.vmxnet3_rx, lib.vmxnet3_tx
        assert lib.vmxnet3_fill(self.rx, 1) == 0
        ends = [1 << 14, 1 << 15, 3 << 14]
        self.palette = [1 << 63 | 60, 60, 1 << 63 | 256, 1 << 63 | 1 << 14 | 60, *ends]
        self.palette += [
            end | ring << 16 | slot for end in ends for ring in (0, 1) for slot in (0, 7)
        ]

    def answer(self, noise):
        """A completion for one of the next slots of either ring."""
        v, number = self.rx, noise.choice((0, 0, 0, 1))
        at, ring = v.completions[v.completed % v.completions_size], v.rings[number]
        ends = noise.choice((3, 3, 1, 2)) << 14 if number == 0 else 1 << 14
        slot = (ring.next + noise.choice((0, 0, 0, 1, 5, -1))) % ring.size
        at.low = slot | noise.choice((0, 0, 0, 0, ring.size)) | ends | number << 16
        written = 0 if v.completed & v.completions_size else 1 << 63
        at.high = written | noise.choice((60, 256, 257, 0)) | noise.choice((0, 0, 1 << 14))

    def empty(self):
        lib.vmxnet3_empty(self.rx)
        lib.vmxnet3_empty(self.tx)


class Virtq:
    """Used elements and descriptors; indices near those that are expected."""

    def __init__(self, *, packed):
        self.packed, self.bench = packed, test_virtq.Bench(packed=packed, merges=1)
        name = "virtq_packed" if packed else "virtq"
        self.rx, self.tx = self.bench.rx.c, self.bench.tx.c
        self.receive, self.send = getattr(lib, f"{name}_rx"), getattr(lib, f"{name}_tx")
        both = (1 << 7 | 1 << 15) << 48
        self.palette = [both | n << 32 | 72 for n in range(8)]
        self.palette += [n | 72 << 32 for n in range(8)]
        self.palette += [n << 16 for n in range(4)]

    def answer(self, noise):
        """A used chain where one is looked for; often the one that comes next."""
        v, lengths = self.rx, (72, 72, 72, 30, 5000)
        chain = noise.choice((v.clean, v.clean, v.clean, noise.randrange(80))) % v.chains
        held = v.buffers[chain]  # read once: the ring may take it back meanwhile
        if held != lib.VIRTQ_NONE:
            buffer = held * v.q.pool.size + held % 8 * 64
            pieces = noise.choice((1, 1, 1, 2, 3, 0, 0xFFFF))
            struct.pack_into("<H", self.bench.pool.memory.map, buffer + 10, pieces)
        if self.packed:
            flags = 0 if v.clean & v.chains else 1 << 7 | 1 << 15
            word = noise.choice(lengths) | chain << 32 | flags << 48
            v.descriptors[v.clean % v.chains].word = word
        else:
            used = v.used.ring[v.clean % v.chains]
            used.id, used.length = chain, noise.choice(lengths)
            v.used.index = (v.clean + noise.choice((1, 1, 2, 3))) % 65536

    def empty(self):
        lib.virtq_empty(self.rx)
        lib.virtq_empty(self.tx)


KINDS = {
    "intel_legacy": lambda: Intel(test_intel_legacy, "intel_legacy"),
    "intel_advanced": lambda: Intel(test_intel_advanced, "intel_advanced"),
    "vmxnet3": Vmxnet3,
    "split": lambda: Virtq(packed=False),
    "packed": lambda: Virtq(packed=True),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@contextmanager
def made(kind):
    victim = kind()
    yield victim
    victim.bench.pool.close()


def scribble(noise, victim):
    """Answers, or overwrites a word of the rings: with another of them, one bit changed, or with
    anything.
    """
    if noise.random() < 0.3:
        victim.answer(noise)
        return
    memory = victim.bench.pool.rings.map
    words = len(memory) // 8
    at, source = 8 * noise.randrange(words), 8 * noise.randrange(words)
    (value,) = struct.unpack_from("<Q", memory, source if noise.random() < 0.3 else at)
    match noise.randrange(4):
        case 0:
            value ^= 1 << noise.randrange(64)
        case 1:
            value = noise.choice(victim.palette)
        case 2:
            value = noise.choice(victim.palette) ^ noise.getrandbits(16) << noise.choice(
                (0, 16, 32)
            )
        case _:
            value = noise.getrandbits(64)
    struct.pack_into("<Q", memory, at, value & 2**64 - 1)


def step(noise, victim):
    """A burst each way. What is received is looked at, and given back. Returns how many it was."""
    bench, packets = victim.bench, victim.bench.packets
    stack, size = bench.stack, bench.pool.size
    got = victim.receive(ffi.addressof(victim.rx.q), packets, noise.randint(1, BURST))
    indices = set()
    for packet in packets[0:got]:
        assert packet.index < bench.pool.count
        assert packet.offset + packet.length <= size
        indices.add(packet.index)
        stack.free[stack.top] = packet.index
        stack.top += 1
    assert len(indices) == got
    n = min(noise.randint(1, BURST), stack.top)
    for packet in packets[0:n]:
        stack.top -= 1
        packet.index, packet.offset, packet.length = stack.free[stack.top], 64, 60
    taken = victim.send(ffi.addressof(victim.tx.q), packets, n)
    for packet in packets[taken:n]:
        stack.free[stack.top] = packet.index
        stack.top += 1
    return got


def check_owners(victim):
    """Each buffer is in the stack exactly once when the rings are empty; each drop has a reason."""
    victim.empty()
    for queue in (victim.rx.q, victim.tx.q):
        counted = queue.counters
        assert counted.dropped == sum(counted.drops[0 : lib.DROP_ERRORS])
        assert counted.errors == sum(counted.drops[lib.DROP_ERRORS : lib.DROP_REASONS])
    stack = victim.bench.stack
    assert sorted(stack.free[0 : stack.top]) == list(range(stack.room))


@pytest.mark.parametrize("seed", range(3))
def test_words_that_change_between_calls(kind, seed):
    noise, got = random.Random(seed), 0
    for _ in range(STEPS // 100):
        with made(kind) as victim:  # one that found a fault does nothing more
            for _ in range(33):
                for _ in range(noise.randrange(12)):
                    scribble(noise, victim)
                got += step(noise, victim)
            check_owners(victim)
    assert got, "some of it passes for frames"


def test_words_that_change_during_calls(kind):
    noise, stop = random.Random(7), threading.Event()
    with made(kind) as victim:

        def flip():
            chance = random.Random(8)
            while not stop.is_set():
                scribble(chance, victim)

        thread = threading.Thread(target=flip)
        thread.start()
        try:
            for _ in range(STEPS // 10):
                step(noise, victim)
        finally:
            stop.set()
            thread.join()
        check_owners(victim)
