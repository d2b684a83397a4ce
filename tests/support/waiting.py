# SPDX-License-Identifier: Apache-2.0
"""Deadlines that hold on a busy machine, too: the only place in tests/ that makes any."""

from __future__ import annotations

import time

WORK_S = 0.02  # what work() takes on an idle machine
SLOWNESS_MAX = 10.0
_seen = [1.0]


def work():
    """Do something, always the same."""
    for _ in range(500_000):
        pass


def slowness():
    """Measure how much longer things take than on an idle machine: the most so far, at least 1."""
    start = time.monotonic()
    work()
    _seen[0] = min(max((time.monotonic() - start) / WORK_S, _seen[0]), SLOWNESS_MAX)
    return _seen[0]


def scaled(seconds):
    """Return a time limit for a process or a call, which is for an idle machine `seconds`."""
    return seconds * slowness()


def moments(seconds, pause=0.01):
    """Yield now and then until the time is over. A machine that is slow or busy at the end of it
    has more, once.
    """
    end, extended = time.monotonic() + seconds, False
    while True:
        yield
        if time.monotonic() > end:
            if extended:
                return
            end, extended = end + scaled(seconds), True
        time.sleep(pause)


def until(true, seconds=10.0, pause=0.01, why=lambda: "waited in vain"):
    """Wait until `true()` is, and return what it gave. Fails after a time, with `why()`."""
    for _ in moments(seconds, pause):
        if result := true():
            return result
    raise AssertionError(why())
