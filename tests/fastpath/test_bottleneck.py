# SPDX-License-Identifier: Apache-2.0
"""The bottleneck of fwd --mode impair, at times that the test chooses: against RFC 8289 and a
trace, each written down plainly.
"""

from __future__ import annotations

import collections
import math
import random

import pytest

from uspnet.fastpath import ffi, lib

MS = 1_000_000  # a tick is a ns here
MTU = 1514
SHIFT = 20  # of byte_ticks


class Bottleneck:
    """The one in C; `gone` has (number, time, whether it was dropped) of each packet."""

    def __init__(self, places=100_000, rate=0, bucket=0, trace=(), codel=None):
        self.memory = ffi.new("struct queued[]", places)
        self.c = ffi.new("struct bottleneck *", {"queue": self.memory, "n_places": places})
        if rate:
            self.c.byte_ticks = round(8e9 / rate * (1 << SHIFT))
            self.c.bucket = round(bucket * 8e9 / rate)
        if trace:
            self.trace = ffi.new("uint64_t[]", [each * MS for each in trace])
            self.c.trace, self.c.n_trace = self.trace, len(trace)
        if codel:
            self.c.codel.target, self.c.codel.interval = (each * MS for each in codel)
        self.gone, self.put = [], 0

    def until(self, now):
        packet, at = ffi.new("struct queued *"), ffi.new("uint64_t *")
        while said := lib.bottleneck_next(self.c, now, packet, at):
            self.gone.append((packet.packet.index, at[0], said == lib.PASSAGE_DROPPED))

    def add(self, came, length):
        self.until(came)
        packet = {"index": self.put, "offset": 0, "length": length}
        lib.bottleneck_put(self.c, ffi.new("struct queued *", {"came": came, "packet": packet}))
        self.put += 1

    def finish(self):
        while (due := lib.bottleneck_due(self.c)) != (1 << 64) - 1:
            self.until(due)
        return self.gone


class Codel:
    """The pseudocode of RFC 8289, section 5, with its names."""

    def __init__(self, target, interval):
        self.target, self.interval = target * MS, interval * MS
        self.queue, self.bytes = collections.deque(), 0
        self.first_above_time = self.drop_next = self.count = self.lastcount = 0
        self.dropping, self.dropped = False, []

    def enqueue(self, packet):
        self.queue.append(packet)
        self.bytes += packet[2]

    def dodequeue(self, now):
        if not self.queue:
            self.first_above_time = 0
            return None, False
        packet, ok_to_drop = self.queue.popleft(), False
        self.bytes -= packet[2]
        if now - packet[1] < self.target or self.bytes <= MTU:
            self.first_above_time = 0
        elif not self.first_above_time:
            self.first_above_time = now + self.interval
        elif now >= self.first_above_time:
            ok_to_drop = True
        return packet, ok_to_drop

    def control_law(self, t):
        return t + int(self.interval / math.sqrt(self.count))

    def dequeue(self, now):
        packet, ok_to_drop = self.dodequeue(now)
        if self.dropping:
            if not ok_to_drop:
                self.dropping = False
            while now >= self.drop_next and self.dropping:
                self.dropped.append((packet[0], now, True))
                self.count += 1
                packet, ok_to_drop = self.dodequeue(now)
                if not ok_to_drop:
                    self.dropping = False
                else:
                    self.drop_next = self.control_law(self.drop_next)
        elif ok_to_drop:
            self.dropped.append((packet[0], now, True))
            packet, _ = self.dodequeue(now)
            self.dropping = True
            delta, self.count = self.count - self.lastcount, 1
            if delta > 1 and now - self.drop_next < 16 * self.interval:
                self.count = delta
            self.drop_next = self.control_law(now)
            self.lastcount = self.count
        return packet


def by_rate(codel, arrivals, byte_ticks):
    """A line that sends one packet after the other; it asks for the next one when it is free."""
    gone, free, waiting = [], 0, collections.deque(arrivals)
    while waiting or codel.queue:
        while waiting and waiting[0][1] < free:
            codel.enqueue(waiting.popleft())
        dropped = len(codel.dropped)
        packet = codel.dequeue(free)
        gone += codel.dropped[dropped:]
        if packet is None and waiting:  # idle until the next one comes
            free = max(free, waiting[0][1])
            codel.enqueue(waiting.popleft())
        elif packet:
            free += packet[2] * byte_ticks >> SHIFT
            gone.append((packet[0], free, False))
    return gone


def by_trace(codel, arrivals, trace):
    """mahimahi's link: the bytes of an opportunity that nothing waits for are lost."""
    gone, waiting, base, sending, unsent = [], collections.deque(arrivals), 0, None, 0
    lap = 0
    while waiting or codel.queue or unsent:
        for each in trace:
            at, left = base + lap * trace[-1] * MS + each * MS, 1500
            while waiting and waiting[0][1] < at:
                codel.enqueue(waiting.popleft())
            while left:
                if not unsent:
                    dropped = len(codel.dropped)
                    sending = codel.dequeue(at)
                    gone += codel.dropped[dropped:]
                    if sending is None:
                        break
                    unsent = max(sending[2] - 14, 1)
                part = min(left, unsent)
                left, unsent = left - part, unsent - part
                if not unsent:
                    gone.append((sending[0], at, False))
        lap += 1
    return gone


def traffic(seed, seconds, bps, wave=0.0):
    """Packets of random lengths at random times: (number, came, length); the rate goes up and down
    by `wave`.
    """
    noise, now, packets = random.Random(seed), 1, []
    while now < seconds * 1e9:
        length = noise.choice((60, 590, 1514))
        load = bps * (1 + wave * math.sin(now / 4e8))
        packets.append((len(packets), now, length))
        now += 1 + round(noise.expovariate(load / (8 * 721.3)) * 1e9)
    return packets


@pytest.mark.parametrize("load", [0.5, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("codel", [(5, 100), (1, 10)])
def test_codel_drops_what_the_rfc_drops_at_a_rate(load, codel):
    packets = traffic(7, 4, load * 10e6, wave=0.5)
    ours = Bottleneck(rate=10e6, codel=codel)
    for _, came, length in packets:
        ours.add(came, length)
    theirs = by_rate(Codel(*codel), packets, ours.c.byte_ticks)
    assert ours.finish() == theirs
    assert any(dropped for *_, dropped in theirs) == (load > 0.5 or codel[0] == 1)


@pytest.mark.parametrize("load", [0.9, 1.2])
def test_codel_drops_what_the_rfc_drops_on_a_trace(load):
    noise = random.Random(3)
    trace = [*sorted(noise.choices(range(200), k=160)), 200]  # 9.7 Mbit/s
    packets = traffic(11, 4, load * 9.7e6, wave=0.8)
    ours = Bottleneck(trace=trace, codel=(5, 50))
    ours.c.base = 1
    for _, came, length in packets:
        ours.add(came, length)
    shifted = [(number, came - 1, length) for number, came, length in packets]
    theirs = by_trace(Codel(5, 50), shifted, trace)
    assert [(number, at - 1, dropped) for number, at, dropped in ours.finish()] == theirs
    assert any(dropped for *_, dropped in theirs)


def test_when_it_is_asked_makes_no_difference():
    packets, noise = traffic(5, 2, 12e6), random.Random(1)
    rare, often = (Bottleneck(rate=10e6, codel=(5, 100)) for _ in range(2))
    for _, came, length in packets:
        for now in sorted(noise.randrange(came) for _ in range(3)):
            if now > packets[max(often.put - 1, 0)][1]:
                often.until(now)
        often.add(came, length)
        rare.add(came, length)
    assert often.finish() == rare.finish()


def test_codel_ends_a_standing_queue_and_a_fifo_does_not():
    burst = [(at * MS // 2, MTU) for at in range(1, 400)]  # 24 Mbit/s for 0.2 s
    calm = [(200 * MS + at * 1_211_200, MTU) for at in range(1, 4000)]  # 10 Mbit/s
    waits = {}
    for kind, codel in (("fifo", None), ("codel", (5, 100))):
        line = Bottleneck(rate=10e6, codel=codel)
        for came, length in burst + calm:
            line.add(came, length)
        came = [each for each, _ in burst + calm]
        waits[kind] = [at - came[number] for number, at, dropped in line.finish() if not dropped]
    took = {kind: max(each[-1000:]) / MS for kind, each in waits.items()}
    assert took["fifo"] > 100
    assert took["codel"] < 10


def test_packets_leave_at_the_times_of_the_trace_which_repeats():
    line = Bottleneck(trace=[0, 3, 3, 10])
    line.c.base = 1000 * MS
    for _ in range(9):
        line.add(1000 * MS + 1, MTU)
    at = [(each - 1000 * MS) / MS for _, each, _ in line.finish()]
    assert at == [3, 3, 10, 10, 13, 13, 20, 20, 23]


def test_an_opportunity_is_1500_bytes_and_is_lost_when_nothing_waits():
    line = Bottleneck(trace=[1])
    line.c.base = MS
    line.until(50 * MS)  # 49 of them
    for length in (514, 514, 514, 3014, 60):  # 500, 500, 500, 3000 and 46 bytes
        line.add(50 * MS + 1, length)
    assert [each / MS for _, each, _ in line.finish()] == [51, 51, 51, 53, 54]
    line.add(54 * MS + 1, 14)
    line.add(54 * MS + 2, MTU)
    assert [each / MS for _, each, _ in line.finish()[5:]] == [55, 56]


def test_a_token_bucket_lets_so_many_bytes_pass_at_once():
    line = Bottleneck(rate=8e6, bucket=4000)  # a byte a us
    for _ in range(7):
        line.add(MS * 100, 1000)
    assert [each / MS - 100 for _, each, _ in line.finish()] == [0, 0, 0, 0, 1, 2, 3]
    line.add(MS * 105, 1000)  # 2,000 bytes are in it by now
    line.add(MS * 105 + 1, 1500)
    assert [each / MS - 105 for _, each, _ in line.finish()[7:]] == pytest.approx([0, 0.5])
    young = Bottleneck(rate=8e6, bucket=4000)  # on a machine whose clock began 1 ms ago
    for _ in range(5):
        young.add(MS, 1000)
    assert [each / MS for _, each, _ in young.finish()] == [1, 1, 1, 1, 2]
    plain = Bottleneck(rate=8e6)
    for at in (1, 2, 50):
        plain.add(at * MS, 1500)
    assert [each / MS for _, each, _ in plain.finish()] == pytest.approx([2.5, 4, 51.5])


def test_a_pause_moves_all_times_on():
    for how in ({"rate": 8e6, "codel": (5, 100)}, {"trace": [1, 4], "codel": (5, 100)}):
        lines = Bottleneck(**how), Bottleneck(**how)
        for line in lines:
            line.until(MS)  # a trace begins
        for number in range(1, 600):
            came = MS + number * MS // 2
            lines[0].add(came, MTU)
            pause = 1000 * MS if number > 300 else 0
            if number == 301:
                lines[1].until(came)
                lib.bottleneck_move(lines[1].c, pause)
            lines[1].add(came + pause, MTU)
        first, second = (line.finish() for line in lines)
        moved = [at for _, at, _ in second]
        assert [each[0::2] for each in first] == [each[0::2] for each in second]
        assert {b - a for (_, a, _), b in zip(first, moved, strict=True)} == {0, 1000 * MS}
        assert any(dropped for *_, dropped in first)


def test_what_is_in_it_can_be_taken_out():
    line = Bottleneck(trace=[1, 2])
    line.until(MS)
    for _ in range(3):
        line.add(MS + 1, 4000)
    line.until(3 * MS)
    out = ffi.new("struct queued *")
    numbers = []
    while lib.bottleneck_empty(line.c, out):
        numbers.append(out.packet.index)
    assert numbers == [0, 1, 2]
    assert (line.c.bytes, line.c.used) == (0, 0)
