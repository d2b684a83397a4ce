# SPDX-License-Identifier: Apache-2.0
"""The tap and null rings; the test plays /dev/net/tun with a socket that keeps frames apart."""

from __future__ import annotations

import socket

import pytest

from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.fastpath import ffi, lib
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.pool import Pool
from uspnet.ports.registry import make_port
from uspnet.telemetry import drops_by_reason

BUFFERS, ROOM = 64, 1522


class Bench:
    """One tap queue for both ways, and the device's end of it."""

    def __init__(self):
        self.device, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.device.setblocking(False)
        self.pool = Pool(BUFFERS, ROOM)
        self.stack = self.pool.stack(BUFFERS)
        self.counters = ffi.new("struct counters *")
        self.c = ffi.new("struct tap_queue *", {"fd": self.ours.fileno()})
        self.q = ffi.cast("struct queue *", self.c)
        self.q.pool, self.q.stack, self.q.counters = self.pool.c, self.stack, self.counters
        self.packets = ffi.new("struct packet[64]")

    def bytes_of(self, packet):
        start = self.pool.c.base + packet.index * self.pool.c.size + packet.offset
        return ffi.buffer(start, packet.length)

    def receive(self, n=64):
        """The frames of one burst, whose buffers go back."""
        got = lib.tap_rx(self.q, self.packets, n)
        frames = [bytes(self.bytes_of(self.packets[i])) for i in range(got)]
        for i in range(got):
            self.stack.free[self.stack.top] = self.packets[i].index
            self.stack.top += 1
        return frames

    def send(self, frames):
        """How many were taken; the others' buffers go back."""
        for i, frame in enumerate(frames):
            self.stack.top -= 1
            self.packets[i].index = self.stack.free[self.stack.top]
            self.packets[i].offset, self.packets[i].length = 64, len(frame)
            self.bytes_of(self.packets[i])[:] = frame
        done = lib.tap_tx(self.q, self.packets, len(frames))
        for i in range(done, len(frames)):
            self.stack.free[self.stack.top] = self.packets[i].index
            self.stack.top += 1
        return done

    def close(self):
        self.device.close()
        self.ours.close()
        self.pool.close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.stack.top == BUFFERS
    made.close()


def test_frames_come_in_bursts_until_there_are_none(bench):
    frames = [bytes([number]) * (14 + 50 * number) for number in range(20)]
    for frame in frames:
        bench.device.send(frame)
    assert bench.receive(8) == frames[:8]
    assert bench.receive() == frames[8:]
    assert bench.receive() == []
    assert (bench.counters.packets, bench.counters.bytes) == (20, sum(map(len, frames)))
    assert (bench.q.fault, bench.q.closed) == (0, 0)


def test_a_frame_that_fills_its_buffer_may_be_cut_and_is_dropped(bench):
    room = bench.pool.c.size - 7 * lib.CACHE_LINE
    for size in (60, room - 1, room, room + 1, 9000, 61):
        bench.device.send(bytes(size))
    assert list(map(len, bench.receive())) == [60, room - 1, 61]
    assert drops_by_reason([bench.counters]) == {"too_long": 3}


def test_without_a_buffer_frames_wait(bench):
    bench.device.send(bytes(60))
    bench.stack.top = 0
    assert bench.receive() == []
    bench.stack.top = BUFFERS
    assert bench.receive() == [bytes(60)]


def test_frames_go_out_as_they_are_until_the_device_is_full(bench):
    frames = [bytes([number]) * 1500 for number in range(32)]
    assert bench.send(frames) == 32
    assert [bench.device.recv(2000) for _ in frames] == frames
    while bench.send(frames) == 32:
        pass
    assert (bench.q.fault, bench.q.closed) == (0, 0), "it waits"
    while True:
        try:
            bench.device.recv(2000)
        except BlockingIOError:
            break
    assert bench.send(frames) == 32


def test_an_error_is_a_fault_with_its_number(bench):
    bench.c.fd = -1
    assert bench.send([bytes(60)]) == 0
    assert (bench.q.fault, bench.q.sys_errno) == (lib.FAULT_IO, 9)


def test_null_gives_zeros_where_another_port_has_used_the_memory():
    other = Wire([b"\xff" * 200] * 300, ends=False)
    with ForwardJob([other, make_port("null:size=100")], Limits(count=3000), Forwarding()) as job:
        ran(job.run())
    assert set(other.taken) == {bytes(100)}


@pytest.mark.parametrize("n", [0, 1, 64])
def test_null_gives_zeros_and_takes_all(n):
    pool = Pool(BUFFERS, ROOM)
    stack, counters = pool.stack(BUFFERS), ffi.new("struct counters *")
    queue = ffi.new("struct null_queue *", {"length": 60})
    q, packets = ffi.cast("struct queue *", queue), ffi.new("struct packet[64]")
    q.pool, q.stack, q.counters = pool.c, stack, counters
    assert lib.null_rx(q, packets, n) == n
    assert stack.top == BUFFERS - n
    assert {packets[i].length for i in range(n)} <= {60}
    assert len({packets[i].index for i in range(n)}) == n
    assert lib.null_tx(q, packets, n) == n
    assert stack.top == BUFFERS
    assert (counters.packets, counters.bytes) == (2 * n, 2 * n * 60)
    pool.close()
