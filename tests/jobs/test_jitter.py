# SPDX-License-Identifier: Apache-2.0
"""Jitter, through a forwarder that the test plays: it delays, loses, doubles and reorders known
packets by known amounts, and RFC 3550's formula is worked out beside it in fractions.

What comes back in one burst is received at one time, so that delays differ there by exactly what
their signatures do. Numbers between bursts are lost: no packet is compared across two of them.
"""

from __future__ import annotations

import random
import struct
import time
from fractions import Fraction

import pytest

from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.identity import ran
from tests.support.tiers import by_tier
from tests.support.wire import Wire, place
from uspnet.fastpath import ffi, lib
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.ports.registry import make_port

HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9)
BURST, STRIDE, BURSTS = 64, 70, 30
SPREAD_NS = 5_000_000  # delays differ by up to that


def traffic():
    return Traffic([udp_template(60, *HEADER)], sequence=True)


class Forwarder(Wire):
    """Returns bursts of (number, delay in ns), once all packets are sent."""

    def __init__(self, bursts):
        super().__init__(ends=False)
        self.bursts, self.secret, self.at = list(bursts), 0, 0

    def pending(self):
        return len(self.bursts)  # the job waits for them, however busy the machine is

    def receive(self, q, packets, n):
        if len(self.taken) < STRIDE * BURSTS or not self.bursts:
            return 0
        burst = self.bursts.pop(0)
        assert n >= len(burst)
        time.sleep(2 * SPREAD_NS / 1e9)  # no packet was sent before the run began
        sent = time.monotonic_ns()
        n = lib.null_rx(q, packets, len(burst))
        for packet, (number, delay) in zip(packets[0:n], burst, strict=True):
            frame = bytearray(self.taken[number])
            struct.pack_into("=Q", frame, self.at + 10, (sent - delay) ^ self.secret)
            ffi.memmove(place(q, packet), bytes(frame), len(frame))
            packet.length = len(frame)
        return n


def measured(bursts):
    port = Forwarder(bursts)
    limits = Limits(count=STRIDE * BURSTS, burst=BURST)
    with GenerateJob(port, limits, traffic(), port) as job:
        port.secret, port.at = job.templates.secret, job.templates.stamp_at
        return ran(job.run())


def rfc3550(bursts):
    """J, mean and largest |D|: of packets that come next by number after the highest before."""
    jitter, differences = Fraction(0), []
    for burst in bursts:
        highest = None
        for number, delay in burst:
            if highest and number == highest[0] + 1:
                differences.append(abs(delay - highest[1]))
                jitter += (differences[-1] - jitter) / 16
            if not highest or number > highest[0]:
                highest = number, delay
    return jitter, Fraction(sum(differences), len(differences)), max(differences)


def steady(_, first):
    """Each second packet is late by 1 µs: J nears 1 µs, and no difference is another one."""
    return [(first + i, 1000 * (i % 2)) for i in range(BURST)]


def even(chance, first):
    delay = chance.randrange(SPREAD_NS)
    return [(first + i, delay) for i in range(BURST)]


def wild(chance, first):
    return [(first + i, chance.randrange(SPREAD_NS)) for i in range(BURST)]


def broken(chance, first):
    """Some are lost, doubled, or change places with the next one."""
    burst = wild(chance, first)[: BURST - 8]
    for at in chance.sample(range(len(burst)), 8):
        burst[at:at] = [burst[at]]
    for at in chance.sample(range(len(burst) - 1), 8):
        burst[at : at + 2] = reversed(burst[at : at + 2])
    return [each for each in burst if chance.random() > 0.1]


@pytest.mark.parametrize("kind", [steady, even, wild, broken], ids=lambda kind: kind.__name__)
def test_jitter_is_that_of_the_rfc(kind):
    chance = random.Random(kind.__name__)
    bursts = [kind(chance, STRIDE * number) for number in range(BURSTS)]
    jitter, mean, largest = rfc3550(bursts)
    result = measured(bursts)
    assert result.received == len({number for burst in bursts for number, _ in burst})
    assert (result.reordered > 0, result.duplicated > 0) == (kind is broken,) * 2
    assert result.jitter_ns["mean"] == int(mean)
    assert result.jitter_ns["max"] == largest
    assert abs(result.jitter_ns["rfc3550"] - jitter) <= 1, "C has it in sixteenths of ns"
    rows = [row.jitter_ns for row in result.seconds if row.jitter_ns]
    assert rows[-1]["rfc3550"] == result.jitter_ns["rfc3550"]


def test_without_two_in_a_row_there_is_none():
    result = measured([[(number, 0)] for number in range(0, 10, 2)])
    assert (result.received, result.jitter_ns) == (5, None)
    assert all(row.jitter_ns is None for row in result.seconds)


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
def test_deaths_of_the_process_keep_what_was_measured(tmp_path, mortal):  # noqa: F811
    """What is measured is never less than before, and bounded by the run's own length."""
    path = tmp_path / "m.sock"
    ports = [make_port(f"memif:{path},role={role}") for role in ("server", "client")]
    with GenerateJob(ports[0], Limits(duration=60), traffic(), ports[1]) as job:
        life, chance, before = mortal(job), random.Random(1), None
        for _ in range(by_tier(5, 15, 500)):
            life.live(chance.uniform(0, 0.004))
            now = job._measures[0].jitter()
            if before:
                assert now.largest >= before.largest
                assert now.differences >= before.differences
            before = now
        life.live_until(lambda: job._measures[0].jitter().pairs)
        result = ran(life.stop())
    assert 0 <= result.jitter_ns["rfc3550"] <= result.jitter_ns["max"]
    assert result.jitter_ns["max"] <= result.elapsed_s * 1e9
