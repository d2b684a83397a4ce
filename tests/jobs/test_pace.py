# SPDX-License-Identifier: Apache-2.0
"""Rates in percent of a port's link, and shapes whose worker process is killed."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.support.identity import ran
from tests.support.mortal import Mortal
from tests.support.tiers import by_tier
from tests.support.waiting import scaled
from uspnet.errors import Usage
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.pace import Pace, pacing
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.packets.shape import Shape
from uspnet.ports.null import Null
from uspnet.ports.registry import make_port
from uspnet.spec import parse
from uspnet.system.kept import State

HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1, 2)
KILLS = by_tier(5, 15, 500)


class Linked(Null):
    """Has a link of 1 Gbit/s."""

    def link_bps(self):
        return 10**9


def traffic(shape):
    return Traffic([udp_template(60, *HEADER)], shape=shape)


@pytest.mark.parametrize(("kind", "pps"), [(Linked, 1000), (Null, 10_000)])
def test_percent_are_of_the_ports_own_link(kind, pps):
    shape = Shape((10_000.0,), percent=True)
    with GenerateJob(kind(parse("null:")), Limits(duration=0.1), traffic(shape)) as job:
        result = ran(job.run())
    assert result.asked.rate_pps == pps
    assert result.offered == pps // 10


def test_other_rates_are_not():
    shape = Shape((10_000.0,))
    with GenerateJob(Linked(parse("null:")), Limits(duration=0.1), traffic(shape)) as job:
        assert ran(job.run()).offered == 1000


def test_a_burst_that_never_is_due_is_refused():
    shape = Shape((10_000.0,), burst=5000, percent=True)  # 1,000 packets a second there
    with (
        GenerateJob(Linked(parse("null:")), Limits(duration=1.0), traffic(shape)) as job,
        pytest.raises(Usage, match="no burst of 5,000 packets is due within 1 s"),
    ):
        job.run()


def test_a_burst_that_is_not_due_any_more_is_none_of_the_next_versions(monkeypatch):
    """Which goes on with what the version before has left of the run."""
    monkeypatch.setattr("uspnet.system.kept._now", [State(before=[{"sent": 1}])])
    shape = Shape((100.0,), burst=1000)
    limits = Limits(duration=0.05, control=True)
    with GenerateJob(make_port("null:"), limits, traffic(shape)) as job:
        assert (job.run().sent, job.result().ended) == (0, "duration")


def test_nothing_is_asked_for_after_the_end():
    paces = [Pace(Shape((1000.0,)), 0, 1)]
    paces[0].play(Shape((1000.0,)), 2.0)
    kept = pacing(paces, 10**9, 2000, 4.0)
    assert (kept.asked_pps, kept.error_percent) == (1000.0, 0.0)
    assert pacing(paces, 10**9, 500, 1.0).error_percent == -50.0


def test_a_pause_that_is_passed_over_is_no_stall():
    with GenerateJob(make_port("null:"), Limits(count=1000), traffic(Shape((1e4,)))) as job:
        job.start()
        pace, hz = job._sends[0].c.pace, job.workers[0].hz
        with job.paused():
            before = (pace.looked, pace.wall)
            time.sleep(0.1)
            job.pass_over(0.1)
            assert (pace.looked, pace.wall) == tuple(at + int(0.1 * hz) for at in before)
        assert job.wait()
        assert job.result().offered == 1000


@pytest.mark.parametrize("limits", [{"count": 200_000}, {"duration": 1.0}], ids=str)
@pytest.mark.parametrize(
    "shape",
    [
        Shape((1e6,), burst=100), Shape((1e6,), poisson=True),
        Shape((5e5, 1e6, 2e6), seconds=0.05),
    ],
    ids=("burst", "poisson", "ramp"),
)  # fmt: skip
def test_a_shape_goes_on_in_another_process(shape, limits):
    chance = random.Random(1)
    with GenerateJob(make_port("null:queues=2"), Limits(**limits), traffic(shape)) as job:
        life = Mortal(job)
        try:
            for _ in range(KILLS):
                if life.live(chance.uniform(0, 0.004)):
                    break
            result = ran(life.end())
        finally:
            life.close()
    assert result.sent > 0
    assert result.drops.get("worker_lost", 0) == life.lost
    if "count" in limits:
        assert result.offered == limits["count"]
    elif not shape.poisson:
        assert result.offered == shape.whole(limits["duration"])


def test_who_sends_and_receives_in_one_thread_sleeps_between_packets():
    name = f"@uspnet-pace-{os.getpid()}"
    ports = make_port(f"memif:{name},role=server"), make_port(f"memif:{name}")
    limits = Limits(duration=1.0, poll="sleep", cores=[min(os.sched_getaffinity(0))])
    with GenerateJob(ports[0], limits, traffic(Shape((50.0,))), rx_port=ports[1]) as job:
        began = time.process_time()
        result = ran(job.run())
        used = time.process_time() - began
    assert (result.sent, result.received) == (50, 50)
    assert used < scaled(0.5), "seconds of CPU time: it spins"
