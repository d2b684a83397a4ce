# SPDX-License-Identifier: Apache-2.0
"""When a thread has had its chance: one that gets no CPU does not hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.waiting import until
from uspnet.jobs import pulse
from uspnet.jobs.pulse import BUSY_S, STARVED_S, Chance, state_of

SECONDS = 0.05


@pytest.fixture
def spinning():
    """A process of one thread that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process.pid
        process.kill()


def chance(monkeypatch, *states):
    """Whether a thread has had its chance at each of these looks, once its time is over."""
    looks = iter([("R", 1.0), *states])
    monkeypatch.setattr(pulse, "state_of", lambda _pid, _thread: next(looks))
    given = Chance(1, 1, 0.0)
    return [given.had() for _ in states]


def test_one_that_waits_for_a_cpu_has_not_had_it(monkeypatch):
    seen = chance(monkeypatch, ("R", 1.0), ("R", 1.0 + BUSY_S / 2), ("R", 1.0 + BUSY_S))
    assert seen == [False, False, True]


@pytest.mark.parametrize("state", "DSTX")
def test_one_that_is_blocked_has_had_it(monkeypatch, state):
    assert chance(monkeypatch, (state, 1.0)) == [True]


def test_nobody_is_waited_for_forever(monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    given = Chance(os.getpid(), os.getpid(), 0.0)
    monkeypatch.setattr(pulse, "state_of", lambda _pid, _thread: ("R", 0.0))
    assert not given.had()
    now += STARVED_S + 1
    assert given.had()


def test_before_its_time_nobody_has(spinning):
    assert not Chance(spinning, spinning, 60.0).had()


def test_what_the_kernel_says_of_one_that_spins_stops_and_ends(spinning):
    until(lambda: state_of(spinning, spinning)[1] >= SECONDS)
    os.kill(spinning, signal.SIGSTOP)
    until(lambda: state_of(spinning, spinning)[0] == "T")
    assert Chance(spinning, spinning, 0.0).had()
    assert state_of(spinning, spinning + (1 << 30)) == ("X", 0.0)


def test_what_can_not_be_seen_is_not_blocked():
    hidden = int(Path("/proc/sys/kernel/pid_max").read_text())  # nobody has this number
    assert state_of(hidden, hidden) == ("R", 0.0), "as with hidepid: see proc(5)"
    assert state_of(os.getpid(), hidden) == ("X", 0.0), "that thread has ended"
