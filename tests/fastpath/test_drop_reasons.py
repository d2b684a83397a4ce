# SPDX-License-Identifier: Apache-2.0
"""Each frame that a ring does not pass on is counted once, under the reason that it has. The test
is the device, on the same memory.
"""

import struct

import pytest

from tests.fastpath import test_intel_advanced, test_intel_legacy, test_virtq, test_vmxnet3
from tests.support.drops import reasons
from uspnet.fastpath import ffi, lib
from uspnet.telemetry import REASONS

GOOD = bytes(60)


def test_every_reason_has_a_place_of_its_own():
    assert list(REASONS.values()) == list(range(lib.DROP_REASONS))
    assert len(ffi.new("struct counters *").drops) >= lib.DROP_REASONS
    assert ffi.sizeof("struct counters") % 128 == 0, "whole pairs of cache lines"


# -- Intel: (length, error bits, ends here) of each descriptor of a frame --------------------------

CRC, DATA_ERROR, TCP_ERROR, IP_ERROR = 0x01, 0x80, 0x20, 0x40
LEGACY = [
    ([(13, 0, True)], "too_short"),
    ([(0, 0, True)], "too_short"),
    ([(5000, 0, True)], "bad_length"),
    ([(100, CRC, True)], "bad_frame"),
    ([(100, DATA_ERROR, True)], "bad_frame"),
    ([(100, CRC | IP_ERROR, True)], "bad_frame"),
    ([(100, TCP_ERROR, True)], "bad_checksum"),
    ([(100, IP_ERROR, True)], "bad_checksum"),
    ([(600, 0, False), (100, CRC, True)], "bad_frame"),
    ([(600, 0, False), (100, IP_ERROR, True)], "bad_checksum"),
    ([(600, 0, False), (0, 0, True)], "bad_chain"),
    ([(0, 0, False), (600, 0, True)], "bad_chain"),
    ([(600, 0, False), (5000, 0, False), (600, 0, True)], "bad_length"),
    ([(900, 0, False), (900, 0, True)], "too_long"),
    ([(6, 0, False), (7, 0, True)], "too_short"),
]


@pytest.mark.parametrize(("pieces", "reason"), LEGACY)
def test_intel_legacy_receive(pieces, reason):
    bench = test_intel_legacy.Bench()
    bench.rx.rx_error_mask |= TCP_ERROR | IP_ERROR
    assert lib.intel_fill(bench.rx) == 0
    for slot, (length, errors, last) in enumerate(pieces):
        status = test_intel_legacy.DONE | (test_intel_legacy.LAST if last else 0)
        bench.give(slot, length, status, errors)
    bench.give(len(pieces), len(GOOD))
    (packet,) = bench.receive()
    assert packet.length == len(GOOD)
    assert reasons(bench.rx.q.counters) == {reason: 1}
    assert bench.stack.room - bench.stack.top == test_intel_legacy.SIZE + 1
    bench.pool.close()


RXE, WRONG_4, WRONG_IP = 1 << 31, 1 << 29, 1 << 30
CHECKED = 3 << 5
ADVANCED = [
    ([(13, 0, True)], "too_short"),
    ([(1523, 0, True)], "too_long"),
    ([(5000, 0, True)], "bad_length"),
    ([(100, RXE, True)], "bad_frame"),
    ([(100, RXE | CHECKED | WRONG_IP, True)], "bad_frame"),
    ([(100, CHECKED | WRONG_IP, True)], "bad_checksum"),
    ([(100, CHECKED | WRONG_4, True)], "bad_checksum"),
    ([(1522, 0, False), (100, 0, True)], "too_long"),
    ([(1522, 0, False), (1522, 0, False), (100, RXE, True)], "too_long"),
]


@pytest.mark.parametrize(("pieces", "reason"), ADVANCED)
def test_intel_advanced_receive(pieces, reason):
    bench = test_intel_advanced.Bench()
    bench.rx.rx_error_mask = RXE | WRONG_4 | WRONG_IP
    assert lib.intel_fill(bench.rx) == 0
    for slot, (length, errors, last) in enumerate(pieces):
        status = test_intel_advanced.DONE | (test_intel_advanced.LAST if last else 0) | errors
        bench.give(slot, length, status, first=test_intel_advanced.TCP)
    bench.give(len(pieces), len(GOOD), data=GOOD)
    assert bench.receive() == [GOOD]
    assert reasons(bench.rx.q.counters) == {reason: 1}
    assert bench.held == test_intel_advanced.SIZE
    bench.pool.close()


# -- VMXNET3: (ring, first and last, length, marked as bad) of each completion of a frame ----------

FIRST, LAST, BAD = test_vmxnet3.FIRST, test_vmxnet3.LAST, test_vmxnet3.BAD
WHOLE = FIRST | LAST
VMXNET3 = [
    ([(0, WHOLE, 13, 0)], "too_short"),
    ([(0, WHOLE, 257, 0)], "bad_length"),
    ([(0, WHOLE, 100, BAD)], "bad_frame"),
    ([(1, WHOLE, 100, 0)], "bad_chain"),
    ([(0, LAST, 100, 0)], "bad_chain"),
    ([(0, FIRST, 256, 0), (0, WHOLE, 60, 0)], "bad_chain"),
    ([(0, FIRST, 256, 0), (1, LAST, 0, 0)], "bad_chain"),
    ([(0, FIRST, 256, 0), (1, LAST, 257, 0)], "bad_length"),
    ([(0, FIRST, 256, 0), (1, LAST, 100, BAD)], "bad_frame"),
    ([(0, FIRST, 256, 0), *[(1, 0, 256, 0)] * 6, (1, LAST, 256, 0)], "too_long"),
    ([(0, FIRST, 6, 0), (1, LAST, 7, 0)], "too_short"),
]


@pytest.mark.parametrize(("pieces", "reason"), VMXNET3)
def test_vmxnet3_receive(pieces, reason):
    bench = test_vmxnet3.Bench(limit=256)
    assert lib.vmxnet3_fill(bench.rx, 1) == 0
    for number, ends, length, bad in pieces:
        slot, _ = bench.device.take(number)
        bench.device.complete(slot | ends | number << 16, length | bad)
    bench.deliver(GOOD)
    assert bench.take()[-1] == GOOD
    assert reasons(bench.rx.q.counters) == {reason: 1}
    assert bench.rx.rx_bad == (reason == "bad_frame")
    assert bench.held == test_vmxnet3.IN_RINGS
    bench.pool.close()


@pytest.mark.parametrize("low", [31 | WHOLE, 4095 | WHOLE, WHOLE | 2 << 16], ids=str)
def test_vmxnet3_receive_in_no_buffer(low):
    bench = test_vmxnet3.Bench()
    assert lib.vmxnet3_fill(bench.rx, 1) == 0
    bench.device.complete(low, 100)
    assert bench.take() == []
    assert reasons(bench.rx.q.counters) == {"bad_slot": 1}
    assert bench.held == test_vmxnet3.IN_RINGS
    bench.pool.close()


# -- virtqueues: bytes of each buffer with the net header, and how many the first one announces ----

VIRTQ = [
    (1, [25], "too_short"),
    (1, [11], "too_short"),
    (1, [5000], "bad_length"),
    (0, [100], "bad_chain"),
    (0xFFFF, [100], "bad_chain"),
    (2, [100, 0], "bad_chain"),
    (3, [100, 5000, 100], "bad_length"),
    (2, [1500, 1500], "too_long"),
]


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize(("announced", "lengths", "reason"), VIRTQ)
def test_virtq_receive(packed, announced, lengths, reason):
    bench = test_virtq.Bench(packed=packed, merges=1)
    chains = bench.rx_device.take()
    bench.write(chains[0], struct.pack("<10xH", announced))
    for (number, _), length in zip(chains, lengths, strict=False):
        bench.rx_device.give(number, length)
    bench.deliver(chains[len(lengths)], GOOD)
    assert bench.receive() == [GOOD]
    assert reasons(bench.rx.c.q.counters) == {reason: 1}
    assert bench.held == test_virtq.SIZE
    bench.pool.close()


# -- what a device can't send ----------------------------------------------------------------------

SENDERS = {
    "intel_legacy": test_intel_legacy.Bench,
    "intel_advanced": test_intel_advanced.Bench,
    "vmxnet3": test_vmxnet3.Bench,
    "virtq": lambda: test_virtq.Bench(packed=False),
    "virtq_packed": lambda: test_virtq.Bench(packed=True),
}


@pytest.mark.parametrize("ring", SENDERS)
def test_nic_transmit(ring):
    bench = SENDERS[ring]()
    assert bench.send([13, 60, 5000, 0, 60]) == 5
    counters = ffi.cast("struct queue *", getattr(bench.tx, "c", bench.tx)).counters
    assert reasons(counters) == {"too_short": 2, "too_long": 1}
    assert counters.packets == 2
    bench.pool.close()
