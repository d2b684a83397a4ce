# SPDX-License-Identifier: Apache-2.0
"""What processes under Landlock can't reach, without a filter of system calls."""

from __future__ import annotations

import errno
import json
import os
import socket

import pytest

from tests.support.sealed import in_child
from uspnet.fastpath import lib
from uspnet.jobs.doctor_sandbox import NETWORK_ABI, SCOPE_ABI
from uspnet.sandbox.available import available

ABI = available().landlock or 0
pytestmark = pytest.mark.skipif(not ABI, reason="needs Landlock")


@pytest.fixture
def attempted():
    """attempted(run): what `run` returned, or the error that it raised, under Landlock."""
    read, write = os.pipe()

    def attempt(run):
        def told():
            abi = lib.sandbox_landlock()
            try:
                said = run()
            except OSError as error:
                said = errno.errorcode[error.errno]
            os.write(write, json.dumps([abi, said]).encode())

        assert in_child(told) == 0
        abi, said = json.loads(os.read(read, 4096))
        assert abi == ABI
        return said

    yield attempt
    for fd in (read, write):
        os.close(fd)


@pytest.mark.parametrize(
    "run",
    [
        lambda: open("/etc/passwd").read(),  # noqa: SIM115
        lambda: os.listdir("/"),
        lambda: os.mkdir("/tmp/uspnet-landlock"),
        lambda: os.unlink("/etc/passwd"),
        lambda: os.open("/proc/self/mem", os.O_RDWR),
        lambda: os.execv("/bin/true", ["true"]),
    ],
    ids=["read", "list", "make", "remove", "own memory", "execute"],
)
def test_no_file_is_reached_by_its_path(attempted, run):
    assert attempted(run) == "EACCES"


def test_what_is_open_stays_open(attempted, tmp_path):
    (tmp_path / "x").write_text("kept")
    with open(tmp_path / "x") as file:
        assert attempted(file.read) == "kept"


@pytest.mark.skipif(ABI < NETWORK_ABI, reason="needs Landlock ABI 4: TCP")
def test_no_tcp(attempted):
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = server.getsockname()
        assert attempted(lambda: socket.socket().connect(at)) == "EACCES"
        assert attempted(lambda: socket.socket().bind(("127.0.0.1", 0))) == "EACCES"


@pytest.mark.skipif(ABI < SCOPE_ABI, reason="needs Landlock ABI 6: signals and abstract sockets")
def test_no_process_outside_is_reached(attempted):
    parent = os.getpid()
    assert attempted(lambda: os.kill(parent, 0)) == "EPERM"
    assert attempted(lambda: os.kill(os.getpid(), 0)) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(b"\0uspnet-landlock-%d" % parent)
        server.listen()
        at = server.getsockname()
        assert attempted(lambda: socket.socket(socket.AF_UNIX).connect(at)) == "EPERM"
