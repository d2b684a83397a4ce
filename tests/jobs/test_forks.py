# SPDX-License-Identifier: Apache-2.0
"""Fork servers that end too early."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import pytest

from tests.support.identity import ran
from tests.support.processes import children_of, descriptors
from tests.support.waiting import until
from uspnet.errors import NotSupported
from uspnet.fastpath import lib
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
KILLS = 5


@pytest.fixture
def job():
    """A job with a process of its own, and a list of its notices."""
    ports = [make_port("null:"), make_port("null:")]
    with ForwardJob(ports, Limits(process=True), Forwarding()) as job:
        said = []
        job.on_notice = said.append
        job.start()
        yield job, said


def replaced(job):
    """Kill the fork server, and wait for another one."""
    before = job.crew.server
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and job.crew.server is not before)


@contextlib.contextmanager
def silent(server):
    """What the fork server is asked goes to somebody who says nothing."""
    ours, nobody = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0.1)
    server._socket, before = ours, server._socket
    with before, nobody:
        yield


def test_killed_again_and_again(job):
    job, said = job
    replaced(job)
    fds, children = descriptors(), len(children_of(os.getpid()))
    for _ in range(KILLS):
        replaced(job)
    assert (descriptors(), len(children_of(os.getpid()))) == (fds, children)
    assert len(said) == 1 + KILLS
    assert "--in-process" in job.crew.server.instead
    worker = job.crew.process.pid
    os.kill(worker, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and job.crew.process.pid != worker)
    before = job.total("tx", "packets")
    until(lambda: job.total("tx", "packets") > before)
    job.stop()
    job.wait()
    result = ran(job.result())
    assert result.received == result.forwarded + result.dropped


def test_an_upgrade_meanwhile_brings_one(job):
    job, said = job
    before = job.crew.server
    os.kill(before.pid, signal.SIGKILL)
    until(before.dead)
    request = job.crew.upgrades.ask(None)
    until(lambda: not job.wait(0.001) and request.done.is_set())
    assert request.result
    assert not job.crew.server.dead()
    until(lambda: not job.wait(0.001) and not job.crew.forks._next)
    worker = job.crew.process.pid
    os.kill(worker, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and job.crew.process.pid != worker)
    assert "a new one goes on" in said[-1]


def test_one_that_can_not_start_is_said_once(job, monkeypatch):
    job, said = job
    from uspnet.process import successor

    monkeypatch.setattr(successor, "CODE", "raise SystemExit")
    os.kill(job.crew.server.pid, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and said)
    assert "no other one starts" in said[0]
    assert not job.wait(0.2)
    assert len(said) == 1


def test_one_that_is_yet_to_end_when_a_worker_needs_it(job, monkeypatch):
    """Both are killed at once, and the kernel tells of the worker's end first."""
    job, said = job
    server, worker = job.crew.server, job.crew.process
    ended = []

    def dead(within_s=0):
        ended.extend([True] * bool(within_s))
        return bool(ended)

    monkeypatch.setattr(server, "dead", dead)
    os.kill(server.pid, signal.SIGKILL)
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and job.crew.process is not worker)
    assert "another one goes on" in said[0]
    assert "a new one goes on" in said[1]
    before = job.total("tx", "packets")
    until(lambda: not job.wait(0.001) and job.total("tx", "packets") > before)


def test_one_that_has_not_answered_in_time_is_not_asked_again(job):
    """Its late answer would be taken for the next one: another process than the one we talk to."""
    job, said = job
    server = job.crew.server
    with silent(server), pytest.raises(NotSupported, match="timed out"):
        server.fork()
    until(lambda: not job.wait(0.001) and job.crew.server is not server)
    worker = job.crew.process.pid
    os.kill(worker, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and job.crew.process.pid != worker)
    assert "ended by SIGKILL" in said[-1]
    assert job.crew.restarts == 1


def test_one_that_hangs_is_replaced_when_a_worker_needs_it(job):
    job, said = job
    server, worker = job.crew.server, job.crew.process
    with silent(server):
        os.kill(worker.pid, signal.SIGKILL)
        until(lambda: not job.wait(0.001) and job.crew.process is not worker)
    assert "another one goes on" in said[0]
    assert "a new one goes on" in said[1]
    assert job.crew.restarts == 1


def test_one_that_is_stopped_goes_on_when_a_worker_needs_it(job):
    job, said = job
    server, worker = job.crew.server, job.crew.process
    os.kill(server.pid, signal.SIGSTOP)
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not job.wait(0.001) and job.crew.process is not worker)
    assert job.crew.server is server
    assert "a new one goes on" in said[0]


def test_one_that_ends_before_the_first_worker_process():
    ports = [make_port("null:"), make_port("null:")]
    with ForwardJob(ports, Limits(process=True, count=1000), Forwarding()) as job:
        os.kill(job.crew.server.pid, signal.SIGKILL)
        until(job.crew.server.dead)
        assert ran(job.run()).ended == "count"
