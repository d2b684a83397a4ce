# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around an upgrade: the loops that go on are whole, and the devices they use."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from tests.process import test_upgrade
from tests.process.test_upgrade import begun, forward, moves, running
from tests.support.waiting import scaled, until
from uspnet.errors import DeviceFault
from uspnet.fastpath import lib
from uspnet.jobs import upgrade as upgrades

pytestmark = [
    pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap"),
    pytest.mark.usefixtures("reachable"),
]
short = test_upgrade.short


def test_a_port_that_fails_while_loops_pause_leaves_them_their_functions(short):
    with running(forward()) as job:
        begun(job)
        job.upgrade()
        failed = threading.Event()

        def control():
            if not failed.is_set():
                with contextlib.suppress(RuntimeError), job.ports[0].quiesce():
                    raise RuntimeError
                failed.set()

        job.ports[0].control = control
        assert failed.wait(scaled(10))
        moves(job)
        moves(job)
    assert job.crew.restarts == 0


def test_new_loops_that_die_on_trial_are_no_reset_of_a_nic(qemu, monkeypatch):
    monkeypatch.setattr(upgrades, "TRIAL_S", 5.0)
    with running(forward("qemu:e1000,loop=on,outage=0", "null:")) as job:
        begun(job)
        failed = []

        def upgrade():
            with pytest.raises(DeviceFault, match="the old one goes on") as error:
                job.upgrade()
            failed.append(error)

        thread = threading.Thread(target=upgrade)
        thread.start()
        until(job.crew.upgrades.on_trial)
        os.kill(job.crew.process.pid, signal.SIGKILL)
        thread.join()
        assert failed
        moves(job)
        assert not any(queue.base.counters.interruptions for queue in job.ports[0].made)
