# SPDX-License-Identifier: Apache-2.0
"""Answers in C: whatever is asked, with the ring full, and without buffers."""

from __future__ import annotations

import random

from scapy.all import ARP, Dot1Q, Ether, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6

from uspnet.fastpath import ffi, lib
from uspnet.jobs.answers import Answers, without_answers
from uspnet.jobs.result import Answered
from uspnet.packets.answering import read_answers
from uspnet.ports.registry import make_port

MAC, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:99"
REQUEST = bytes(
    Ether(src=THEIRS, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=THEIRS, psrc="10.0.0.1", pdst="10.2.3.4")
)
SOLICITATION = bytes(
    Ether(src=THEIRS, dst="33:33:ff:00:00:77")
    / Dot1Q(vlan=7)
    / IPv6(src="2001:db8::1", dst="ff02::1:ff00:77", hlim=255)
    / ICMPv6ND_NS(tgt="2001:db8::77")
    / ICMPv6NDOptSrcLLAddr(lladdr=THEIRS)
)
BUFFERS, BUFFER = 256, 2048


class Desk:
    """Answers, and a ring that takes as many of them as there is `room`."""

    def __init__(self, nets=("10.0.0.0/8", "2001:db8::/32"), buffers=BUFFERS):
        self.answers = Answers(read_answers(list(nets)), bytes.fromhex("020000000001"),
                               make_port("null:"))  # fmt: skip
        self.room, self.refused, self.sent = 1 << 30, 0, []
        self.takes_back = 0  # bytes of an earlier frame, at the next burst
        self.memory = ffi.new("uint8_t[]", BUFFERS * BUFFER)
        self.pool = ffi.new("struct pool *", (self.memory, BUFFER, BUFFERS))
        self.free = ffi.new("uint32_t[]", list(range(BUFFERS)))
        self.stack = ffi.new("struct stack *", (buffers, BUFFERS, self.free))
        self.burst = ffi.callback("uint32_t(struct queue *, struct packet *, uint32_t)", self._take)
        self.queue = ffi.new("struct queue *")
        self.queue.burst, self.queue.pool, self.queue.stack = self.burst, self.pool, self.stack
        self.counters = self.queue.counters = ffi.new("struct counters *")
        self.exit = ffi.new("struct exit *")
        self.exit.tx = self.queue
        self.answers.c.exit = self.exit

    def _take(self, _queue, packets, n):
        n = min(n, self.room)
        self.room -= n
        if self.takes_back:
            self.counters.packets -= 1
            self.counters.bytes -= self.takes_back
            self.counters.drops[lib.DROP_REFUSED] += 1
            self.takes_back = 0
        for packet in packets[0:n]:
            at = packet.index * BUFFER + packet.offset
            self._count(bytes(ffi.buffer(self.memory + at, packet.length)))
            self.free[self.stack.top] = packet.index
            self.stack.top += 1
        return n

    def _count(self, frame):
        if self.refused:
            self.refused -= 1
            self.counters.drops[lib.DROP_TOO_LONG] += 1
            self.counters.errors += 1
            return
        self.sent.append(frame)
        self.counters.packets += 1
        self.counters.bytes += len(frame)

    def ask(self, frame):
        """Give it a frame in a buffer that ends where the frame ends; return what it sends."""
        held = ffi.new("uint8_t[]", frame)
        size = max(len(frame), 1)
        pool = ffi.new("struct pool *", (held, size, 1))
        lib.answer_see(self.answers.c, pool, (0, 0, len(frame)))
        self.sent.clear()
        lib.answer_send(self.answers.c)
        return list(self.sent)


def test_any_frame_is_answered_by_one_or_none_and_each_buffer_returns():
    """Mutated requests, under the sanitizers too: answers go to whom they name, and no further."""
    source, desk, answered = random.Random(1), Desk(), 0
    for number in range(20_000):
        frame = bytearray(REQUEST if number % 2 else SOLICITATION)
        for _ in range(source.randrange(4)):
            frame[source.randrange(len(frame))] ^= 1 << source.randrange(8)
        if source.random() < 0.3:
            frame = frame[: source.randrange(len(frame) + 1)]
        elif source.random() < 0.3:
            frame += source.randbytes(source.randrange(300))
        sent = desk.ask(bytes(frame))
        assert len(sent) <= 1
        assert desk.stack.top == BUFFERS
        for each in sent:
            answered += 1
            assert len(each) in (60, 86, 90, 94, 98)
            assert each[6:12].hex(":") == MAC
            assert not each[0] & 1 or each[:6].hex(":") == "33:33:00:00:00:01"
    state = desk.answers.c
    assert answered > 1000
    assert state.arp + state.ndp == state.sent == answered
    assert state.unsent == 0


def test_answers_wait_for_room_and_are_counted_when_there_is_none():
    desk = Desk()
    desk.room = 3
    for _ in range(lib.BURST_MAX + 10):
        desk.ask(REQUEST)
    state = desk.answers.c
    assert (state.sent, state.held, state.unsent) == (3, lib.BURST_MAX, 7)
    assert state.bytes == 3 * 60
    assert desk.answers.result().unsent == lib.BURST_MAX + 7
    desk.room = 5
    desk.sent.clear()
    lib.answer_send(state)
    assert len(desk.sent) == 5
    assert (state.sent, state.held) == (8, lib.BURST_MAX - 5)
    lib.answer_drop(state)
    assert (state.held, state.unsent, desk.stack.top) == (0, 7 + lib.BURST_MAX - 5, BUFFERS)


def test_answers_that_the_ring_drops_are_told_apart_from_those_that_were_sent():
    desk = Desk()
    for refused in (0, 1, 0):
        desk.refused = refused
        desk.ask(REQUEST)
        desk.ask(SOLICITATION)
    assert desk.answers.sent() == (5, desk.counters.bytes)
    assert desk.counters.bytes == 2 * 60 + 3 * 90
    assert desk.answers.left() == 6
    assert desk.answers.result() == Answered(arp=3, ndp=3, unsent=0, drops={"too_long": 1})
    assert without_answers({"too_long": 3, "no_room": 1}, [desk.answers]) == {
        "too_long": 2,
        "no_room": 1,
    }
    assert without_answers({"too_long": 1}, [desk.answers]) == {}


def test_a_ring_that_takes_back_what_it_was_given_before_makes_no_answer_unsent():
    desk = Desk()
    desk.counters.packets, desk.counters.bytes = 2, 2 * 1514
    desk.takes_back, desk.room = 1514, 0
    desk.ask(REQUEST)
    assert desk.answers.sent() == (0, 0)
    desk.takes_back, desk.room = 1514, 1
    desk.ask(SOLICITATION)
    assert desk.answers.sent() == (0, 0), "one was refused, and which one, nobody knows"
    assert desk.answers.result().drops == {"refused": 1}


def test_without_a_free_buffer_there_is_no_answer():
    desk = Desk(buffers=0)
    assert desk.ask(REQUEST) == []
    assert (desk.answers.c.arp, desk.answers.c.unsent) == (1, 1)
