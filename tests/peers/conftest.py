# SPDX-License-Identifier: Apache-2.0
"""What the tests with peers share: uspnet as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.waiting import scaled

ROOT = Path(__file__).resolve().parents[2]


class Uspnet:
    """One uspnet process."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uspnet", *map(str, args), "--json", "--quiet"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def result(self, timeout=60):
        """Waits for its end: the object that it prints, with its exit code as `exit`."""
        out, err = self.process.communicate(timeout=scaled(timeout))
        assert "Traceback" not in err, err
        assert out, err
        return {**answer(out), "exit": self.process.returncode}

    def interrupt(self, number=signal.SIGINT):
        """Ends it with a signal; as `result`."""
        self.process.send_signal(number)
        return self.result()

    def counter(self, name):
        """One counter now, over all ports."""
        from uspnet.telemetry import look

        return sum(getattr(row, name) or 0 for job in look(self.pid).jobs for row in job.ports)

    def fds(self):
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self):
        """Its memory in KiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return sum(int(x.split()[1]) for x in lines if x.startswith(("RssAnon", "RssShmem")))


@pytest.fixture
def uspnet():
    """Starts uspnet processes; those that still run at the end are killed."""
    started = []

    def start(*args):
        started.append(Uspnet(*args))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
