# SPDX-License-Identifier: Apache-2.0
"""Jobs whose loops are replaced while they run."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from tests.support.identity import ran
from tests.support.processes import children_of, descriptors, session
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet import __version__
from uspnet.errors import Busy, DeviceFault, DeviceTimeout, NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs import upgrade as upgrades
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.ports.registry import make_port

pytestmark = [
    pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap"),
    pytest.mark.usefixtures("reachable"),
]
TIMES = by_tier(10, 30, 100)
SHORT_S = 0.05  # a trial, where it is not what is tested


@pytest.fixture
def short(monkeypatch):
    """Trials are short."""
    monkeypatch.setattr(upgrades, "TRIAL_S", SHORT_S)


@contextlib.contextmanager
def running(job):
    """Run a job in a thread that waits for it, until the end of the block."""
    trouble = []

    def wait():
        try:
            with job:
                job.start()
                job.wait()
        except Exception as error:  # noqa: BLE001 - told below
            trouble.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        until(lambda: job.is_open() or trouble)
        yield job
    finally:
        job.stop()
        job.stop()
        thread.join()
    assert not trouble


def forward(*ports, **limits):
    made = [make_port(port) for port in ports or ("null:", "null:")]
    limits = {"process": True, "duration": 600, **limits}
    return ForwardJob(made, Limits(**limits), Forwarding())


def moves(job):
    """Wait until packets are moved, after those of now."""
    before = job.total("tx", "packets")
    until(lambda: job.total("tx", "packets") > before)


def begun(job):
    until(lambda: job.workers and any(worker.c.rounds for worker in job.workers))


@pytest.mark.full
def test_loops_are_replaced_again_and_again(short):
    before = set(children_of(os.getpid()))
    with running(forward()) as job:
        begun(job)
        pids = {job.crew.process.pid}
        sizes = []
        for _ in range(TIMES):
            asked = time.time()
            done = job.upgrade()
            assert (done.kind, done.pid, done.dropped) == ("warm", os.getpid(), 0)
            assert done.before == done.after == __version__
            assert done.gap_us > 0
            assert asked < done.began < time.time()
            pids.add(job.crew.process.pid)
            moves(job)
            assert len(set(children_of(os.getpid())) - before) == 2, "fork server and worker"
            sizes.append((descriptors(), threading.active_count()))
        assert sizes[-1] <= sizes[1]
        assert len(pids) == TIMES + 1
    result = ran(job.result())
    assert result.received == result.forwarded > 0
    assert result.upgrades == TIMES
    assert set(children_of(os.getpid())) == before


def numbered(name, **limits):
    """Packets with numbers from one memif port to another, in one job."""
    template = udp_template(
        60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
    )
    receiver = make_port(f"memif:@{name},role=client")
    traffic = Traffic([template], rate=20_000, sequence=True)
    limits = {"process": True, "duration": 600, **limits}
    return GenerateJob(make_port(f"memif:@{name},role=server"), Limits(**limits), traffic, receiver)


def test_no_numbered_packet_is_lost_or_comes_twice(short):
    with running(numbered(f"uspnet-upgrade-{os.getpid()}")) as job:
        begun(job)
        for _ in range(TIMES):
            assert job.upgrade().dropped == 0
            moves(job)
    result = ran(job.result())
    assert result.sent > 0
    assert (result.lost, result.duplicated, result.reordered, result.foreign) == (0, 0, 0, 0)


def test_another_version_is_named(short, newer):
    with running(forward()) as job:
        begun(job)
        done = job.upgrade([str(newer.python)])
        assert (done.before, done.after) == (__version__, f"9.{__version__}")
        moves(job)
        done = job.upgrade()
        assert (done.before, done.after) == (f"9.{__version__}", __version__)
        moves(job)


def refused(job, installation):
    """Why a job is not upgraded; it goes on as it was."""
    worker = job.crew.process.pid
    with pytest.raises(NotSupported) as raised:
        job.upgrade([str(installation.python)])
    assert job.crew.process.pid == worker
    moves(job)
    return raised.value


def test_what_can_not_take_over_is_refused(short, without, incompatible, foreign):
    before = set(children_of(os.getpid()))
    with running(forward()) as job:
        begun(job)
        assert "has no uspnet" in refused(job, without).message
        error = refused(job, incompatible)
        assert "structs in shared memory differ" in error.message
        assert f"uspnet {__version__}" in error.message
        assert f"has 9.{__version__}" in error.message
        assert "another protocol" in refused(job, foreign).message
        assert len(set(children_of(os.getpid())) - before) == 2
        job.upgrade()
        moves(job)


def test_what_a_program_that_hangs_has_started_ends_with_it(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 1000 &\nsleep 1000\n")
    program.chmod(0o755)
    with running(forward()) as job:
        begun(job)
        request = job.crew.upgrades.ask([str(program)])
        upgrade, _ = until(lambda: job.crew.upgrades._now)
        leader = upgrade.successor.pid
        until(lambda: len(session(leader)) == 3)
        upgrade.successor._words.patience_s = 0.0
        until(request.done.is_set)
        assert isinstance(request.error, DeviceTimeout)
        until(lambda: not session(leader))
        moves(job)


def on_trial(job, known):
    """Ask for an upgrade in a thread. Return it, and the list for what it will say, once the new
    process runs.
    """
    said = []

    def ask():
        try:
            said.append(job.upgrade())
        except Exception as error:  # noqa: BLE001 - what is tested
            said.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: job.crew.process.pid != known and job.crew.upgrades.on_trial())
    return thread, said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_the_old_loops_go_on_when_the_new_ones_fail(number, monkeypatch):
    monkeypatch.setattr(upgrades, "TRIAL_S", 5.0)
    before = set(children_of(os.getpid()))
    with running(forward()) as job:
        begun(job)
        old = job.crew.process.pid
        thread, said = on_trial(job, old)
        os.kill(job.crew.process.pid, number)
        thread.join()
        (error,) = said
        assert isinstance(error, DeviceFault)
        assert "the old one goes on" in error.message
        assert job.crew.process.pid == old
        moves(job)
        monkeypatch.setattr(upgrades, "TRIAL_S", SHORT_S)
        job.upgrade()
        moves(job)
        assert len(set(children_of(os.getpid())) - before) == 2
    result = ran(job.result())
    assert result.received == result.forwarded + result.dropped


def test_two_at_once(short):
    with running(forward()) as job:
        begun(job)
        requests = [job.crew.upgrades.ask(None) for _ in range(2)]
        assert all(request.done.wait(60) for request in requests)
        assert requests[0].result
        assert isinstance(requests[1].error, Busy)
        moves(job)


def test_a_job_that_ends_meanwhile(short):
    before = set(children_of(os.getpid()))
    with running(forward()) as job:
        begun(job)
        request = job.crew.upgrades.ask(None)
        job.stop()
        until(request.done.is_set)
        assert request.result or "meanwhile" in request.error.message
        with pytest.raises(DeviceFault, match="meanwhile"):
            job.upgrade()
    assert set(children_of(os.getpid())) == before


def test_a_job_that_ends_on_trial():
    with running(forward()) as job:
        begun(job)
        thread, said = on_trial(job, job.crew.process.pid)
        job.stop()
        thread.join()
        assert said[0].kind == "warm"


def test_while_the_job_waits_for_its_peer(short):
    name = f"uspnet-peer-{os.getpid()}"
    peer = forward("null:", f"memif:@{name},role=server", process=False)
    with running(forward(f"memif:@{name},role=client", "null:")) as job:
        until(lambda: job.service.thread)
        server = job.crew.server
        done = job.upgrade()
        assert done.gap_us is None
        assert job.crew.server is not server
        with running(peer):
            begun(job)
            moves(job)
            done = job.upgrade()
            assert done.gap_us > 0
            moves(job)


def test_while_a_peer_reconnects(short):
    name = f"uspnet-again-{os.getpid()}"
    with running(forward(f"memif:@{name},role=client", "null:")) as job:
        for _ in range(3):
            with running(forward("null:", f"memif:@{name},role=server", process=False)):
                begun(job)
                moves(job)
            job.upgrade()
        with running(forward("null:", f"memif:@{name},role=server", process=False)):
            moves(job)


def test_loops_in_the_process_of_the_job_are_refused():
    with running(forward(process=False)) as job:
        until(lambda: job.is_open() and job.total("tx", "packets"))
        with pytest.raises(NotSupported, match="process of the job itself") as raised:
            job.upgrade()
    assert "--in-process" in raised.value.hint


def test_the_thread_that_waits_can_not_ask():
    with forward() as job:
        job.start()
        assert not job.wait(0)
        with pytest.raises(Usage, match="can't wait for its upgrade"):
            job.upgrade()
        job.stop()
        job.wait()


def test_a_job_that_is_not_open():
    with pytest.raises(DeviceFault, match="ended"):
        forward().upgrade()


def test_a_worker_process_that_dies_later_is_replaced_by_the_new_version(short, newer):
    with running(forward(restart=1)) as job:
        begun(job)
        job.upgrade([str(newer.python)])
        pid = job.crew.process.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: job.crew.process.pid != pid)
        moves(job)
        assert job.crew.server.version == f"9.{__version__}"
