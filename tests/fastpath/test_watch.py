# SPDX-License-Identifier: Apache-2.0
"""Watched queues: the two sides of a ring, and what each has to bear from the other."""

from __future__ import annotations

import random
from collections import deque

import pytest

from tests.support.queue_rig import QueueRig
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib
from uspnet.pool import FRAME_MAX

SIZE, GUARD = 1 << 14, b"\xa5" * 4096
ROUNDS = by_tier(300, 3000, 30_000)
LENGTHS = (14, 15, 16, 17, 60, 300, 1500)


class Watched:
    """A queue that drops frames, and a watcher; `at`: where their ring is."""

    def __init__(self, longest=0xFFFF):
        self.rig = QueueRig(160, FRAME_MAX)
        self.memory = self.rig.new("uint64_t[]", (lib.WATCH_HEAD + SIZE + len(GUARD)) // 8)
        base = ffi.cast("uint8_t *", self.memory)
        self.shared = ffi.cast("struct watch_shared *", base)
        self.records = base + lib.WATCH_HEAD
        ffi.memmove(self.records + SIZE, GUARD, len(GUARD))
        ring = {"shared": self.shared, "records": self.records, "size": SIZE}
        self.watch = self.rig.new("struct watch *", {**ring, "longest": longest, "drops": 1})
        self.queue = self.rig.queue("null_queue", "null_rx")
        self.queue.q.watch = self.watch
        self.notes = self.rig.new("struct watched_note[]", 2)
        self.watcher = self.rig.queue("watched_queue", "watched_rx", {**ring, "n_notes": 2})
        self.watcher.notes = self.notes
        self.stamps = self.rig.new("uint64_t[]", 64)
        self.origins = self.rig.new("struct origin[]", 64)
        self.watcher.q.stamps, self.watcher.q.origins = self.stamps, self.origins

    def drop(self, frames, reason=lib.DROP_LOSS):
        packets = ffi.new("struct packet[]", len(frames))
        for packet, frame in zip(packets, frames, strict=True):
            self.rig.stack.top -= 1
            packet.index = self.rig.stack.free[self.rig.stack.top]
            packet.offset, packet.length = 64, len(frame)
            self.rig.store(packet.index * self.rig.pool.size + 64, frame)
        lib.watch_drops(ffi.addressof(self.queue.q), reason, packets, len(frames))
        for packet in packets:
            self.rig.push(packet.index)

    def take(self, n=32):
        return self.rig.frames_of(self.watcher, n)

    def missed(self):
        return int(self.watcher.q.counters.drops[lib.DROP_NO_ROOM])

    def guarded(self):
        return bytes(ffi.buffer(self.records + SIZE, len(GUARD))) == GUARD


def made(number, length):
    return (number.to_bytes(4, "big") * (length // 4 + 1))[:length]


def test_what_is_shown_is_seen_in_order_or_counted():
    """Round and round, by a watcher that is now faster and now slower."""
    draw, both = random.Random(7), Watched()
    sent, seen, waiting = 0, 0, deque()
    for turn in range(ROUNDS):
        frames = [made(sent + i, draw.choice(LENGTHS)) for i in range(draw.randint(1, 32))]
        sent += len(frames)
        before = int(both.shared.missed)
        both.drop(frames)
        kept = len(frames) - (int(both.shared.missed) - before)
        waiting.append((frames, kept))
        for _ in range(3 if turn % 20 < 10 else 0):
            for frame in both.take(draw.randint(1, 32)):
                seen += 1
                while waiting[0][1] == 0:
                    waiting.popleft()
                group, left = waiting[0]
                assert frame in group
                waiting[0] = group[group.index(frame) + 1 :], left - 1
    while got := both.take():
        seen += len(got)
    assert both.missed() > 0
    assert seen + both.missed() == sent
    assert both.watcher.q.counters.packets == seen
    assert both.rig.held == 0
    assert both.guarded()
    assert not both.watcher.q.fault


def test_of_a_packet_as_much_is_kept_as_was_asked_for():
    both = Watched(longest=100)
    both.drop([made(1, 1500), made(2, 60)])
    assert both.take() == [made(1, 100), made(2, 60)]
    assert [each.length for each in both.origins[0:2]] == [1500, 60]
    assert 0 < both.stamps[0] == both.stamps[1] < lib.WATCH_RING << 40


def test_a_watch_stands_before_the_own_function_of_a_queue():
    both = Watched()
    both.watch.drops, both.watch.burst = 0, both.queue.q.burst
    both.queue.q.burst, both.queue.length = ffi.addressof(lib, "watch_burst"), 70
    assert both.rig.frames_of(both.queue, 20) == [bytes(70)] * 20
    lib.watch_drops(ffi.addressof(both.queue.q), lib.DROP_LOSS, both.rig.packets, 1)
    assert both.take(64) == [bytes(70)] * 20


@pytest.mark.parametrize("side", ["job", "watcher"])
def test_neither_side_is_harmed_by_the_other(side):
    """Whatever the other one writes, at any time."""
    draw, both = random.Random(11), Watched()
    odd = [0, 1, 15, 16, SIZE - 16, SIZE, SIZE + 16, 1 << 63, (1 << 64) - 16, (1 << 64) - 1]
    faults = refused = 0
    for _ in range(ROUNDS):
        both.drop([made(draw.getrandbits(16), draw.choice(LENGTHS)) for _ in range(8)])
        both.take(draw.randint(1, 16))
        if side == "job":  # is hostile
            both.shared.tail = draw.choice([*odd, both.shared.head + draw.choice(odd)]) % 2**64
            at = draw.randrange(SIZE - 16)
            ffi.memmove(both.records + at, draw.randbytes(16), 16)
        else:
            both.shared.head = draw.choice([*odd, both.shared.tail + draw.choice(odd)]) % 2**64
            both.watch.taken = (both.watch.next - SIZE) % 2**64  # it looks where the watcher is
            missed = int(both.shared.missed)
            both.drop([made(1, draw.choice(LENGTHS))])
            refused += both.shared.missed != missed
        both.shared.missed = draw.choice(odd)
        both.take(draw.randint(1, 16))
        assert both.guarded()
        assert both.rig.held == 0
        if side == "job" and both.watcher.q.fault:
            faults += 1
            both.watcher.q.fault, both.watcher.next = 0, both.watch.next
            both.shared.tail = both.shared.head = both.watch.next
    assert (faults > 0, refused > 0) == (side == "job", side == "watcher")
    assert both.watcher.q.counters.packets > ROUNDS


def test_a_watcher_without_buffers_goes_on_later():
    both = Watched()
    both.drop([made(n, 60) for n in range(10)])
    top, both.rig.stack.top = both.rig.stack.top, 3
    first = both.rig.packets_of(both.watcher)
    assert len(first) == 3
    for packet in first:
        both.rig.push(packet.index)
    both.rig.stack.top = top
    both.watcher.over = 1
    assert both.take() == [made(n, 60) for n in range(3, 10)]
    assert both.watcher.q.ended
