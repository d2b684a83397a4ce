# SPDX-License-Identifier: Apache-2.0
"""A filter's machine code in the worker process: there before the sandbox closes, and never
writable; also in the process that replaces one, and in that of another version.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.process.test_upgrade import running, short  # noqa: F401 - a fixture
from tests.support.identity import ran
from tests.support.waiting import until
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.machine_code import MachineCode
from uspnet.packets.filter import compile_filter
from uspnet.ports.registry import make_port

pytestmark = [
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="machine code is for x86-64"),
    pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap"),
]


def capture(text="len = 60 and ether[0] = 0", **limits):
    limits = {"duration": 600, "process": True, "restart": 3, "sandbox": "auto", **limits}
    return CaptureJob(make_port("null:"), Limits(**limits), None, compile_filter(text))


def access(process):
    """How each mapping of the process's own memory files may be accessed."""
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    found = [line.split()[1] for line in lines if "/memfd:uspnet-filter" in line]
    both = [line for line in lines if {"w", "x"} <= set(line.split()[1])]
    assert not both, "writable and executable"
    return found


def filters(job):
    """Wait until packets are filtered by the process that has the turn now."""
    loop = job.workers[0].loop
    loop.only.way = lib.FILTER_NOT_RUN
    before = job.total("rx", "packets")
    until(lambda: job.total("rx", "packets") > before and loop.only.way)
    return job.result().filter_code


def test_each_worker_process_has_the_code_and_runs_it(short):  # noqa: F811
    with running(capture()) as job:
        until(lambda: job.workers and job.workers[0].c.rounds)
        assert filters(job) == "x86-64"
        first = job.crew.process
        assert access(first) == ["r-xs"]
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: job.crew.restarts == 1 and job.crew.process.pid != first.pid)
        assert (filters(job), access(job.crew.process)) == ("x86-64", ["r-xs"])
        assert job.upgrade().kind == "warm"
        assert (filters(job), access(job.crew.process)) == ("x86-64", ["r-xs"])
    assert ran(job.result()).filtered == 0


def test_a_job_in_this_process_runs_the_code_too():
    with capture("udp port 9", process=False, duration=None, count=None) as job:
        job.start()
        until(lambda: job.result().filtered > 0)
        assert job.result().filter_code == "x86-64"
        job.stop()
        job.wait()
    assert ran(job.result()).filter_code == "x86-64"


def test_a_process_that_may_not_execute_it_interprets(monkeypatch):
    """The command's process could map it; the worker process finds that it can't."""
    made = MachineCode._begin

    def begin(self, *arguments):
        made(self, *arguments)
        self.flags = lib.MEMORY_READ_ONLY  # as the worker process will map it

    monkeypatch.setattr(MachineCode, "_begin", begin)
    with capture(count=100_000) as job:
        job.start()
        job.wait()
        result = ran(job.result())
    assert (result.filter_code, result.filtered) == ("interpreter", 0)
