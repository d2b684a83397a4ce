# SPDX-License-Identifier: Apache-2.0
"""Sizes as people write them: how many of each, and in which order."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest

from uspnet.errors import Usage
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import Template
from uspnet.packets.sizes import MIXES, RANDOM_CYCLE, read_sizes
from uspnet.units import Unreadable


def cycle(text):
    sizes = read_sizes(text)
    return [sizes.sizes[each] for each in sizes.order]


@pytest.mark.parametrize(("text", "sizes", "shown"), [
    ("60", [60], "60"),
    ("60-63", [60, 61, 62, 63], "60-63"),
    ("1514,60,1514", [1514, 60, 1514], "imix:gag"),
    ("60,100-102", [60, 100, 101, 102], "60:1,100:1,101:1,102:1"),
    ("imix:aab", [60, 60, 124], "imix:aab"),
    ("IMIX:ahi", [60, 2108, 8996], "imix:ahi"),
    ("60:1,1514:1", [60, 1514], "imix:ag"),
    ("60:0.5,70:0.25", [60, 70, 60], "60:2,70:1"),
    ("60:30,70:30", [60, 70], "60:1,70:1"),
])  # fmt: skip
def test_sizes_are_sent_in_order(text, sizes, shown):
    assert cycle(text) == sizes
    assert str(read_sizes(text)) == shown
    assert sorted(cycle(shown)) == sorted(sizes)


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_has_its_shares_exactly_and_spread(name):
    wanted = {int(s) - 4: Fraction(w) for s, w in (p.split(":") for p in MIXES[name].split(","))}
    for text in (f"imix:{name}", f"imix:{name.removesuffix('_imix')}"):
        made = cycle(text)
        shares = {size: Fraction(n, len(made)) for size, n in Counter(made).items()}
        assert shares == {size: w / sum(wanted.values()) for size, w in wanted.items()}
    most = max(wanted, key=wanted.get)
    half = Counter(made[: len(made) // 2])[most]
    assert math.isclose(half, len(made) / 2 * shares[most], abs_tol=1)


def test_random_sizes_are_uniform_and_the_same_in_every_run():
    made = cycle("random:60-159")
    assert len(made) == RANDOM_CYCLE
    assert made == cycle("random:60-159")
    counts, mean = Counter(made), RANDOM_CYCLE / 100
    assert set(counts) == set(range(60, 160))
    assert 66.5 < sum((n - mean) ** 2 / mean for n in counts.values()) < 138.99  # chi-squared
    assert str(read_sizes("random:60-159")) == "random:60-159"


def test_the_seed_decides_about_random_sizes():
    sizes = read_sizes("random:60-159")
    assert sizes.by(1) == sizes
    assert sizes.by(2) == sizes.by(2)
    assert sizes.by(2).order != sizes.order
    assert read_sizes("imix").by(2) == read_sizes("imix")
    template = Template(bytes(60), 0, lambda _at, _data: bytes(60))
    traffic = Traffic([template], sizes=sizes.by(7))
    assert traffic.asked(None)["seed"] == 7


@pytest.mark.parametrize(("text", "message"), [
    ("", "not a size"), ("x", "not a size"), ("13", "not a frame"), ("9729", "not a frame"),
    ("60-50", "is empty"), ("60,", "not a size"), ("60:0", "not a weight"), ("60:", "not a weight"),
    ("60:-1", "not a weight"), ("imix:k", "not a mix"), ("imix:", "not a mix"),
    ("60:0.000001,61:99999", "too long"), ("random:5", "not a frame"), ("60-", "not a size"),
])  # fmt: skip
def test_what_is_no_size_is_refused(text, message):
    with pytest.raises(Unreadable, match=message) as caught:
        read_sizes(text)
    assert caught.value.hint


def test_every_packet_gets_every_size():
    assert read_sizes("60").over(5) == ()
    assert read_sizes("imix:aab").over(2) == (0, 1, 0, 1, 2, 3)
    with pytest.raises(Usage, match="are too many"):
        read_sizes("random:60-61").over(1000)


MTUS = [("imix:aaz", (60, 60, 1514)), ("imix:az,z=9018", (60, 9014)), ("imix:z", (1514,))]


@pytest.mark.parametrize(("text", "lengths"), MTUS)
def test_a_z_stands_for_the_mtu(text, lengths):
    sizes = read_sizes(text)
    assert tuple(sizes.sizes[each] for each in sizes.order) == lengths


WRONG_LETTERS = [("imix:aj", "15996 bytes is not a frame"), ("imix:ak", "not a mix"),
                 ("imix:az,z=1", "not a frame"), ("imix:az,y=99", "not a mix")]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG_LETTERS)
def test_letters_of_sizes_that_no_port_sends_are_refused(text, told):
    with pytest.raises(Unreadable, match=told):
        read_sizes(text)
