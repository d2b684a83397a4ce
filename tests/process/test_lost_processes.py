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

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
COMMAND = [sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--json"]


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


def test_a_job_goes_on_without_its_fork_server_until_it_is_needed(job):
    running, server, worker = job
    os.kill(server, signal.SIGKILL)
    before = running.count("rx_packets")
    until(lambda: running.count("rx_packets") > before)
    os.kill(worker, signal.SIGKILL)
    out, _ = running.process.communicate(timeout=scaled(60))
    said = answer(out)
    assert running.process.returncode == 1
    assert "the one that forks such processes has ended" in said["message"]
    assert "SIGKILL" in said["message"]
    assert said["hint"].endswith("--in-process")
    assert said["received"] == said["forwarded"] + said["dropped"]
