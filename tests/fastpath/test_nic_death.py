# SPDX-License-Identifier: Apache-2.0
"""NIC rings whose process is killed at any instruction of a burst: what stops the device then
counts and takes back what is there, whatever state the ring is in, and the ring starts again.
"""

from __future__ import annotations

import pytest

from tests.fastpath import test_intel_advanced, test_intel_legacy, test_virtq, test_vmxnet3
from tests.support.stepping import Stepper, region, x86_only
from uspnet.fastpath import ffi, lib

LENGTHS = [60, 1, 61, 62, 63]  # one of them is refused
pytestmark = x86_only


class Intel:
    """What differs between the kinds: how to fill, clean and empty, and the device's part."""

    def __init__(self, tests):
        self.bench = tests.Bench()
        self.rx, self.tx = self.bench.rx, self.bench.tx
        self.kept = []

    def fill(self):
        assert lib.intel_fill(self.rx) == 0

    def clean(self):
        return lib.intel_clean(self.tx)

    def empty(self):
        lib.intel_empty(self.rx, 1)
        lib.intel_empty(self.tx, 0)

    def arrive(self, n):
        for slot in range(n):
            self.bench.give(slot, 100)

    def report(self):
        for slot in range(32):
            self.tx.ring[slot].word |= 1 << 32


class Vmxnet3:
    def __init__(self):
        self.bench = test_vmxnet3.Bench()
        self.rx, self.tx = self.bench.rx, self.bench.tx
        self.kept = []

    def fill(self):
        assert lib.vmxnet3_fill(self.rx, 1) == 0
        assert lib.vmxnet3_fill(self.tx, 0) == 0

    def clean(self):
        return lib.vmxnet3_clean(self.tx)

    def empty(self):
        for queue in (self.rx, self.tx):
            lib.vmxnet3_empty(queue)

    def arrive(self, n):
        for _ in range(n):
            assert self.bench.deliver(bytes(100))

    def report(self):
        self.bench.transmit()


class Virtio:
    def __init__(self, packed):
        self.bench = test_virtq.Bench(packed=packed)
        self.rx, self.tx = self.bench.rx.c, self.bench.tx.c
        self.kept = [(ring.buffers, 4 * ring.chains) for ring in (self.rx, self.tx) if ring.buffers]
        self.kept += [region(ring) for ring in (self.rx, self.tx)]

    def fill(self):
        assert self.bench.rx.call("fill", 1) == 0
        assert self.bench.tx.call("fill", 0) == 0

    def clean(self):
        return self.bench.tx.call("clean")

    def empty(self):
        for ring in (self.rx, self.tx):
            lib.virtq_empty(ring)

    def arrive(self, n):
        chains = self.bench.rx_device.take()
        for chain in chains[:n]:
            self.bench.deliver(chain, bytes(100))

    def report(self):
        for number, _ in self.bench.tx_device.take():
            self.bench.tx_device.give(number)


@pytest.fixture(
    params=[
        lambda: Intel(test_intel_legacy),
        lambda: Intel(test_intel_advanced),
        Vmxnet3,
        lambda: Virtio(packed=False),
        lambda: Virtio(packed=True),
    ],
    ids=["intel_legacy", "intel_advanced", "vmxnet3", "virtq", "virtq_packed"],
)
def kind(request):
    made = request.param()
    yield made
    made.bench.pool.close()


def dying(kind, queue, n):
    bench = kind.bench
    kept = [region(each) for each in bench.keep]
    kept += [region(bench.stack), (bench.stack.free, 4 * bench.stack.room), *kind.kept]
    kept.append((bench.pool.rings.base, bench.pool.rings.size))
    return Stepper(queue.q.burst, (ffi.addressof(queue.q), bench.packets, n), kept)


def start_again(kind, step):
    """As a port does it: count, stop, rebuild the stack, start."""
    stack = kind.bench.stack
    stack.top = 0
    flying = kind.clean()
    assert flying <= 64, step
    kind.empty()
    assert stack.top <= stack.room, step
    back = list(stack.free[0 : stack.top])
    assert all(index < stack.room for index in back), step
    for queue in (kind.rx, kind.tx):
        queue.q.fault = 0
    stack.free[0 : stack.room] = range(stack.room)
    stack.top = stack.room
    kind.fill()
    return flying


def goes_on(kind, step):
    sent = kind.tx.q.counters.packets
    assert kind.bench.send([60, 61]) == 2, step
    assert kind.tx.q.counters.packets == sent + 2, step
    assert kind.clean() == 2, step


def test_transmit(kind):
    kind.fill()
    for _ in range(20):  # around the ring, so that old slots are done
        assert kind.bench.send([60] * 3) == 3
        kind.report()
    before = kind.tx.q.counters.packets
    for i, length in enumerate(LENGTHS):
        kind.bench.stack.top -= 1
        index = kind.bench.stack.free[kind.bench.stack.top]
        kind.bench.packets[i] = (index, 64, length)
    for step in dying(kind, kind.tx, len(LENGTHS)).steps():
        counted = kind.tx.q.counters.packets - before
        assert counted <= 4, step
        flying = start_again(kind, step)
        assert flying >= counted, step
        goes_on(kind, step)


def test_receive(kind):
    kind.fill()
    kind.arrive(6)
    for step in dying(kind, kind.rx, 4).steps():
        assert kind.rx.q.counters.packets in (0, 4), step
        start_again(kind, step)
        goes_on(kind, step)
