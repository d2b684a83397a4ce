# SPDX-License-Identifier: Apache-2.0
"""packet_rx whose process is killed at any instruction: a fresh one goes on with the kernel's ring
where the dead one was, and what it took is counted.
"""

from __future__ import annotations

import random
import struct

import pytest

from tests.fastpath.test_packet_ring import (  # noqa: F401 - a fixture
    BLOCK,
    BLOCKS,
    HEADER,
    MAC,
    frame,
    ring,
)
from tests.support.stepping import Stepper, region, x86_only
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib

LOST = lib.DROP_WORKER_LOST


def dying(ring, most):  # noqa: F811
    kept = [region(each) for each in (ring.c, ring.counters, ring.stack)]
    kept += [(ring.stack.free, 4 * ring.stack.room), (ring.view, BLOCK * BLOCKS)]
    return Stepper(
        ffi.addressof(lib, "packet_rx"), (ffi.addressof(ring.c.q), ring.packets, most), kept
    )


def revive(ring):  # noqa: F811
    lib.packet_revive(ring.c)
    ring.stack.free[0 : ring.stack.room] = range(ring.stack.room)
    ring.stack.top = ring.stack.room


def goes_on(ring, step):  # noqa: F811
    """Every block is the kernel's again, and the next ones are taken in order."""
    assert [ring.status(number) for number in range(BLOCKS)] == [0] * BLOCKS, step
    for turn in range(BLOCKS):
        ring.block((ring.c.block + turn) % BLOCKS, [frame(200 + turn)])
    assert ring.receive() == [frame(200 + turn) for turn in range(BLOCKS)], step


@x86_only
@pytest.mark.parametrize("most", [64, 4, 3])
def test_no_packet_is_lost_without_being_counted(ring, most):  # noqa: F811
    frames = [frame(number, 60 + number) for number in range(7)]
    ring.block(0, frames[:3])
    ring.block(1, [])
    ring.block(2, frames[3:])
    for step in dying(ring, most).steps():
        revive(ring)
        counted = ring.counters.packets + ring.counters.drops[LOST]
        again = ring.receive()
        assert again == frames[len(frames) - len(again) :], step
        assert len(frames) <= counted + len(again) <= len(frames) + most, step
        assert len(again) >= len(frames) - most, step
        assert not ring.counters.errors, step
        goes_on(ring, step)


@x86_only
def test_the_rest_of_a_joined_packet_is_left_out(ring):  # noqa: F811
    ring.block(0, [frame(1), frame(2)])
    ring.receive(1)
    ring.c.segments.left, ring.c.segments.size = 3000, 1000  # as within a GSO packet
    revive(ring)
    assert not ring.c.segments.left
    assert ring.receive() == [frame(2)]


@x86_only
def test_bad_packets_at_any_step(ring):  # noqa: F811
    ring.block(0, [frame(1), frame(2), frame(3, 5)])
    ring.block(1, [frame(4), frame(5)], snap=5000)
    ring.block(2, [frame(6)])
    for step in dying(ring, 64).steps():
        revive(ring)
        counted = ring.counters.packets + ring.counters.drops[LOST] + ring.counters.errors
        again = ring.receive()
        assert again == [frame(n) for n in (1, 2, 4, 6)][4 - len(again) :], step
        assert counted + len(again) >= 4, step
        goes_on(ring, step)


def test_whatever_stands_in_the_ring_and_in_the_queue_it_reads_nothing_beyond(ring):  # noqa: F811
    chance = random.Random(2)
    for _ in range(by_tier(2000, 20_000, 100_000)):
        ring.block(0, [frame(1)] * chance.randrange(1, 9), next=chance.choice([0, 16, 96, 1 << 20]))
        struct.pack_into("=I", ring.memory, 12, chance.choice([0, 3, 8, 1 << 31]))
        ring.c.block, ring.c.left = chance.choice([0, 0, 0, BLOCKS, 1 << 30]), chance.randrange(9)
        ring.c.at = chance.choice([HEADER, HEADER + MAC, HEADER + 144, BLOCK, 1 << 20])
        ring.c.counted = chance.randrange(9)
        ring.c.giving = chance.choice([0, 0, 1, BLOCKS, BLOCKS + 1])
        ring.c.q.fault = 0
        revive(ring)
        if not ring.c.q.fault:
            assert ring.c.block < BLOCKS
            assert ring.c.left <= 8
            ring.receive()
