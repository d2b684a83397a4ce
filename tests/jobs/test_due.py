# SPDX-License-Identifier: Apache-2.0
"""Latency counts from when a packet was due: what a sender that is held up sends late, is late."""

from __future__ import annotations

import itertools
import struct
import time

import pytest

from tests.support.captures import pcap_frames
from tests.support.identity import ran
from tests.support.waiting import scaled
from uspnet.fastpath import lib
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.packets.shape import Shape
from uspnet.ports.registry import make_port

ADDRESSES = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2")
COUNT, GAP_NS, PAUSE_NS = 600, 1_000_000, 100_000_000


def traffic(shape, *sizes):
    frames = [udp_template(size, *ADDRESSES, 1024, 9) for size in sizes]
    return Traffic(frames, sequence=True, shape=shape)


def held_up(job):
    """Run it, with its workers held up in the middle."""
    job.start()
    while not job.total("tx", "packets"):
        time.sleep(0.001)
    with job.paused():
        time.sleep(PAUSE_NS / 1e9)
    assert job.wait(scaled(30))
    return ran(job.result())


@pytest.mark.parametrize("sizes", [(60,), (60, 61, 130)], ids=str)
@pytest.mark.parametrize("burst", [1, 10])
def test_signatures_have_the_times_at_which_packets_were_due(tmp_path, sizes, burst):
    shape = Shape((1e9 / GAP_NS,), burst=burst)
    port = make_port(f"pcap:out={tmp_path / 'out.pcap'},format=pcap")
    with GenerateJob(port, Limits(count=COUNT), traffic(shape, *sizes)) as job:
        secret, at = job.templates.secret, job.templates.stamp_at
        result = held_up(job)
    assert result.pacing.late_ns["max"] > GAP_NS, "it was not held up"
    frames = pcap_frames(tmp_path / "out.pcap")
    signatures = [struct.unpack_from("=BBQQ", frame, at) for frame in frames]
    assert [number for _, _, number, _ in signatures] == list(range(COUNT))
    times = [stamp ^ secret for *_, stamp in signatures]
    for number, (one, other) in enumerate(itertools.pairwise(times), 1):
        gap = 0 if number % burst else burst * GAP_NS
        assert abs(other - one - gap) < GAP_NS / 10, number


def test_what_was_sent_late_is_late():
    name = f"@due-{time.monotonic_ns()}"
    port, back = make_port(f"memif:{name},role=server"), make_port(f"memif:{name}")
    paced = traffic(Shape((1e9 / GAP_NS,)), 60)
    with GenerateJob(port, Limits(count=COUNT), paced, rx_port=back) as job:
        result = held_up(job)
        counts = job._measures[0].latencies()
    assert result.received == sum(counts) == COUNT
    late = sum(n for slot, n in enumerate(counts) if lib.histogram_floor(slot) > 0.25 * PAUSE_NS)
    assert late >= 0.7 * PAUSE_NS / GAP_NS  # those that were due in its first three quarters
    assert result.latency_ns["max"] >= 0.9 * PAUSE_NS
