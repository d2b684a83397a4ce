# SPDX-License-Identifier: Apache-2.0
"""The books of a job that sends, and answers those who ask for its addresses."""

from __future__ import annotations

import pytest
from scapy.all import ARP, Ether

from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.fastpath import lib
from uspnet.jobs.capture import make_sink
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.saving import Files
from uspnet.jobs.traffic import Traffic
from uspnet.packets.answering import read_answers
from uspnet.packets.frames import udp_template

HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9)
REQUEST = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc="02:00:00:00:00:99", pdst="10.2.3.4"))
ASKED, SENT, UNDER_WAY = 4, 5, 3


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("same", [False, True])
def test_answers_under_way_are_lost_once_and_no_packets_sent(tmp_path, same, lost):
    """Whichever ports they and lost packets leave by; `sent` counts what was generated alone."""
    rx_port = Wire([REQUEST] * ASKED, ends=False)
    port = rx_port if same else Wire(ends=False)
    files = Files(lost=make_sink(str(tmp_path / "lost.pcapng")) if lost else None)
    traffic = Traffic([udp_template(60, *HEADER)], sequence=True)
    with GenerateJob(port, Limits(count=SENT), traffic, rx_port, files) as job:
        job.answer(read_answers(["10.0.0.0/8"]))
        before = ran(job.run())
        assert (before.answered.arp, before.sent, before.offered) == (ASKED, SENT, SENT)
        assert len(port.taken) == SENT + same * ASKED
        job.answers.c.sent += UNDER_WAY  # the process is killed between this and the ring
        for worker in job.workers:
            worker.loop.settle(worker.lanes)
        sinks = [each for port in job.ports for each in port.made if each.direction == "tx"]
        drops = {each.port: int(each.counters.drops[lib.DROP_WORKER_LOST]) for each in sinks}
        assert drops.pop(rx_port) == UNDER_WAY
        assert not any(drops.values())
        if not same:
            assert job.count().sent == SENT
