# SPDX-License-Identifier: Apache-2.0
"""Ports without a job around them, driven frame by frame, for tests of drivers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

import pytest

from tests.support.shared import unshared
from tests.support.waiting import moments
from uspnet.errors import NoDevice, NotSupported
from uspnet.fastpath import ffi, lib
from uspnet.memory import new
from uspnet.pool import Pool
from uspnet.port import Port
from uspnet.ports.registry import make_port
from uspnet.transports.qemu.machine import binary

PATIENCE_S = 20.0  # the machine may be busy


class Station:
    """Opens ports on one pool, with all their queues, and sends and receives lists of frames."""

    def __init__(self, *specs: str) -> None:
        self.undo = ExitStack()
        try:
            self.ports = [make_port(spec) for spec in specs]
            for port in self.ports:
                self.undo.callback(port.close)
                port.open()
            self._make_queues()
        except BaseException:
            self.undo.close()
            raise

    def _make_queues(self) -> None:
        ends = [
            (port, way, i)
            for port in self.ports
            for i in range(port.queues)
            for way in ("rx", "tx")
        ]
        buffers = sum(port.holds(way) for port, way, _ in ends) + 4 * lib.BURST_MAX
        rings = sum(port.dma_bytes() for port in self.ports)
        self.pool = Pool(buffers, max(port.frame for port in self.ports), rings)
        self.undo.callback(self.pool.close)
        for port in self.ports:
            port.attach(self.pool)
        self.stack = self.pool.stack(buffers)
        self.counters = []
        self.queues = {}
        for port, way, i in ends:
            self.counters.append(new("struct counters *"))
            self.queues[port, way, i] = port.queue(way, i, self.stack, self.counters[-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.undo.close()

    def start(self) -> Station:
        """Starts the ports and waits for their links."""
        for port in self.ports:
            port.start()
        self.until(lambda: all(port.up() for port in self.ports))
        assert unshared(*(queue.c for queue in self.queues.values())) == []
        return self

    def stop(self) -> None:
        for port in self.ports:
            port.stop()

    def until(self, done) -> None:
        """Looks after the ports until `done()`."""
        for _ in moments(PATIENCE_S, 0.001):
            if done():
                return
            for port in self.ports:
                port.control()
        raise AssertionError([port.why_down() for port in self.ports])

    def counter(self, port: Port, way: str, name: str) -> int:
        """A counter over all queues of one direction."""
        return sum(
            getattr(queue.base.counters, name)
            for (owner, direction, _), queue in self.queues.items()
            if owner is port and direction == way
        )

    def offer(self, port: Port, frames: list[bytes], queue: int = 0) -> int:
        """One burst; returns how many frames the port took."""
        packets = ffi.new("struct packet[64]")
        for packet, frame in zip(packets, frames[:32], strict=False):
            self.stack.top -= 1
            index = self.stack.free[self.stack.top]
            at = index * self.pool.size
            self.pool.memory.map[at : at + len(frame)] = frame
            packet.index, packet.offset, packet.length = index, 0, len(frame)
        base = self.queues[port, "tx", queue].base
        n = min(len(frames), 32)
        taken = base.burst(base, packets, n)
        for packet in packets[taken:n]:
            self._give(packet.index)
        return taken

    def _give(self, index: int) -> None:
        self.stack.free[self.stack.top] = index
        self.stack.top += 1

    def take(self, port: Port, queue: int = 0) -> list[bytes]:
        """One burst of what has arrived."""
        packets = ffi.new("struct packet[64]")
        base = self.queues[port, "rx", queue].base
        got = []
        for packet in packets[0 : base.burst(base, packets, 32)]:
            at = packet.index * self.pool.size + packet.offset
            got.append(bytes(self.pool.memory.map[at : at + packet.length]))
            self._give(packet.index)
        return got

    def send(self, port: Port, frames: list[bytes], meanwhile=lambda: None) -> None:
        """Sends all, however long the ring is full."""
        sent = 0

        def push() -> bool:
            nonlocal sent
            sent += self.offer(port, frames[sent : sent + 32])
            meanwhile()
            return sent == len(frames)

        self.until(push)

    def receive(self, port: Port, count: int) -> list[bytes]:
        """Waits for that many frames, from any queue."""
        got: list[bytes] = []

        def pull() -> bool:
            for queue in range(port.queues):
                got.extend(self.take(port, queue))
            return len(got) >= count

        self.until(pull)
        return got

    def carry(self, sender: Port, receiver: Port, frames: list[bytes]) -> list[bytes]:
        """Sends frames and returns what came out at the other end."""
        got: list[bytes] = []
        self.send(sender, frames, lambda: got.extend(self.take(receiver)))
        return got + self.receive(receiver, len(frames) - len(got))

    def held(self) -> int:
        """Buffers that are not on the stack."""
        return int(self.stack.room - self.stack.top)


@pytest.fixture
def station():
    """Makes stations, and takes them down. Skips where this QEMU lacks the model."""
    with ExitStack() as undo:

        def make(*specs):
            try:
                return undo.enter_context(Station(*specs))
            except NotSupported as error:
                pytest.skip(f"this QEMU is too old: {error}")

        yield make


@pytest.fixture
def qemu():
    """Skips without QEMU."""
    try:
        binary()
    except NoDevice as error:
        pytest.skip(f"QEMU is not installed: {error.hint}")


def frame(number: int, size: int, to: bytes = b"\x02\0\0\0\0\x02") -> bytes:
    """A frame whose every byte depends on its number."""
    body = bytes((number + i) & 0xFF for i in range(251))
    head = to + b"\x02\0\0\0\0\x01\x88\xb5" + number.to_bytes(4, "big")
    return (head + body * (size // 251 + 1))[:size]


@pytest.fixture
def make_frames():
    """`make_frames(count, low, high)`: frames of sizes from low to high, all different."""

    def make(count: int, low: int = 60, high: int = 1514) -> list[bytes]:
        step = 7  # prime to the range, so that neighbours differ in size
        return [frame(i, low + i * step % (high - low + 1)) for i in range(count)]

    return make
