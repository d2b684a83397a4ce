# SPDX-License-Identifier: Apache-2.0
"""Numbers as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uspnet import units
from uspnet.units import Rate, Unreadable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1_000", 1000), ("1k", 1000), ("1K", 1000), ("1M", 10**6), ("1.5M", 1_500_000),
        ("1e6", 10**6), ("2.5e3", 2500), ("3G", 3 * 10**9), ("0x40", 64), (" 7 ", 7), ("-1", -1),
        ("9223372036854775807", 2**63 - 1), (".5k", 500),
    ],
)  # fmt: skip
def test_counts(text, value):
    assert units.count(text) == value


@pytest.mark.parametrize(
    "text", ["", "x", "1.5", "1k5", "1kk", "1__", "_1", "nan", "inf", "1e-1", "٣", "1,000", "--1"]
)
def test_no_count(text):
    with pytest.raises(Unreadable) as caught:
        units.count(text)
    assert "1M" in caught.value.hint


@pytest.mark.parametrize(("text", "words"), [("0", "at least 1"), ("65", "at most 64")])
def test_a_count_has_bounds(text, words):
    with pytest.raises(Unreadable, match=words):
        units.whole(1, 64)(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10), ("0.5", 0.5), ("1e-3", 1e-3), ("10s", 10), ("1m", 60), ("1h30m", 5400),
        ("1h 30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("20us", 20e-6), ("20µs", 20e-6),
        ("2d", 172800), ("5min", 300), ("2 hours", 7200), ("1m30s", 90), ("10 sec", 10),
    ],
)  # fmt: skip
def test_times(text, seconds):
    assert units.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "1x", "1h30", "30m1h", "1m1m", "-1", "nan", "inf", "1:30", "1s,2s", "1mm"]
)
def test_no_time(text):
    with pytest.raises(Unreadable) as caught:
        units.duration(text)
    assert "1h30m" in caught.value.hint


def test_a_time_has_bounds():
    assert units.time_between(1, 60)("1m") == 60
    for text in ("0.5", "61s"):
        with pytest.raises(Unreadable) as caught:
            units.time_between(1, 60)(text)
        assert "1 to 60" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1000", Rate(1000, "pps")), ("100k", Rate(1e5, "pps")), ("1.5Mpps", Rate(1.5e6, "pps")),
        ("10gbit", Rate(1e10, "bps")), ("10Gbps", Rate(1e10, "bps")), ("1 Gb/s", Rate(1e9, "bps")),
        ("100Mbit/s", Rate(1e8, "bps")), ("10GBPS", Rate(1e10, "bps")), ("25%", Rate(25, "%")),
        ("max", Rate(0, "max")), ("1e6", Rate(1e6, "pps")), ("2kp/s", Rate(2000, "pps")),
        ("99M", Rate(99e6, "pps")), ("100Mpps", Rate(1e8, "pps")), ("1k", Rate(1000, "pps")),
    ],
)  # fmt: skip
def test_rates(text, read):
    assert units.rate(text) == read


@pytest.mark.parametrize("text", ["", "fast", "-1", "nan", "1%%", "%", "pps", "10Gb its", "1Xbps"])
def test_no_rate(text):
    with pytest.raises(Unreadable) as caught:
        units.rate(text)
    assert "1.5Mpps" in caught.value.hint


@pytest.mark.parametrize("text", ["10G", "10g", "1T", "0.5G", "100M", "2.5e8", "100_000k"])
def test_a_rate_that_may_mean_two_things_is_none(text):
    with pytest.raises(Unreadable) as caught:
        units.rate(text)
    ways = caught.value.hint.removeprefix("write ").split(", or ")
    assert [units.rate(way).unit for way in ways] == ["bps", "pps"]


@pytest.mark.parametrize("text", ["10MB/s", "800MBps", "1kByte/s", "5B"])
def test_bytes_are_not_taken_for_bits(text):
    for read in (units.rate, units.bit_rate):
        with pytest.raises(Unreadable, match="bytes"):
            read(text)


@pytest.mark.parametrize(
    ("text", "value"), [("10G", 1e10), ("2.5Gbps", 2.5e9), ("100Mbit/s", 1e8), ("25gbit", 25e9)]
)
def test_link_speeds(text, value):
    assert units.bit_rate(text) == value


@pytest.mark.parametrize("text", ["", "0", "1Mpps", "fast", "1e400", "-1G"])
def test_no_link_speed(text):
    with pytest.raises(Unreadable):
        units.bit_rate(text)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("0.1%", 0.001), ("100 %", 1), ("5e-3%", 5e-5)]
)
def test_shares(text, value):
    assert units.share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "1", "0.1", "101%", "-1%", "%", "some"])
def test_no_share(text):
    with pytest.raises(Unreadable) as caught:
        units.share(text)
    assert "0.1%" in caught.value.hint


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for read in (units.count, units.duration, units.rate, units.bit_rate, units.share):
        with contextlib.suppress(Unreadable):
            read(text)
