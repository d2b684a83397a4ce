# SPDX-License-Identifier: Apache-2.0
"""Templates sent in turn, signed and told from others, on a ring in this process."""

from __future__ import annotations

import pytest

from tests.support.identity import ran
from uspnet.fastpath import lib
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.packets.frames import HEADERS, udp_template
from uspnet.ports.registry import make_port

ADDRESSES = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2")


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
