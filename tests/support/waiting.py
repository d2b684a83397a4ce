# SPDX-License-Identifier: Apache-2.0
"""Deadlines that hold on a busy machine, too."""

from __future__ import annotations

import time

WORK_S = 0.02  # what work() takes on an idle machine
SLOWNESS_MAX = 10.0


def work():
    """Something to do, always the same."""
    for _ in range(500_000):
        pass


def slowness():
    """How much longer than on an idle machine things take here and now; at least 1."""
    start = time.monotonic()
    work()
    return min(max((time.monotonic() - start) / WORK_S, 1.0), SLOWNESS_MAX)


def moments(seconds, pause=0.01):
    """Yields now and then until the time is over. A machine that is slow or busy at the end of it
    has more, once."""
    end, extended = time.monotonic() + seconds, False
    while True:
        yield
        if time.monotonic() > end:
            if extended:
                return
            end, extended = end + seconds * slowness(), True
        time.sleep(pause)


def until(true, seconds=10.0):
    """Waits until `true()` is, and returns what it gave. Fails after a generous time."""
    for _ in moments(seconds):
        if result := true():
            return result
    raise AssertionError("waited in vain")
