# SPDX-License-Identifier: Apache-2.0
"""When packets are due, by number, without a clock: constant rates, ramps, bursts, random gaps."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.pace import Pace
from uspnet.packets.craft import craft
from uspnet.packets.shape import Shape
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program
from uspnet.packets.vary.flows import flow_index

HZ = 3_000_000_000
NEVER = (1 << 64) - 1
AT_THE_END = NEVER - 1
KS_1_PERCENT = 1.63  # Kolmogorov's distribution: the statistic of 1 % of all samples is above


def make(shape, seconds=0.0, number=0, workers=1):
    """A worker's pace, of which no packet was taken yet."""
    pace = Pace(shape, number, workers)
    pace.play(shape, seconds)
    lib.pace_begin(pace.c, HZ)
    return pace


def due_times(pace, count):
    """The due times of the next packets in ticks, as the loop takes them; fewer when it is over."""
    times = []
    while len(times) < count:
        n = lib.pace_ready(pace.c, AT_THE_END, min(lib.PACE_TABLE, count - len(times)))
        if not n:
            break
        times.extend(pace.c.due[pace.c.at : pace.c.at + n])
        pace.c.at += n
    return times


def together(shape, workers, count, seconds=0.0):
    """The due times of all workers in order."""
    paces = [make(shape, seconds, number, workers) for number in range(workers)]
    return sorted(time for pace in paces for time in due_times(pace, count))


@pytest.mark.parametrize("rate", [3, 1e3, 999_999, 14_880_952.38, 1e9])
def test_a_constant_rate_is_even_and_does_not_drift(rate):
    times = due_times(make(Shape((rate,))), 100_000)
    assert all(abs(time - (k + 1) * HZ / rate) <= 1 for k, time in enumerate(times))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("burst", [1, 5, 64, 200])
def test_workers_play_one_rate_together(workers, burst):
    shape = Shape((1e6,), burst=burst)
    count = 6 * burst
    alone = due_times(make(shape), count * workers)
    assert together(shape, workers, count) == alone


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("burst", [1, 7])
def test_no_more_is_due_than_a_run_asks_for(workers, burst):
    times = together(Shape((1e5,), burst=burst), workers, 10_000, seconds=0.05)
    assert len(times) == 5000 // burst * burst
    assert times[-1] <= HZ // 20


def test_a_burst_is_due_at_once_and_its_mean_is_the_rate():
    times = due_times(make(Shape((1e6,), burst=50)), 5000)
    assert set(Counter(times).values()) == {50}
    assert {b - a for a, b in pairwise(sorted(set(times)))} == {50 * HZ // 1_000_000}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("rates", [(1e4, 2e4, 3e4), (3e4, 1e4), (100.4, 200.6, 300.2)])
def test_each_step_of_a_ramp_has_its_packets(rates, workers):
    shape = Shape(rates, seconds=0.5)
    times = together(shape, workers, 100_000, seconds=0.5 * len(rates))
    length = HZ // 2
    steps = Counter(min((time - 1) // length, len(rates) - 1) for time in times)
    # a step that asks for 50.2 packets gets 50, and the next one 0.2 more
    ends = [int(before + 1e-6) for before in (*shape.before(), shape.packets(0.5 * len(rates)))]
    assert steps == {number: b - a for number, (a, b) in enumerate(pairwise(ends))}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_packet_that_one_step_begins_is_due_in_another(workers):
    shape = Shape(tuple(map(float, range(500, 1501))), seconds=1e-3)  # 0.5 to 1.5 packets each
    times = together(shape, workers, 10_000, seconds=1.001)
    assert len(times) == 1001
    for number, time in enumerate(times, 1):
        assert shape.packets(time / HZ) == pytest.approx(number, abs=1e-4)


def test_a_ramp_of_more_packets_than_are_counted_has_its_first_ones():
    shape = Shape(tuple(1e11 + step * 1e8 for step in range(9001)), seconds=1e5)
    times = due_times(make(shape, 9e8), 1000)
    assert all(abs(time - (k + 1) * HZ / 1e11) <= 1 for k, time in enumerate(times))
    assert len(times) == 1000


def test_the_last_rate_of_a_ramp_stays():
    times = due_times(make(Shape((1e3, 2e3), seconds=0.1), seconds=1.0), 10_000)
    assert len(times) == 100 + 1800
    assert {b - a for a, b in pairwise(times[100:])} <= {HZ // 2000, HZ // 2000 + 1}


def exponential_distance(gaps, mean):
    """Kolmogorov's and Smirnov's distance from the exponential distribution, times sqrt(n)."""
    count = len(gaps)
    expected = [1 - math.exp(-gap / mean) for gap in sorted(gaps)]
    above = max((k + 1) / count - p for k, p in enumerate(expected))
    below = max(p - k / count for k, p in enumerate(expected))
    return max(above, below) * math.sqrt(count)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", [1, 3, 2**64 - 1])
def test_random_gaps_are_exponential(seed, workers):
    times = together(Shape((1e6,), poisson=True, seed=seed), workers, 60_000)
    gaps = [b - a for a, b in pairwise([0, *times[:50_000]])]
    assert exponential_distance(gaps, HZ / 1e6) < KS_1_PERCENT


def test_gaps_that_are_not_exponential_are_found():
    times = due_times(make(Shape((1e6,), poisson=True)), 50_000)
    gaps = [b - a for a, b in pairwise(times)]
    assert exponential_distance(gaps, 1.03 * HZ / 1e6) > KS_1_PERCENT


def test_the_seed_decides_about_random_gaps():
    one, same, other = (
        due_times(make(Shape((1e6,), poisson=True, seed=seed)), 100) for seed in (1, 1, 2)
    )
    assert one == same
    assert not set(one) & set(other)
    both = [due_times(make(Shape((1e6,), poisson=True), 0, each, 2), 100) for each in (0, 1)]
    assert not set(both[0]) & set(both[1])


def test_what_is_drawn_from_one_seed_is_independent():
    change = Change(["ip.src=10.0.0.0/8:random", "ip.ttl=random"], 5, 9, 1.0)
    alone = replace(change, flows=None, zipf=None)
    _, program = compile_program(craft("Ether()/IP()/UDP()"), alone)
    seeds = [index.seed for index, _ in program.groups]
    seeds += [flow_index(change).seed]
    seeds += [make(Shape((1e6,), poisson=True, seed=5), 0, number, 2).c.seed for number in (0, 1)]
    assert len(set(seeds)) == 5


def test_random_bursts():
    times = due_times(make(Shape((1e6,), burst=9, poisson=True)), 90_000)
    bursts = times[::9]
    assert times == [time for time in bursts for _ in range(9)]
    gaps = [b - a for a, b in pairwise([0, *bursts])]
    assert exponential_distance(gaps, 9 * HZ / 1e6) < KS_1_PERCENT


@pytest.mark.parametrize("burst", [1, 9, 48, 64, 100])
def test_no_random_gap_is_drawn_twice(burst):
    bursts = due_times(make(Shape((10.0,), burst=burst, poisson=True)), 64 * burst)[::burst]
    gaps = sorted(b - a for a, b in pairwise([0, *bursts]))
    assert all(b - a > 9 for a, b in pairwise(gaps)), "ticks: chance makes none equal"


@pytest.mark.parametrize("seconds", [0.01, 0.1])
def test_random_gaps_end_with_the_run(seconds):
    pace = make(Shape((1e5,), poisson=True), seconds)
    times = due_times(pace, 1_000_000)
    assert times[-1] < seconds * HZ
    assert len(times) == pytest.approx(1e5 * seconds, rel=0.15)
    assert lib.pace_rest(pace.c, AT_THE_END) == 0


SHAPES = [Shape((1e5,)), Shape((1e5,), burst=30), Shape((1e4, 1e5), seconds=0.1),
          Shape((12_345.6, 2e4, 6e4), seconds=0.1), Shape((1e5,), poisson=True)]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_sent_is_counted(shape, workers):
    for number in range(workers):
        counted = make(shape, 1.0, number, workers)
        times = due_times(make(shape, 1.0, number, workers), 1_000_000)
        taken = len(due_times(counted, 777))
        until = HZ // 3
        assert lib.pace_rest(counted.c, until) == sum(time <= until for time in times) - taken
        assert lib.pace_rest(counted.c, AT_THE_END) == sum(time > until for time in times)


def test_very_many_packets_of_random_gaps_are_counted_by_their_mean():
    pace = make(Shape((1e12,), poisson=True), 0.05, 1, 2)
    assert lib.pace_rest(pace.c, AT_THE_END) == pytest.approx(25e9, rel=0.001)


@pytest.mark.parametrize("shape", SHAPES)
def test_another_process_goes_on_where_one_ended(shape):
    pace = make(shape, 1.0)
    all_times = due_times(make(shape, 1.0), 1_000_000)
    taken = len(due_times(pace, 1000))
    assert pace.resume(taken, 0, skip=False) == taken
    assert due_times(pace, 100) == all_times[1000:1100]
    now = HZ // 2
    passed = pace.resume(1100, now, skip=True)
    assert passed == sum(time <= now for time in all_times)
    assert due_times(pace, 100) == all_times[passed : passed + 100]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rates": ()}, {"rates": (0.0,)}, {"rates": (1.0, math.inf)}, {"rates": (1.0, 2.0)},
        {"rates": (1.0,), "burst": 0}, {"rates": (1.0, 2.0), "seconds": 1, "poisson": True},
    ],
)  # fmt: skip
def test_what_is_no_shape_is_refused(wrong):
    with pytest.raises(Usage):
        Shape(**wrong)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 257, 1000, 12_345_678, 1 << 40])
def test_how_late_packets_are_is_known_to_0_8_percent(value):
    floors = map(lib.histogram_floor, range(lib.HISTOGRAM_SLOTS))
    assert value * 0.992 <= max(floor for floor in floors if floor <= value)
