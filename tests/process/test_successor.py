# SPDX-License-Identifier: Apache-2.0
"""Programs that say of themselves that they can take over, and can't."""

from __future__ import annotations

import json
import sys

import pytest

from tests.support.processes import descriptors
from tests.support.waiting import until
from uspnet import __version__
from uspnet.errors import Incompatible, NotSupported, UspnetError
from uspnet.fastpath import lib
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
from uspnet.process.layout import layout
from uspnet.process.protocol import PROTOCOL, functions
from uspnet.process.successor import Successor

pytestmark = [
    pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap"),
    pytest.mark.usefixtures("reachable"),
]
SAYS = """#!/bin/sh
for last; do number=$before; before=$last; done
exec {python} -I -c '
import array, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
fds = array.array("i", [0])
for text in open(sys.argv[2], "rb").read().split(b"\\n"):
    control.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    control.recv(1 << 17)
' "$number" {file}
"""


@pytest.fixture
def job():
    """A job with a process of its own, and a list of its notices."""
    ports = [make_port("null:"), make_port("null:")]
    with ForwardJob(ports, Limits(process=True), Forwarding()) as job:
        job.start()
        yield job


@pytest.fixture
def upgrade(job, tmp_path):
    """upgrade(text) is why a job can't be upgraded to a program that says this text."""

    def run(text):
        program, file = tmp_path / "program", tmp_path / "text"
        program.write_text(SAYS.format(python=sys.executable, file=file))
        program.chmod(0o755)
        file.write_text(text)
        request = job.crew.upgrades.ask([str(program)])
        until(lambda: not job.wait(0.001) and request.done.is_set())
        assert not request.result
        before = job.total("tx", "packets")
        until(lambda: job.total("tx", "packets") > before)
        return request.error

    return run


def greeting(**changed):
    said = {
        "protocol": PROTOCOL,
        "version": __version__,
        "layout": layout(),
        "files": [__file__],
        "functions": functions(),
    }
    return json.dumps({**said, **changed})


WRONG = [
    "{",
    "{}",
    '{"errno": "x"}',
    '{"errno": -1}',
    '{"errno": 1e99}',
    '{"missing": 7}',
    '{"a":' + "[" * 60_000,
    "x" * 100_000,
    greeting(protocol="1"),
    greeting(protocol=10**400),
    greeting(version=7),
    greeting(layout=None),
    greeting(files=[7]),
    greeting(files=["x"]),
    greeting(files=["/\0"]),
    greeting(functions={}),
    greeting(functions={"loop_forward": "x"}),
    greeting(functions={"loop_forward": 1 << 64}),
    greeting(functions={"loop_forward": -1}),
    greeting(functions={"loop_forward": []}),
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_greeting_is_refused(upgrade, text):
    fds = descriptors()
    error = upgrade(text)
    assert isinstance(error, UspnetError)
    assert error.hint
    assert descriptors() == fds


def test_one_that_makes_no_worker_process(upgrade):
    assert isinstance(upgrade(greeting()), NotSupported)


ANSWERS = [
    "{}",
    '{"pid": 1, "errno": 0}',
    '{"pid": "x"}',
    '{"errno": "x"}',
    '{"errno": -1}',
    "x",
    "{",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_one_that_names_no_process(upgrade, answer):
    fds = descriptors()
    assert isinstance(upgrade(f"{greeting()}\n{answer}"), NotSupported)
    assert descriptors() == fds


def test_one_that_lacks_the_loop(job, monkeypatch):
    check = Successor._check

    def check_and_lose(self, said):
        check(self, said)
        del self._functions["loop_forward"]

    monkeypatch.setattr(Successor, "_check", check_and_lose)
    request = job.crew.upgrades.ask(None)
    until(lambda: not job.wait(0.001) and request.done.is_set())
    assert isinstance(request.error, Incompatible)
    assert "loop_forward" in request.error.message
