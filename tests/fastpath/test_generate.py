# SPDX-License-Identifier: Apache-2.0
"""Templates sent in turn, signed and told from others, on a ring in this process."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest

from tests.support.captures import pcap_frames
from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.fastpath import lib
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.packets.fields.program import Index, Program, Step
from uspnet.packets.frames import HEADERS, SIGNATURE_BYTES, checksum, udp_template
from uspnet.packets.sizes import read_sizes
from uspnet.ports.registry import make_port

ADDRESSES = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2")
UDP_CHECK = 40  # offset


def templates(count, size=60):
    return [udp_template(size + number, *ADDRESSES, 1, number) for number in range(count)]


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("count", [1, 2, 63, 1000])
def test_each_template_is_sent_as_often(count, sequence):
    made = templates(count)
    with GenerateJob(
        make_port("null:queues=3"), Limits(count=3 * count), Traffic(made, sequence=sequence)
    ) as job:
        row = ran(job.run()).ports[0]
    assert row.tx_packets == 3 * count
    assert row.tx_bytes == 3 * sum(len(each.frame) for each in made)


@pytest.mark.parametrize("count", [1, 7, 64, 500])
def test_every_template_is_found_and_nothing_else(count):
    traffic = Traffic(templates(count, HEADERS))
    keeper = CTemplates(traffic)
    lookup = keeper.lookup(traffic)
    used = [slot for slot in lookup.slots[0 : lookup.mask + 1] if slot]
    padded = {each.frame.ljust(60, b"\0") for each in traffic.templates}
    assert len(used) == len(set(used)) == len(padded | {t.frame for t in traffic.templates})
    before = list(lookup.slots[0 : lookup.mask + 1])
    lib.lookup_add(lookup, 0)  # once more: it is where it was
    assert list(lookup.slots[0 : lookup.mask + 1]) == before


@pytest.mark.parametrize(("rate", "packets"), [(100.0, 30), (5000.0, 500)])
def test_a_paced_worker_sleeps_between_packets(rate, packets):
    limits = Limits(count=packets, poll="sleep")
    with GenerateJob(make_port("null:"), limits, Traffic(templates(1), rate)) as job:
        result = ran(job.run())
        rounds = job.workers[0].c.rounds
    assert result.sent == packets
    assert rounds < 10 * packets, "spinning makes thousands between two packets"


def written(tmp_path, frames, program, count):
    """The frames of a file that so many packets were written to, with and without numbers."""
    for sequence in (False, True):
        path = tmp_path / "out.pcap"
        path.unlink(missing_ok=True)
        traffic = Traffic(frames, sequence=sequence, fields=[program])
        port = make_port(f"pcap:out={path},format=pcap")
        with GenerateJob(port, Limits(count=count), traffic) as job:
            ran(job.run())
        yield pcap_frames(path)


def unsigned(frame):
    """What a frame has beside its signature, and what its checksum has without it."""
    at = len(frame) - SIGNATURE_BYTES
    signature = (bytes(at % 2) + frame[at:]).ljust(20, b"\0")
    words = struct.unpack("!10H", signature) + struct.unpack_from("!H", frame, UDP_CHECK)
    return frame[:UDP_CHECK] + frame[UDP_CHECK + 2 : at], sum(words) % 0xFFFF


@pytest.mark.parametrize(
    "places", [(14,), (22, 26), (36,), (48,), (58,), (14, 99), (14, 299)], ids=str
)
@pytest.mark.parametrize("size", [60, 61, 64, 130, 400])
def test_what_stays_in_buffers_is_as_if_it_was_written_for_each_packet(tmp_path, places, size):
    places = [place for place in places if place < size - SIGNATURE_BYTES] or [22]
    steps = [(Index(251), [Step(8 * at, 8)]) for at in places]
    program, frame = Program(steps), templates(1, size)[0]
    one, several = (list(written(tmp_path, [frame] * n, program, 1000)) for n in (1, 2))
    assert one[0] == several[0]
    assert len(set(one[0])) == 251
    assert [unsigned(frame) for frame in one[1]] == [unsigned(frame) for frame in several[1]]
    assert len({frame[-SIGNATURE_BYTES:] for frame in one[1]}) == 1000


class Shuffled(Wire):
    """A wire whose buffers come back in any order."""

    def __init__(self):
        super().__init__()
        self.random = random.Random(1)

    def send(self, q, packets, n):
        done, free, top = super().send(q, packets, n), q.stack.free, q.stack.top
        for _ in range(2 * done):
            one, other = self.random.randrange(top), self.random.randrange(top)
            free[one], free[other] = free[other], free[one]
        return done


def udp_sum(frame):
    """What the UDP checksum is checked by: 0 if it is right."""
    return checksum(frame[26:34] + struct.pack("!HH", 17, len(frame) - 34) + frame[34:])


@pytest.mark.parametrize("case", ["alike", "not alike", "signed"])
def test_a_buffer_that_comes_back_is_sent_with_what_it_has_only_if_that_is_next(case):
    made = [udp_template(size, *ADDRESSES, 1, size) for size in (60, 570, 1514)]
    if case == "not alike":
        made = [replace(each, frame=each.frame[:-1] + bytes([at])) for at, each in enumerate(made)]
    order, signed = read_sizes("imix").over(1), case == "signed"
    expected = [made[order[turn % len(order)]].frame for turn in range(2000)]
    for burst in (1, 7, 64):
        wire, limits = Shuffled(), Limits(count=2000, burst=burst)
        with GenerateJob(wire, limits, Traffic(made, sequence=signed, order=order)) as job:
            ran(job.run())
            memory, size = job.pool.memory.map, job.pool.size
            for index, holds in enumerate(job._sends[0].holds):
                at = index * size + index % lib.CACHE_OFFSETS * lib.CACHE_LINE
                has = made[holds - 1].frame if holds and not signed else b""
                assert memory[at : at + len(has)] == has
            assert bool(job.templates.head) is (case != "not alike")
            assert len(set(job._sends[0].holds)) == 4
        if signed:
            assert not any(map(udp_sum, wire.taken))
            assert len({each[42:52] for each in wire.taken}) == 2000
            strip = [each[:40] + each[60:] for each in wire.taken]
            assert strip == [each[:40] + each[60:] for each in expected]
        else:
            assert wire.taken == expected
