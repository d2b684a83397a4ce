# SPDX-License-Identifier: Apache-2.0
"""memif rings whose worker process is killed at any instruction of a burst, and which a fresh one
goes on with: nothing is lost without a name, and no buffer is in two places.
"""

from __future__ import annotations

import random

import pytest

from tests.support.memif_rig import KINDS, NEXT, Rig
from tests.support.stepping import Stepper, region, x86_only
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib

LOST = lib.DROP_WORKER_LOST
FRAMES = [b"a" * 60, b"b" * 300, b"c" * 61, b"d" * 1500]
STARTS = by_tier((0, 0xFFFD), (0, 5, 0xFFFA, 0xFFFD, 0xFFFF))
RECEIVERS = [kind for kind in KINDS if "-rx-" in kind]
SENDERS = [kind for kind in KINDS if "-tx-" in kind]


def revive(rig):
    """What the parent does; the indexes of buffers that the ring still holds, or None if the ring
    can't go on.
    """
    if not rig.zero:
        failed = getattr(lib, f"memif_copy_revive_{rig.direction}")(rig.m)
        held = []
    else:
        failed = getattr(lib, f"memif_zero_revive_{rig.direction}")(rig.m)
        used = (rig.m.next - rig.m.clean) & 0xFFFF
        held = [int(rig.out[(rig.m.clean + i) % rig.size]) for i in range(0 if failed else used)]
    free = [index for index in range(rig.count) if index not in held]
    assert len(free) + len(held) == rig.count, "a buffer is held twice"
    rig.free[0 : len(free)] = free
    rig.stack.top = len(free)
    return None if failed else held


def dying(rig):
    """A burst of the rig's queue, to be run step by step."""
    kept = [region(each) for each in (rig.m, rig.counters, rig.free, rig.stack, rig.out)]
    memory = (rig.base, rig.region_bytes)
    return Stepper(rig.q.burst, (rig.q, rig.packets, len(FRAMES)), [*kept, memory])


def rigs(kind):
    """Rings of eight slots, also where positions wrap; those that receive with zero copy have
    posted their buffers.
    """
    for start in STARTS:
        rig = Rig(kind, log2=3, start=start)
        if kind == "zero-rx-client":
            rig.receive()
        yield rig


@x86_only
@pytest.mark.parametrize("kind", RECEIVERS)
def test_what_a_dead_worker_received_is_counted_or_received_again(kind):
    for rig in rigs(kind):
        rig.fill(*FRAMES)
        at = rig.at
        for step in dying(rig).steps():
            rig.at = at
            assert revive(rig) is not None, step
            counted = rig.counters.packets + rig.counters.drops[LOST]
            again = rig.receive_all()
            assert again == FRAMES[len(FRAMES) - len(again) :], step
            assert counted + len(again) == len(FRAMES), step
            assert rig.conserved(), step
            rig.fill(*FRAMES[:2])  # and the ring goes on
            assert rig.receive_all() == FRAMES[:2], step


@pytest.mark.parametrize("kind", RECEIVERS)
def test_what_the_loop_has_discarded_stays_discarded(kind):
    for rig in rigs(kind):
        for frames in (FRAMES, [[b"a" * 30, b"b" * 40]], [b"c" * 60, [b"d" * 50, b"e" * 70]]):
            rig.fill(*frames)
            got = len(rig.receive_all())
            rig.counters.packets -= got  # as `discard` does
            rig.counters.drops[lib.DROP_FILTERED] += got
            assert revive(rig) is not None
            assert rig.counters.packets == 0, frames


@x86_only
@pytest.mark.parametrize("kind", RECEIVERS)
def test_chains_and_bad_slots_at_any_step(kind):
    for rig in rigs(kind):
        rig.fill([b"a" * 30, b"b" * 40])
        rig.lie(length=0)
        rig.fill(b"c" * 60, [b"d" * 50, b"e" * 70])
        whole, at = [b"a" * 30 + b"b" * 40, b"c" * 60, b"d" * 50 + b"e" * 70], rig.at
        for step in dying(rig).steps():
            rig.at = at
            assert revive(rig) is not None, step
            counted = rig.counters.packets + rig.counters.drops[LOST]
            again = rig.receive_all()
            assert again == whole[len(whole) - len(again) :], step
            assert len(whole) <= counted + len(again), step
            assert rig.counters.errors >= 1 or rig.counters.drops[LOST], step
            assert rig.conserved(), step


def load(rig):
    """Puts the frames into the rig's packets, as a worker holds them."""
    for i, frame in enumerate(FRAMES):
        rig.stack.top -= 1
        index = rig.free[rig.stack.top]
        rig.packets[i] = (index, 64, len(frame))
        ffi.memmove(rig.pool.base + index * rig.pool.size + 64, frame, len(frame))


@x86_only
@pytest.mark.parametrize("kind", SENDERS)
def test_what_a_dead_worker_counted_as_sent_is_in_the_ring(kind):
    for rig in rigs(kind):
        load(rig)
        at = rig.at
        for step in dying(rig).steps():
            rig.at = at
            assert revive(rig) is not None, step
            sent = rig.counters.packets
            taken = rig.drain()
            assert taken in ([], FRAMES), step
            assert sent <= len(taken), step
            assert rig.conserved(), step
            for _ in range(3):  # around the ring: also through slots that were shortened
                assert rig.send(*FRAMES) == len(FRAMES), step
                assert rig.drain() == FRAMES, step
            assert rig.conserved(), step


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_writes_any_position_at_that_moment_gains_nothing(kind):
    chance = random.Random(kind)
    for _ in range(by_tier(300, 1500, 5000)):
        rig = Rig(kind, log2=3, start=chance.randrange(1 << 16), count=64)
        if rig.direction == "rx":
            rig.receive()
            rig.fill(b"x" * 60)
            rig.receive()
        else:
            rig.send(*FRAMES[: chance.randrange(5)])
        rig.m.ours[0] = (rig.m.ours[0] + chance.choice([-1, 1, 7, 8, 9, 4000])) & 0xFFFF
        rig.m.theirs[0] = chance.randrange(1 << 16)
        for slot in range(rig.size):
            rig.ring.slots[slot] = (chance.choice([0, NEXT, 7]), chance.randrange(3), 1 << 20, 9, 9)
        held = revive(rig)
        assert (held is None) == bool(rig.q.fault)
        if held is None:
            assert not rig.zero, "our own positions are out of its reach"
            continue
        if rig.direction == "rx":
            rig.receive()
        else:
            rig.send(b"y" * 60)
        assert rig.conserved()


@pytest.mark.parametrize("kind", ["zero-tx-client", "zero-rx-client"])
def test_positions_that_a_wild_write_has_moved_apart_are_a_fault(kind):
    rig = Rig(kind, log2=3)
    rig.m.next = rig.m.clean + rig.size + 1
    assert revive(rig) is None
    assert rig.q.fault == lib.FAULT_RING


def test_a_bell_that_was_being_rung_is_not_taken_for_one_that_blocks():
    for kind in KINDS:
        rig = Rig(kind)
        rig.m.ringing = 1
        revive(rig)
        assert not rig.m.ringing
