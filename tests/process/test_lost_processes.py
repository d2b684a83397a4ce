# SPDX-License-Identifier: Apache-2.0
"""Jobs whose processes are stopped, or killed by somebody, from the command line."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.support.identity import answer
from tests.support.processes import Running, alive, children_named
from tests.support.waiting import scaled, until
from uspnet.fastpath import lib
from uspnet.system import privileges

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
COMMAND = [sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--json"]


@pytest.fixture
def job_with():
    """job_with(*words) is a running job; it is killed at the end of the test."""
    started = []

    def start(*words):
        started.append(Running([*COMMAND, *words]))
        return started[-1].wait()

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()


@pytest.fixture
def job():
    """A job, its fork server and its worker process; none of them is there after the test."""
    running = Running(COMMAND).wait()
    pid = running.process.pid
    (server,), (worker,) = (children_named(pid, name) for name in ("uspnet-forks", "uspnet-worker"))
    yield running, server, worker
    running.process.kill()
    running.process.communicate()
    until(lambda: not alive(server) and not alive(worker))


@pytest.mark.parametrize("which", ["uspnet-forks", "uspnet-worker"])
def test_one_that_is_stopped_ends_with_a_killed_command(job, which):
    """As another user's, it is not killed by a command that has no privileges left."""
    running, server, worker = job
    os.kill({"uspnet-forks": server, "uspnet-worker": worker}[which], signal.SIGSTOP)
    running.process.kill()
    until(lambda: not alive(server) and not alive(worker))


def test_a_stopped_fork_server_ends_with_the_job(job):
    running, server, _ = job
    os.kill(server, signal.SIGSTOP)
    assert running.end()["ended"] == "signal"
    assert not alive(server)


def moves(running):
    before = running.count("tx_packets")
    until(lambda: running.count("tx_packets") > before)


def test_another_fork_server_is_started_and_used(job):
    running, server, worker = job
    os.kill(server, signal.SIGKILL)
    running.hears("the process that forks worker processes has ended; another one goes on")
    (other,) = children_named(running.process.pid, "uspnet-forks")
    assert other != server
    moves(running)
    os.kill(worker, signal.SIGKILL)
    running.hears("a new one goes on")
    moves(running)
    assert running.end()["restarts"] == 1
    assert not alive(other)


def test_both_processes_end_at_once(job):
    running, server, worker = job
    os.kill(server, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    running.hears("another one goes on")
    running.hears("a new one goes on")
    moves(running)
    assert running.end()["restarts"] == 1


def ends_without(running, why):
    """A job that gets no other fork server goes on until it needs one."""
    (server,), (worker,) = (
        children_named(running.process.pid, name) for name in ("uspnet-forks", "uspnet-worker")
    )
    os.kill(server, signal.SIGKILL)
    running.hears(f"no other one starts: {why}")
    moves(running)
    os.kill(worker, signal.SIGKILL)
    out, _ = running.process.communicate(timeout=scaled(60))
    said = answer(out)
    assert running.process.returncode == 1
    assert "SIGKILL" in said["message"]
    assert said["received"] == said["forwarded"] + said["dropped"]
    return said


def test_no_other_one_is_started_without_restarts(job_with):
    assert "--restart" in ends_without(job_with("--restart", "0"), "--restart allows 0")["hint"]


@pytest.mark.skipif(not privileges.nobody(), reason="needs root, who can become other users")
def test_a_required_sandbox_has_no_loops_of_the_commands_own_user(job_with):
    said = ends_without(job_with("--sandbox=require"), "it could not become user ")
    assert "the one that forks such processes has ended" in said["message"]
