# SPDX-License-Identifier: Apache-2.0
"""Templates sent in turn, signed and told from others, on a ring in this process."""

from __future__ import annotations

import struct

import pytest

from tests.support.captures import pcap_frames
from tests.support.identity import ran
from uspnet.fastpath import lib
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.packets.fields.program import Index, Program, Step
from uspnet.packets.frames import HEADERS, SIGNATURE_BYTES, udp_template
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
