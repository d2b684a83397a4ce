# SPDX-License-Identifier: Apache-2.0
"""How one thread wakes another."""

from __future__ import annotations

import os
import select
import signal
import threading

import pytest

from uspnet.system.bell import Bell


def rings(bell):
    return bool(select.select([bell.fd], [], [], 0)[0])


def test_it_rings_until_it_is_read():
    bell = Bell()
    assert not rings(bell)
    bell.ring()
    bell.ring()
    assert rings(bell)
    bell.silence()
    assert not rings(bell)
    bell.silence()
    bell.close()


def test_a_closed_one_rings_nobody_elses():
    bell, reader = Bell(), os.pipe2(os.O_NONBLOCK)
    number = bell.fd
    bell.close()
    os.dup2(reader[1], number)  # somebody else has its number now
    try:
        bell.ring()
        bell.close()
        with pytest.raises(BlockingIOError):
            os.read(reader[0], 1)
    finally:
        for fd in (number, *reader):
            os.close(fd)


def test_threads_and_signals_may_ring_while_it_closes():
    before = signal.signal(signal.SIGUSR1, lambda *_: [bell.ring() for bell in bells])
    bells, over = [Bell() for _ in range(200)], threading.Event()

    def ring():
        while not over.is_set():
            for bell in bells:
                bell.ring()
            os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=ring)
    thread.start()
    try:
        for bell in bells:
            bell.close()
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert {bell.fd for bell in bells} == {-1}
