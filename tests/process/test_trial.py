# SPDX-License-Identifier: Apache-2.0
"""Programs that are asked whether they can go on with a command line, and are no uspnet."""

from __future__ import annotations

import os

import pytest

from tests.support.processes import session
from tests.support.waiting import until
from uspnet.errors import DeviceTimeout, NotSupported
from uspnet.process import trial
from uspnet.process.trial import Trial

WORDS = ["fwd", "null:", "null:"]


@pytest.fixture
def program(tmp_path):
    """program(text) is a program with this text."""

    def make(text):
        path = tmp_path / "program"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return make


def test_one_that_has_ended_before_it_is_asked(monkeypatch):
    launch = trial.launch

    def launch_and_wait(*words, **how):
        process = launch(*words, **how)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return process

    monkeypatch.setattr(trial, "launch", launch_and_wait)
    tried = Trial(["/bin/cat"], WORDS)
    until(tried.ready)
    with pytest.raises(NotSupported, match="is not Python"):
        tried.result()


ANSWERS = {"empty": "", "text": "no JSON", "torn": "{", "deep": '{"a":' + "[" * 100_000}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_one_that_says_something_else(program, answer):
    code = (
        "import os, sys\nfd = int(sys.argv[-1])\nos.read(fd, 1 << 17)\n"
        f"os.write(fd, {answer.encode()!r})\n"
    )
    python = program(f"#!/bin/sh\nexec python3 - \"$@\" <<'END'\n{code}END\n")
    tried = Trial([python], WORDS)
    until(tried.ready)
    with pytest.raises(NotSupported, match="is not Python"):
        tried.result()


def test_one_that_hangs(program, monkeypatch):
    monkeypatch.setattr(trial, "ANSWER_S", 0.2)
    tried = Trial([program("#!/bin/sh\nsleep 1000 &\nsleep 1000\n")], WORDS)
    until(lambda: tried.ready() or tried._process)
    leader = tried._process.pid
    until(lambda: len(session(leader)) == 3)
    until(tried.ready)
    with pytest.raises(DeviceTimeout, match="has said nothing"):
        tried.result()
    until(lambda: not session(leader))


def test_what_the_kernel_can_not_execute(program):
    tried = Trial([program("print()\n")], WORDS)
    with pytest.raises(NotSupported, match="Exec format error"):
        until(tried.ready)
