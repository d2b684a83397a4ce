# SPDX-License-Identifier: Apache-2.0
"""Rates in percent of a port's link, and shapes whose worker process is killed."""

from __future__ import annotations

import random

import pytest

from tests.support.identity import ran
from tests.support.mortal import Mortal
from tests.support.tiers import by_tier
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.packets.shape import Shape
from uspnet.ports.null import Null
from uspnet.ports.registry import make_port
from uspnet.spec import parse

HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1, 2)
KILLS = by_tier(5, 50, 500)


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


@pytest.mark.parametrize("limits", [{"count": 200_000}, {"duration": 0.3}], ids=str)
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
        assert result.offered == round(shape.packets(limits["duration"]))
