# SPDX-License-Identifier: Apache-2.0
"""Jobs whose loops run in a process of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.support.identity import ran
from tests.support.processes import Running, alive, children_of
from tests.support.waiting import until
from uspnet.errors import DeviceFault, NotSupported
from uspnet.fastpath import lib
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
from uspnet.system import children

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")


def forward(*ports, **limits):
    made = [make_port(port) for port in ports or ("null:", "null:")]
    return ForwardJob(made, Limits(process=True, **limits), Forwarding())


def descriptors(pid):
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}


def test_a_job_counts_and_ends_as_it_does_with_threads():
    with forward(count=10_000) as job:
        result = ran(job.run())
    assert (result.received, result.forwarded, result.ended) == (10_000, 10_000, "count")


def test_its_threads_are_the_workers_and_one_that_obeys():
    with forward(duration=30) as job:
        job.start()
        assert job.crew.process.pid != os.getpid()
        threads = len(os.listdir(f"/proc/{job.crew.process.pid}/task"))
        assert threads == len(job.workers) + 1
        job.stop()
        assert job.wait()


def test_it_has_no_descriptor_but_those_of_its_rings():
    with forward(duration=30) as job:
        job.start()
        held = descriptors(job.crew.process.pid)
        wanted = {0, 1, 2} | {worker.bell.fd for worker in job.workers}
        assert wanted < held
        assert len(held - wanted) == 1, "the control socket"
        job.stop()
        job.wait()


def test_nothing_is_left_when_the_job_is_closed():
    before = set(children_of(os.getpid()))
    fds = descriptors(os.getpid())
    with forward() as job:
        job.start()
        assert len(set(children_of(os.getpid())) - before) == 2, "fork server and worker"
        job.stop()
        assert job.wait()
        assert len(set(children_of(os.getpid())) - before) == 1, "its loops have ended"
    assert set(children_of(os.getpid())) == before
    job = None
    assert descriptors(os.getpid()) <= fds


def test_a_job_that_never_starts_leaves_nothing():
    before = set(children_of(os.getpid()))
    with forward():
        pass
    assert set(children_of(os.getpid())) == before


def test_stop_ends_it_while_it_sleeps():
    with forward(f"memif:@uspnet-test-{os.getpid()},role=server", "null:") as job:
        job.stop()
        assert job.start() is None
        assert job.wait()


def test_a_fork_server_that_does_not_start_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(children, "python", lambda *_, **__: [sys.executable, "-I", "-c", "pass"])
    with pytest.raises(NotSupported, match="can't get a process") as raised, forward() as job:
        job.start()
    assert "--in-process" in raised.value.hint


SLEEPER = """
import sys
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
ports = [make_port("null:"), make_port("null:")]
with ForwardJob(ports, Limits(process=True), Forwarding()) as job:
    job.start()
    print(job.crew.process.pid, flush=True)
    job.wait()
"""


def test_a_killed_command_leaves_no_worker():
    command = [sys.executable, "-c", SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        worker = int(process.stdout.readline())
        both = [*children_of(process.pid)]
        assert worker in both
        assert len(both) == 2
        process.send_signal(signal.SIGKILL)
    until(lambda: not any(map(alive, both)), why=lambda: f"alive: {both}")


def with_descriptors(most):
    command = [sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--count", "1"]
    return ["prlimit", f"--nofile={most}", *command]


def limited(most):
    """A short job, with so many descriptors."""
    command = with_descriptors(most)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_any_limit_of_descriptors_that_is_enough_here_is_enough_there():
    """The worker process's own descriptor takes no number that one of the job's has."""
    codes = []
    for most in range(11, 19):
        done = limited(most)
        while "Too many references" in done.stderr:  # on their way, of tests beside this one
            done = limited(most)
        codes.append(done.returncode)
        assert done.returncode == 0 or "ulimit -n" in done.stderr
    assert codes == sorted(codes, reverse=True)
    assert codes[-1] == 0


def test_descriptors_on_their_way_to_others_are_waited_for():
    """The kernel counts those of all processes of a user; who gives its privileges up is bound."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, open(os.devnull) as file:
        for _ in range(80):
            socket.send_fds(ours, [b"."], [file.fileno()])
        held = limited(64)
        assert (held.returncode, "ulimit -n" in held.stderr) == (1, True), held.stderr
        with subprocess.Popen(with_descriptors(64), stdout=subprocess.PIPE) as late:
            time.sleep(0.5)
            theirs.close()
            late.communicate()
    assert late.returncode == 0


def test_a_worker_process_that_is_killed_is_named():
    with forward(duration=30, restart=0) as job:
        job.start()
        os.kill(job.crew.process.pid, signal.SIGKILL)
        with pytest.raises(DeviceFault, match="SIGKILL"):
            job.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be another user than the worker")
def test_a_killed_command_leaves_no_worker_that_was_stopped():
    command = [sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--json"]
    running = Running(command).wait()
    both = children_of(running.process.pid)
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    running.process.kill()
    running.process.communicate()
    try:
        until(lambda: not any(map(alive, both)), why=lambda: f"alive: {both}")
    finally:
        for pid in filter(alive, both):
            os.kill(pid, signal.SIGKILL)
