# SPDX-License-Identifier: Apache-2.0
"""Losses whose worker process is killed at any instruction: another one decides the same."""

from __future__ import annotations

import random

import pytest

from tests.support.stepping import Stepper, region, x86_only
from uspnet.fastpath import ffi, lib
from uspnet.jobs.losses import WINDOW, Losses
from uspnet.memory import new

STREAMS = 2


class Decider:
    """Losses of streams of which all but the numbers `lost` came, each 100 ns after the other."""

    def __init__(self, lost, sent):
        self.losses = Losses(STREAMS)
        self.received = new("struct stream[]", STREAMS)
        self.senders = new("struct stream[]", STREAMS)
        for number, each in enumerate(self.losses._streams):
            each.sender = ffi.addressof(self.senders, number)
            each.sender.next = sent
            each.before = 1000
            self.fill(number, lost, min(sent, WINDOW))

    def fill(self, stream, lost, until):
        received, times = self.received[stream], self.losses._streams[stream].times
        for number in sorted(set(range(until)) - lost):
            received.seen[number // 64] |= 1 << number % 64
            times[number] = 2000 + 100 * number
            received.next = number + 1

    def arguments(self, stream, number):
        return self.losses.c, stream, ffi.addressof(self.received, stream), number

    def advance(self, stream, number):
        return lib.losses_advance(*self.arguments(stream, number))

    def told(self):
        c = self.losses.c
        rows = [(r.stream, r.first, r.packets, r.before, r.after, r.ended)
                for r in self.losses._rows[0 : c.made]]  # fmt: skip
        longest = c.longest[c.which]
        lost = [each.lost for each in self.losses._streams]
        decided = [each.decided for each in self.losses._streams]
        return sorted(rows), (longest.first, longest.packets), lost, decided

    def regions(self):
        mine = self.losses
        return [region(mine.c), region(mine._streams), region(mine._rows)]


@x86_only
@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: it is slow by steps")
@pytest.mark.parametrize("number", [WINDOW + 70, 4 * WINDOW])
def test_what_is_decided_once_more_is_the_same(number):
    """Also where another stream, to which losses of its own end, goes on first."""
    lost = {3, 4, 17, 64, 65, 66, 67, 90} | set(range(100, WINDOW, 5000))
    whole, later = Decider(lost, 2 * number), number + 640
    for stream, highest in [(0, number), (0, later), (1, later)]:
        assert whole.advance(stream, highest)
    expected = whole.told()
    assert len(expected[0]) > 6
    victim = Decider(lost, 2 * number)
    stepper = Stepper(ffi.addressof(lib, "losses_advance"), victim.arguments(0, number),
                      victim.regions())  # fmt: skip
    steps = 0
    for steps in stepper.steps(1 if number < 2 * WINDOW else 997):
        for stream in random.Random(steps).sample(range(STREAMS), STREAMS):
            assert victim.advance(stream, later)
        assert victim.told() == expected, f"killed at step {steps}"
    assert steps > 100


def test_times_that_step_back_make_no_long_loss():
    """As forged ones may, or those of two bursts, by a little."""
    each = Decider({5, 6, 80}, WINDOW + 200)
    times = each.losses._streams[0].times
    times[7] = times[4] - 1
    assert each.advance(0, WINDOW + 199)
    longest = each.losses.c.longest[each.losses.c.which]
    assert (longest.first, longest.packets) == (80, 1)
