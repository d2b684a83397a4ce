# SPDX-License-Identifier: Apache-2.0
"""The command line as its users meet it: a process, its output and its exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

TIMEOUT_S = 60


@pytest.fixture
def uspnet():
    """Runs one command to its end."""

    def run(*arguments):
        command = [sys.executable, "-m", "uspnet", *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.fixture
def start():
    """Starts one command; what still runs at the end of the test is killed."""
    started = []

    def launch(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "uspnet", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.communicate()
