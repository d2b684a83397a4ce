# SPDX-License-Identifier: Apache-2.0
"""Orders reach the job that they are for, or nobody."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from tests.support.processes import NOBODY
from uspnet.errors import Refused
from uspnet.jobs import orders
from uspnet.telemetry import reaching
from uspnet.telemetry.reaching import address


def test_one_that_takes_the_name_of_a_job_is_not_obeyed():
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        subprocess.Popen(["sleep", "60"]) as process,
    ):
        listener.bind(address(process.pid))
        listener.listen()
        with pytest.raises(Refused, match="pretends to be job") as raised:
            orders.upgrade(process.pid, None)
        process.kill()
    assert f"process {os.getpid()} of user {os.geteuid()}" in raised.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be two users")
def test_one_that_had_the_number_of_a_job_before_is_not_obeyed(monkeypatch):
    """The kernel goes on telling the number of who began to listen, whose process has ended."""
    monkeypatch.setattr(reaching, "user_of", lambda _pid: NOBODY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address(os.getpid()))
        listener.listen()
        with pytest.raises(Refused, match="pretends to be job"):
            orders.upgrade(os.getpid(), None)
