# SPDX-License-Identifier: Apache-2.0
"""Asking a NIC to wake us: the test is the device and the kernel's eventfd, on plain memory."""

from __future__ import annotations

import os
import select

import pytest

from tests.fastpath import test_intel_advanced, test_intel_legacy, test_virtq, test_vmxnet3
from uspnet.fastpath import ffi, lib
from uspnet.jobs.loops import Drop
from uspnet.jobs.worker import Lane, Worker
from uspnet.port import Queue

LET, HELD = 0x1001, 0x1000  # what is written to unmask, and to mask
ROUNDS = 5 * 64  # several times around each ring


class Ring:
    """A full receive ring of one format, on the bench of that format's tests, and its eventfd."""

    def __init__(self, name, bench, queue):
        self.bench, self.queue, self.base = bench, queue, ffi.addressof(queue.q)
        self.base.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.base.arm = ffi.addressof(lib, f"{name}_arm")
        self.base.burst = ffi.addressof(lib, f"{name}_rx")

    def arm(self, on):
        return self.base.arm(self.base, on)

    def take(self):
        """One burst; its buffers go back."""
        stack, packets = self.bench.stack, self.bench.packets
        n = self.base.burst(self.base, packets, 32)
        for packet in packets[0:n]:
            stack.free[stack.top] = packet.index
            stack.top += 1
        return n

    def signalled(self):
        return bool(select.select([self.base.wake_fd], [], [], 0)[0])

    def close(self):
        os.close(self.base.wake_fd)
        self.bench.pool.close()


class Masked(Ring):
    """One whose interrupt is held back by a register."""

    def __init__(self, name):
        benches = {
            "intel_legacy": test_intel_legacy,
            "intel_advanced": test_intel_advanced,
            "vmxnet3": test_vmxnet3,
        }
        bench = benches[name].Bench()
        super().__init__(name, bench, bench.rx)
        self.name, self.slot = name, 0
        self.registers = ffi.new("uint32_t[3]")
        vector = self.queue.vector
        vector.unmask, vector.mask = self.bell(0), self.bell(1)
        vector.unmask_value, vector.mask_value = LET, HELD
        fill = [lib.vmxnet3_fill, 1] if name == "vmxnet3" else [lib.intel_fill]
        assert fill[0](self.queue, *fill[1:]) == 0

    def bell(self, number):
        return {"mmio": self.registers + number, "bytes": 4}

    def give(self):
        """The device receives a frame."""
        if self.name == "vmxnet3":
            assert self.bench.deliver(b"x" * 100)
        else:
            self.bench.give(self.slot % 32, 100)
        self.slot += 1

    def asked(self):
        """Has the device been asked to wake us, since the last look?"""
        said = list(self.registers)
        self.registers[0] = self.registers[1] = 0
        assert said in ([LET, 0, 0], [0, HELD, 0]), "one store"
        return said[0] == LET


class Quiet(Ring):
    """A virtqueue: a flag in memory keeps the device from notifying us."""

    def __init__(self, name):
        self.packed = name == "virtq_packed"
        bench = test_virtq.Bench(packed=self.packed)
        super().__init__(name, bench, bench.rx.c)
        self.chains = []

    def give(self):
        self.chains += self.bench.rx_device.take()
        self.bench.rx_device.give(self.chains.pop(0)[0], 112)

    def asked(self):
        shared = self.queue.ours if self.packed else self.queue.available
        return not shared.flags & lib.VIRTQ_QUIET


KINDS = {
    **dict.fromkeys(("intel_legacy", "intel_advanced", "vmxnet3"), Masked),
    **dict.fromkeys(("virtq", "virtq_packed"), Quiet),
}


@pytest.fixture(params=KINDS)
def ring(request):
    made = KINDS[request.param](request.param)
    yield made
    made.close()


def test_the_device_is_asked_and_asked_no_more(ring):
    for on in (1, 0, 1, 0):
        assert ring.arm(on) == 0
        assert ring.asked() == on


def test_earlier_wake_ups_are_forgotten(ring):
    os.eventfd_write(ring.base.wake_fd, 3)
    assert ring.arm(1) == 0
    assert not ring.signalled()


def test_what_has_come_already_is_seen_wherever_the_ring_is(ring):
    for _ in range(ROUNDS):
        assert ring.arm(1) == 0
        ring.give()
        assert ring.arm(1) != 0
        ring.arm(0)
        assert ring.take() == 1
    assert ring.base.counters.packets == ROUNDS
    assert not ring.base.fault


def test_an_interrupt_on_a_line_is_given_back_to_the_kernel():
    ring = Masked("intel_legacy")
    line = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    ring.queue.vector.cause, ring.queue.vector.line_fd = ring.bell(2), line
    ring.arm(0)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(line)
    assert ring.arm(1) == 0
    assert os.eventfd_read(line) == 1
    os.close(line)
    ring.close()


# -- a worker on it ------------------------------------------------------------------------------


class Asleep:
    """A worker that drops what comes out of the rings, and sleeps whenever it can."""

    def __init__(self, rings):
        lanes = [Lane(rx=Queue(None, "rx", 0, ring.queue)) for ring in rings]
        self.worker = Worker(Drop(), lanes, rings[0].bench.stack)
        self.worker.c.poll, self.worker.c.burst = lib.POLL_SLEEP, 32
        self.worker.thread.start()

    def end(self):
        self.worker.join()
        self.worker.close()


def test_a_worker_sleeps_and_is_woken(ring, wait_until):
    asleep = Asleep([ring])
    counters = ring.base.counters
    for number in range(1, 6):
        wait_until(lambda n=counters.sleeps: counters.sleeps > n)
        ring.give()
        os.eventfd_write(ring.base.wake_fd, 1)
        wait_until(lambda n=number: counters.packets == n)
    asleep.end()
    if isinstance(ring, Masked):
        ring.registers[0] = 0
    assert not ring.asked(), "awake, it wants no interrupt"


def test_a_worker_that_has_to_nap_leaves_interrupts_alone(ring, wait_until):
    other = Masked("intel_legacy")
    fd, other.base.wake_fd = other.base.wake_fd, -1
    asleep = Asleep([ring, other])
    ring.give()
    wait_until(lambda: ring.base.counters.packets == 1)
    asleep.end()
    assert ring.base.counters.sleeps == 0
    assert list(other.registers) == [0, 0, 0]
    other.base.wake_fd = fd
    other.close()


def test_a_stop_ends_a_sleep(ring, wait_until):
    asleep = Asleep([ring])
    wait_until(lambda: ring.base.counters.sleeps)
    asleep.worker.stop()
    wait_until(lambda: not asleep.worker.running())
    assert asleep.worker.c.ending == lib.END_STOPPED
    asleep.end()
