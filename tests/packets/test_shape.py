# SPDX-License-Identifier: Apache-2.0
"""Ramps as people write them, and how many packets a shape asks for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uspnet.packets.shape import Shape, read_ramp
from uspnet.units import Unreadable


@pytest.mark.parametrize(
    ("text", "values", "unit", "seconds"),
    [
        ("1M:3M:1M/5s", [1e6, 2e6, 3e6], "pps", 5),
        ("3M:1M:1M/500ms", [3e6, 2e6, 1e6], "pps", 0.5),
        ("10%:100%:45%/1m", [10, 55, 100], "%", 60),
        ("100Mbit/s:300Mbit/s:100Mbit/s/2", [1e8, 2e8, 3e8], "bps", 2),
        ("1Gbps:l1:3Gbps:l1:1Gbps:l1/1s", [1e9, 2e9, 3e9], "l1", 1),
        ("0.1k:0.4k:0.1k/1s", [100, 200, 300, 400], "pps", 1),
    ],
)
def test_ramps(text, values, unit, seconds):
    ramp = read_ramp(text)
    assert [each.value for each in ramp.rates] == pytest.approx(values)
    assert {each.unit for each in ramp.rates} == {unit}
    assert ramp.seconds == seconds
    assert ramp.duration() == pytest.approx(seconds * len(values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a ramp"), ("1M", "not a ramp"), ("1M:2M:1M", "not a ramp"),
        ("1M:2M/5s", "not a ramp"), ("1M:2M:1M:1M/5s", "not a ramp"), ("a:b:c/5s", "not a rate"),
        ("1M:2M:1M/", "not a time"), ("1M:2M:1M/0", "too short"), ("1M:2M:1M/1e9", "too long"),
        ("1M:2M:300k/5s", "miss its end"), ("1M:1M:1M/5s", "no step"), ("1M:2M:0/5s", "no step"),
        ("1M:2Mbps:1M/5s", "one unit"), ("max:max:max/5s", "one unit"),
        ("1:1M:1/1s", "10,000 steps"), ("1G:2G:1G/1s", "packets or bits"),
    ],
)  # fmt: skip
def test_no_ramp(text, message):
    with pytest.raises(Unreadable, match=message) as caught:
        read_ramp(text)
    assert caught.value.hint


@given(st.text(alphabet="1M0:/%s.l", max_size=20))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(Unreadable):
        read_ramp(text)


def test_a_shape_knows_its_packets():
    shape = Shape((100.0, 200.0, 300.0), seconds=2.0)
    assert [shape.packets(seconds) for seconds in (1, 2, 3, 6, 10)] == [100, 200, 400, 1200, 2400]
    assert read_ramp(shape.ramp() or "").seconds == 2
    assert [each.value for each in read_ramp(shape.ramp()).rates] == [100, 200, 300]
    assert Shape((5.0,)).ramp() is None
    assert shape.scaled(2.0).rates == (200, 400, 600)


def test_fractions_of_packets_add_up():
    shape = Shape((0.5, 1.0, 1.5), seconds=1.0)
    assert shape.before() == (0.0, 0.5, 1.5)
    assert [shape.packets(seconds) for seconds in (0.5, 1, 2, 3)] == [0.25, 0.5, 1.5, 3]
    assert [shape.whole(seconds) for seconds in (1, 2, 3)] == [0, 1, 3]


@pytest.mark.parametrize(("burst", "whole"), [(1, 2500), (7, 2499), (2500, 2500), (2501, 0)])
def test_a_burst_is_whole_or_not_begun(burst, whole):
    assert Shape((1000.0,), burst=burst).whole(2.5) == whole
