# SPDX-License-Identifier: Apache-2.0
"""The functions by which the command's process takes rings over from a worker process: whatever
positions and tables that has left, they stay within the ring and the stack.
"""

from __future__ import annotations

import random

import pytest

from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib

SLOTS, GUARD = 64, 0xA5A5A5A5
VALUES = (0, 1, SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS, 0xFFFF, 1 << 31, (1 << 32) - 1)
STATE = {
    "intel_queue": ("next", "clean", "tail", "skipping"),
    "virtq_queue": ("next", "clean", "published", "left", "in_order"),
    "memif_queue": ("next", "clean", "counted"),
    "vmxnet3_ring": ("next", "fill", "notified"),
    "vmxnet3_queue": ("completed",),
}


class Bench:
    """A stack of as many buffers as a ring has, between guards, and structs with random states."""

    def __init__(self, seed):
        self.noise, self.kept = random.Random(seed), []
        self.free = ffi.new("uint32_t[]", [GUARD] * (3 * SLOTS))
        self.counters = ffi.new("struct counters *")
        self.stack = ffi.new("struct stack *", {"room": SLOTS, "free": self.free + SLOTS})
        self.top = self.noise.choice((self.noise.randrange(SLOTS + 1), *VALUES))
        self.stack.top = self.top

    def array(self, kind, count=SLOTS):
        """Return an array with random contents."""
        made = ffi.new(f"{kind}[]", count)
        ffi.memmove(made, self.noise.randbytes(ffi.sizeof(made)), ffi.sizeof(made))
        self.kept.append(made)
        return made

    def table(self):
        """Return a table of positions, some of which make sense."""
        made = self.array("uint32_t")
        for at in range(SLOTS):
            if self.noise.random() < 0.7:
                made[at] = self.noise.choice((at, at + 1, lib.VIRTQ_NONE, *VALUES)) & 0xFFFFFFFF
        return made

    def muddle(self, struct):
        """Write random values to what a loop changes in a struct."""
        kind = ffi.typeof(struct).item
        for name in STATE[kind.cname.removeprefix("struct ")]:
            value = self.noise.choice((self.noise.choice(VALUES), self.noise.getrandbits(32)))
            setattr(struct, name, value % (1 << 8 * ffi.sizeof(dict(kind.fields)[name].type)))
        if hasattr(struct, "part"):
            struct.part.open = self.noise.randrange(2)
        if hasattr(struct, "q"):
            struct.q.stack, struct.q.counters = self.stack, self.counters
        return struct

    def check(self):
        """Check that nothing was written around the stack."""
        assert self.stack.top in {self.top, *range(SLOTS + 1)}
        around = [*self.free[0:SLOTS], *self.free[2 * SLOTS : 3 * SLOTS]]
        assert set(around) == {GUARD}

    def check_fill(self, fill):
        """Check that a ring is not filled from beyond the stack."""
        for top in (SLOTS + 1, *VALUES[-3:]):
            self.stack.top = top
            assert fill() == -1
            assert self.stack.top == top
        self.stack.top = 0


def intel(bench):
    queue = bench.muddle(ffi.new("struct intel_queue *", {"size": SLOTS}))
    queue.ring = bench.array("struct intel_descriptor")
    queue.buffers, queue.last = bench.table(), bench.table()
    assert lib.intel_clean(queue) <= SLOTS
    lib.intel_empty(queue, bench.noise.randrange(2))
    bench.check_fill(lambda: lib.intel_fill(queue))


def virtq(bench, prefix="virtq"):
    queue = bench.muddle(ffi.new("struct virtq_queue *", {"chains": SLOTS, "descs_per_chain": 2}))
    queue.descriptors, queue.buffers = (
        bench.array("struct virtq_descriptor", 2 * SLOTS),
        bench.table(),
    )
    available, used = bench.array("uint8_t", 6 + 4 * SLOTS), bench.array("uint8_t", 6 + 16 * SLOTS)
    queue.available = ffi.cast("struct virtq_available *", available)
    queue.used = ffi.cast("struct virtq_used *", used)
    queue.ours = queue.theirs = bench.array("struct virtq_events", 1)
    assert getattr(lib, f"{prefix}_clean")(queue) <= SLOTS
    lib.virtq_empty(queue)


def packed(bench):
    virtq(bench, "virtq_packed")


def vmxnet3(bench):
    queue = bench.muddle(ffi.new("struct vmxnet3_queue *", {"completions_size": 2 * SLOTS}))
    queue.completions = bench.array("struct vmxnet3_completion", 2 * SLOTS)
    for ring in queue.rings:
        ring.size, ring.buffers = SLOTS, bench.table()
        ring.slots = bench.array("struct vmxnet3_descriptor")
        bench.muddle(ffi.addressof(ring))
    assert lib.vmxnet3_clean(queue) <= SLOTS
    lib.vmxnet3_empty(queue)
    bench.check_fill(lambda: lib.vmxnet3_fill(queue, 1))


def memif(bench):
    queue = bench.muddle(ffi.new("struct memif_queue *", {"size": SLOTS, "bell_fd": -1}))
    memory = bench.array("uint8_t", 128 + 16 * SLOTS)
    queue.ring, queue.out = ffi.cast("struct memif_ring *", memory), bench.table()
    queue.ours, queue.theirs = bench.array("uint16_t", 1), bench.array("uint16_t", 1)
    assert lib.memif_untaken(queue) <= SLOTS
    lib.memif_take_back(queue)
    for name in (
        "memif_copy_revive_rx",
        "memif_copy_revive_tx",
        "memif_zero_revive_rx",
        "memif_zero_revive_tx",
    ):
        getattr(lib, name)(queue)
    lib.memif_zero_reset(queue)


@pytest.mark.parametrize("take_over", [intel, virtq, packed, vmxnet3, memif])
def test_rings_and_stacks_are_stayed_within(take_over):
    for seed in range(by_tier(500, 4000, 20_000)):
        bench = Bench(seed)
        take_over(bench)
        bench.check()
