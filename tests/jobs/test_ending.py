# SPDX-License-Identifier: Apache-2.0
"""How runs end, by a clock that the test moves."""

from __future__ import annotations

import pytest

from tests.support.fake_port import FakePort
from uspnet.jobs import ending
from uspnet.jobs.ending import (
    DRAIN_MAX_S,
    DRAIN_S,
    GRACE_MAX_S,
    GRACE_S,
    LATE_S,
    STRAGGLE_S,
    TRANSIT_MAX_S,
    Grace,
    drain,
)
from uspnet.jobs.route import owners


def ends_at(counts, sent, step=0.01, in_transit=lambda _: False):
    """Seconds until the grace is over, when `counts(now)` packets have come."""
    grace, now = Grace(), 100.0
    while not grace.over(now, counts(now - 100), sent, in_transit=in_transit(now - 100)):
        now += step
    return now - 100


def test_all_came_back():
    assert ends_at(lambda _: 10, 10) == pytest.approx(GRACE_S, abs=0.03)


def test_some_are_missing():
    assert ends_at(lambda _: 9, 10) == pytest.approx(STRAGGLE_S, abs=0.03)


def test_late_ones_are_waited_for():
    late = ends_at(lambda now: 9 if now < 0.9 else 10, 10)
    assert late == pytest.approx(0.9 + GRACE_S, abs=0.03)


def test_a_port_that_never_falls_silent_is_left():
    assert ends_at(lambda now: int(now * 1000), 10) == pytest.approx(GRACE_MAX_S, abs=0.03)


def test_packets_in_transit_are_waited_for():
    on_its_way = lambda now: now < 3  # noqa: E731
    late = ends_at(lambda now: 9 if now < 3.5 else 10, 10, in_transit=on_its_way)
    assert late == pytest.approx(3.5 + GRACE_S, abs=0.03)
    assert ends_at(lambda _: 9, 10, in_transit=on_its_way) == pytest.approx(
        3 + STRAGGLE_S, abs=0.03
    )
    assert ends_at(lambda _: 10, 10, in_transit=on_its_way) == pytest.approx(GRACE_S, abs=0.03)


def test_packets_that_stay_in_transit_are_given_up():
    lost = ends_at(lambda _: 9, 10, in_transit=lambda _: True)
    assert lost == pytest.approx(TRANSIT_MAX_S + STRAGGLE_S, abs=0.03)
    noise = ends_at(lambda now: -1 - int(now * 1000), 10, in_transit=lambda _: True)
    assert noise == pytest.approx(TRANSIT_MAX_S + GRACE_MAX_S, abs=0.03)


def test_a_machine_too_busy_to_look_waits_longer():
    looks = STRAGGLE_S / LATE_S
    assert ends_at(lambda _: 9, 10, step=0.5) == pytest.approx(0.5 * looks, abs=1.1)


class Clock:
    def __init__(self):
        self.now = 50.0

    def monotonic(self):
        return self.now

    def serve(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(ending, "time", clock)
    return clock


def drained(clock, waiting, *, hurry=False, reports_sent=False):
    """Seconds that it took, when `waiting(seconds)` packets are in the ring."""
    port = FakePort()
    port.pending = lambda: waiting(clock.now - 50)
    port.reports_sent = reports_sent
    waits = []
    drain([port], clock.serve, waits.append, lambda: hurry)
    assert waits == sorted(waits)
    assert len(waits) >= (clock.now - 50) * 20, "who watches the run sees that it is alive"
    return clock.now - 50


def test_nothing_waits(clock):
    assert drained(clock, lambda _: 0) == 0


def test_a_peer_that_takes_them_is_waited_for(clock):
    assert drained(clock, lambda now: max(0, 5000 - int(now * 1000))) == pytest.approx(5, abs=0.1)


def test_a_peer_that_takes_nothing_is_left(clock):
    assert drained(clock, lambda _: 500) == pytest.approx(DRAIN_S, abs=0.1)


def test_a_few_may_be_free_without_our_being_told(clock):
    assert drained(clock, lambda _: 5) < 0.2


def test_a_device_that_reports_all_that_it_sent_is_waited_for(clock):
    slow = lambda now: 5 if now < 1.5 else 0  # noqa: E731 - as a busy machine's QEMU
    assert drained(clock, slow, reports_sent=True) == pytest.approx(1.5, abs=0.1)


def test_a_peer_that_is_ever_so_slow_is_left_some_time(clock):
    slow = drained(clock, lambda now: 100_000 - int(now))
    assert slow == pytest.approx(DRAIN_S + DRAIN_MAX_S, abs=0.1)


def test_in_a_hurry_nothing_is_waited_for(clock):
    assert drained(clock, lambda _: 500, hurry=True) == 0


def test_routes_that_share_a_queue_have_one_owner():
    a, b, c = FakePort(), FakePort(), FakePort()
    routes = [
        ((a, 0), [(b, 0)]),
        ((a, 1), [(b, 1)]),
        ((c, 0), [(b, 0), (a, 0)]),
        ((b, 0), [(a, 0)]),
        ((b, 1), [(c, 0)]),
    ]
    groups = owners(routes)
    assert sorted(map(len, groups)) == [1, 1, 3]
    assert [route for group in groups for route in group if len(group) == 3] == [
        routes[0], routes[2], routes[3],
    ]  # fmt: skip
