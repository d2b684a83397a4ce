# SPDX-License-Identifier: Apache-2.0
"""The command line as its users meet it: a process, its output and its exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import Running
from tests.support.supervision import supervise  # noqa: F401 - a fixture
from tests.support.upgrading import command
from tests.support.waiting import scaled
from uspnet.transports.qemu.machine import binary

TIMEOUT_S = 120


@pytest.fixture
def uspnet(warm):
    """Runs one command to its end. `text`: what its stdin has."""

    def run(*arguments, text=None):
        return warm.run(arguments, text, scaled(TIMEOUT_S))

    return run


@pytest.fixture
def start():
    """Starts one command; what still runs at the end of the test is killed."""
    started = []

    def launch(*arguments, through='exec "$@"'):
        process = subprocess.Popen(
            ["sh", "-c", through, "sh", sys.executable, "-m", "uspnet", *arguments],
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


OLD = """#!/bin/sh
case "$*" in
*--version*) echo "QEMU emulator version 7.2.15"; exit ;;
*igb*) echo "qemu-system-x86_64: -device igb: 'igb' is not a valid device model name" >&2; exit 1 ;;
esac
exec {binary} "$@"
"""


@pytest.fixture
def old_qemu(tmp_path_factory, monkeypatch):
    """The installed QEMU behind a script that knows no igb, as QEMU 7.2 does not."""
    script = tmp_path_factory.mktemp("old") / "qemu"
    script.write_text(OLD.format(binary=binary()))
    script.chmod(0o755)
    monkeypatch.setenv("USPNET_QEMU", str(script))
    return script


@pytest.fixture
def started():
    """started(*words) is a job with --json; it is killed at the end of the test."""
    jobs = []

    def start(*words):
        jobs.append(Running(command(*words, "--json")))
        return jobs[-1]

    yield start
    for job in jobs:
        job.process.kill()
        job.process.communicate()


@pytest.fixture
def job(started):
    return started("fwd", "null:", "null:").wait()
