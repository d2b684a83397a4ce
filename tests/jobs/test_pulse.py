# SPDX-License-Identifier: Apache-2.0
"""Loops that hang are told from those that wait, are starved, or are looked at."""

from __future__ import annotations

import os
import threading

import pytest

from tests.support.waiting import until
from uspnet.jobs import pulse
from uspnet.memory import new


class Clocks:
    """The time, and what /proc says of the thread."""

    def __init__(self, monkeypatch):
        self.now, self.state, self.cpu = 100.0, "R", 0.0
        monkeypatch.setattr(pulse.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pulse.Pulse, "_thread", lambda *_: (self.state, self.cpu))


@pytest.fixture
def clocks(monkeypatch):
    return Clocks(monkeypatch)


@pytest.fixture
def worker():
    return new("struct worker *")


def hangs_after(watched, worker, clocks, seconds, *, cpu=0.0, state="R", pausing=False):
    """Looked at 20 times a second."""
    clocks.state = state
    found = watched.hangs(worker, 7, pausing=pausing)
    for _ in range(round(seconds * 20)):
        clocks.now += 0.05
        clocks.cpu += cpu * 0.05
        found = found or watched.hangs(worker, 7, pausing=pausing)
    return found


def test_a_busy_thread_without_rounds_hangs(worker, clocks):
    assert not hangs_after(pulse.Pulse(1, 0.0), worker, clocks, 0.9, cpu=1.0)
    assert hangs_after(pulse.Pulse(1, 0.0), worker, clocks, 1.5, cpu=1.0)


def test_a_thread_that_gets_no_processor_does_not(worker, clocks):
    assert not hangs_after(pulse.Pulse(1, 0.0), worker, clocks, 30, cpu=0.01)


@pytest.mark.parametrize("state", ["D", "S", "T"])
def test_a_blocked_or_stopped_one_hangs(worker, clocks, state):
    assert hangs_after(pulse.Pulse(1, 0.0), worker, clocks, 1.5, state=state)


def test_one_that_a_debugger_stopped_does_not(worker, clocks):
    assert not hangs_after(pulse.Pulse(1, 0.0), worker, clocks, 30, state="t")


def test_a_ring_may_block_for_as_long_as_its_port_says(worker, clocks):
    assert not hangs_after(pulse.Pulse(1, 4.0), worker, clocks, 4.9, state="S")
    assert hangs_after(pulse.Pulse(1, 4.0), worker, clocks, 5.5, state="S")


def test_a_pause_is_no_hang(worker, clocks):
    watched = pulse.Pulse(1, 0.0)
    assert not hangs_after(watched, worker, clocks, 30, cpu=1.0, pausing=True)


@pytest.mark.parametrize("name", ["pause", "paused"])
def test_one_that_pauses_unasked_does(worker, clocks, name):
    setattr(worker, name, 1)
    assert hangs_after(pulse.Pulse(1, 0.0), worker, clocks, 1.5, cpu=1.0)


def test_rounds_begin_it_anew(worker, clocks):
    watched = pulse.Pulse(1, 0.0)
    for _ in range(10):
        assert not hangs_after(watched, worker, clocks, 0.8, cpu=1.0)
        worker.rounds += 1


def test_what_proc_says_of_a_thread():
    watched, ended = pulse.Pulse(os.getpid(), 0.0), threading.Event()

    def spin():
        while not ended.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        until(lambda: watched._thread(thread.native_id)[1] >= 0.05)
        assert watched._thread(thread.native_id)[0] in {"R", "S"}
    finally:
        ended.set()
        thread.join()
    assert until(lambda: watched._thread(thread.native_id) == ("X", 0.0))
