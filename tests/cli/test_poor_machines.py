# SPDX-License-Identifier: Apache-2.0
"""Machines that lack what every program has."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.identity import answer
from tests.support.waiting import scaled


@pytest.mark.parametrize("kib", [30_000, 40_000, 60_000, 100_000, 150_000, 250_000])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_limit_of_memory_is_named(kib, more):
    """Python itself needs 25 MB, a job more: each as the machine has it."""
    words = [sys.executable, "-m", "uspnet", "capture", "null:", "--count", "1", *more]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -v {kib}; exec "$@"', "sh", *words],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    if "<built-in function exec> returned NULL" in done.stderr:
        return  # Python, before our code has begun, or when even the error found no memory
    assert "Traceback" not in done.stderr
    if done.returncode == -signal.SIGABRT and "memory allocation of" in done.stderr:
        return  # a library in Rust ends the process itself, and says why
    assert done.returncode in {0, 1}
    if done.returncode and more:
        assert answer(done.stdout)["hint"]
    elif done.returncode:
        assert "\n  hint: " in done.stderr


def test_a_machine_without_proc_is_told():
    lone = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*lone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root: for a namespace without /proc")
    for words in (["pktgen", "null:", "--count", "1"], ["stats", "--once"], ["devices"]):
        done = subprocess.run(
            [*lone, sys.executable, "-m", "uspnet", *words],
            capture_output=True, check=False, text=True, timeout=scaled(60),
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == (
            "uspnet: /proc is not mounted\n  hint: run as root: mount -t proc proc /proc\n"
        )


NO_THREADS = """
import sys, threading
import uspnet.__main__ as program
def start(_thread): raise RuntimeError("can't start new thread")
threading.Thread.start = start
sys.argv = ["uspnet", "capture", "null:", "--count", "1"]
program.main()
"""


def test_that_no_thread_can_be_started_is_named():
    command = [sys.executable, "-c", NO_THREADS]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "can't start new thread" in done.stderr
    assert "Traceback" not in done.stderr
