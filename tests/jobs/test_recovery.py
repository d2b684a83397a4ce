# SPDX-License-Identifier: Apache-2.0
"""Jobs whose worker process is killed at random times: each goes on, and its books are closed."""

from __future__ import annotations

import random
import threading

import pytest

from tests.support.identity import ran
from tests.support.mortal import Mortal
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.errors import DeviceFault
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.pool import Pool
from uspnet.ports.registry import make_port

KILLS = by_tier(15, 30, 1000)
LONGEST_S = 0.004  # of a process's life, from the fork on
MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")


def traffic(rate=0.0, sequence=False):
    return Traffic([udp_template(60, *MACS, *IPS, 1024, 9)], rate, sequence)


@pytest.fixture
def mortal():
    """Starts an entered job with workers that can be killed."""
    made = []

    def start(job):
        made.append(Mortal(job))
        return made[-1]

    yield start
    for each in made:
        each.close()


def torment(life, kills=KILLS, seed=1):
    """Kills the job's process at random times; checks that it moves on in between."""
    chance = random.Random(seed)
    for _ in range(kills):
        if life.live(chance.uniform(0, LONGEST_S)):
            return
    assert life.kills == kills


def test_forwarding_between_null_ports(mortal):
    with ForwardJob([make_port("null:"), make_port("null:size=90")], Limits(), Forwarding()) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.stop())
        assert result.forwarded > 0
        assert result.drops.get("worker_lost", 0) == life.lost <= 2 * 32 * life.kills


def test_capture_of_a_count_is_exact(mortal):
    with CaptureJob(make_port("null:"), Limits(count=50_000_000), None) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.end())
        assert (result.received, result.ended) == (50_000_000, "count")


@pytest.mark.parametrize("limits", [{"count": 3_000_000}, {"duration": 0.6}], ids=str)
@pytest.mark.parametrize("rate", [0.0, 1_000_000.0])
def test_generated_packets_are_sent_or_named(mortal, limits, rate):
    with GenerateJob(make_port("null:queues=2"), Limits(**limits), traffic(rate)) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.end())
        assert result.sent > 0
        assert result.drops.get("worker_lost", 0) == life.lost
        if result.ended == "count":
            assert result.offered == limits["count"] == result.sent + life.lost


MEMIF = [
    (ours, theirs, zero)
    for ours, theirs in (("server", "client"), ("client", "server"))
    for zero in ("off", "on")
    if (ours, zero) != ("server", "on")
]


@pytest.fixture
def memif(tmp_path):
    """Makes the two ports of a connection: ours, and the peer's."""

    def make(ours, theirs, zero):
        path = tmp_path / "m.sock"
        zeros = {ours: f",zero-copy={zero}" if ours == "client" else "", theirs: ""}
        return [
            make_port(f"memif:{path},role={role},ring=256{zeros[role]}") for role in (ours, theirs)
        ]

    return make


def arrived(job):
    """The packets that have come to a job's ports, and those that they could not take."""
    rows = job.port_rows()
    return sum(row.rx_packets + row.rx_dropped + (row.rx_missed_errors or 0) for row in rows)


class Beside:
    """A job that runs in this process meanwhile."""

    def __init__(self, job):
        self.job = job
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.job.start()
        self.job.wait()

    def __enter__(self):
        self.job.__enter__()
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()
        self.job.__exit__(*exc)

    def is_up(self):
        return all(port.up() for port in self.job.ports)

    def stop(self):
        self.job.stop(hurry=True)
        self.thread.join()
        return self.job.result()


@pytest.mark.parametrize(("ours", "theirs", "zero"), MEMIF)
def test_memif_receives_all_that_the_peer_has_sent(mortal, memif, ours, theirs, zero):
    port, peers = memif(ours, theirs, zero)
    sender = GenerateJob(peers, Limits(), traffic(sequence=True))
    with CaptureJob(port, Limits(), None) as job, Beside(sender) as peer:
        life = mortal(job)
        until(lambda: job.service.serve(0.01) or peer.is_up())
        torment(life)
        life.begin()
        sent = peer.stop()
        until(lambda: job.wait(0.01) or arrived(job) >= sent.sent)
        result = ran(life.stop())
        named = result.received + (result.missed or 0)
        assert sent.sent <= named <= sent.sent + life.lost + 64 * life.kills
        assert result.drops.keys() <= {"worker_lost"}


@pytest.mark.parametrize(("ours", "theirs", "zero"), MEMIF)
def test_memif_has_sent_all_that_it_counted(mortal, memif, ours, theirs, zero):
    port, peers = memif(ours, theirs, zero)
    job = ForwardJob([make_port("null:"), port], Limits(), Forwarding())
    with job, Beside(CaptureJob(peers, Limits(), None)) as beside:
        life = mortal(job)
        until(lambda: job.service.serve(0.01) or beside.is_up())
        torment(life)
        result = ran(life.stop())
        received = beside.stop().received
    counted = result.forwarded - result.ports[0].tx_packets
    assert counted <= received + result.drops.get("peer_left", 0)
    assert received <= counted + result.drops.get("worker_lost", 0)


def test_a_file_is_forwarded_to_a_file(mortal, tmp_path):
    source, copy = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    count = by_tier(200_000, 400_000, 1_000_000)
    with CaptureJob(
        make_port("null:"), Limits(count=count), make_sink(str(source), "pcapng", 262144, 64)
    ) as job:
        written = ran(job.run()).written  # less than `count`, where the disk is slower
    ports = [make_port(f"pcap:{source}"), make_port(f"pcap:out={copy}")]
    with ForwardJob(ports, Limits(), Forwarding()) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.end())
    assert written - life.kills <= result.received <= written + 32 * life.kills
    with CaptureJob(make_port(f"pcap:{copy}"), Limits(), None) as job:
        again = ran(job.run())
    assert result.forwarded <= again.received <= result.forwarded + life.lost


def test_a_capture_to_a_file_has_what_it_counted(mortal, tmp_path):
    path = tmp_path / "out.pcap"
    sink = make_sink(str(path), "pcap", 262144, 64)
    with CaptureJob(make_port("null:"), Limits(count=2_000_000), sink) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.end())
    assert result.received == 2_000_000
    with CaptureJob(make_port(f"pcap:{path}"), Limits(), None) as job:
        again = ran(job.run())
    assert result.written <= again.received <= result.written + life.lost


def test_what_comes_back_is_within_what_was_sent(mortal, memif):
    """Both ends of a connection in one job: pktgen measures what it gets back."""
    port, peers = memif("server", "client", "off")
    limits = Limits(cores=[0, 0], count=by_tier(1_000_000, 2_000_000, 5_000_000))
    with GenerateJob(peers, limits, traffic(sequence=True), port) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.end())
        assert result.received + result.lost >= result.sent


def test_a_buffer_in_two_places_is_refused():
    with Pool(64, 1522) as pool:
        stacks = [pool.stack(32), pool.stack(32)]
        for held in ([3, 3], [64], [-1]):
            with pytest.raises(DeviceFault, match="damaged"):
                pool.refill(held)
        stacks[0].top, stacks[1].room, stacks[1].free[0] = 7000, 3, 9  # whatever was written there
        pool.refill([0, 5, 33])
        assert list(stacks[0].free[0 : stacks[0].top]) == [i for i in range(31, 0, -1) if i != 5]
        assert list(stacks[1].free[0 : stacks[1].top]) == [i for i in range(63, 31, -1) if i != 33]
        pool.forget()
        assert [stack.top for stack in stacks] == [0, 0]


def test_sums_are_those_of_the_reasons(mortal):
    with ForwardJob([make_port("null:"), make_port("null:")], Limits(), Forwarding()) as job:
        life = mortal(job)
        counters = job.ports[0].made[0].base.counters
        counters.drops[lib.DROP_DOWN], counters.drops[lib.DROP_TOO_LONG] = 3, 2
        life.recover()
        assert (counters.dropped, counters.errors) == (3, 2)
