# SPDX-License-Identifier: Apache-2.0
"""sd_notify: the test is the service manager."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.support.waiting import scaled, until
from uspnet.cli import again, run
from uspnet.cli.run import report
from uspnet.errors import DeviceFault
from uspnet.system.kept import State
from uspnet.system.notify import Notifier

COMMAND = [sys.executable, "-m", "uspnet"]
RUN = ["pktgen", "null:", "--rate", "1000", "--poll", "sleep"]


class Manager:
    """A service manager's socket, and what came there."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)
        self.lines = []
        self.variables = {"NOTIFY_SOCKET": address}

    def take(self):
        while True:
            try:
                self.lines += self.socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return self.lines

    def got(self, text):
        return text in self.take()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = str(tmp_path / "notify")
    made = Manager(f"@uspnet-test-{os.getpid()}" if request.param == "abstract" else address)
    yield made
    made.socket.close()


def test_messages_are_those_of_sd_notify(manager):
    notifier = Notifier(manager.variables)
    notifier.ready()
    notifier.ready()
    notifier.status("two jobs")
    notifier.status("two jobs")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    notifier.stopping()
    notifier.close()
    first, status, reloading, usec, *rest = manager.take()
    assert (first, status, reloading) == ("READY=1", "STATUS=two jobs", "RELOADING=1")
    assert rest == ["READY=1", "STOPPING=1"]
    name, _, value = usec.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_variables_are_not_inherited(manager):
    variables = {**manager.variables, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier(variables).close()
    assert variables == {"HOME": "/"}


@pytest.mark.parametrize(
    ("variables", "period"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_if_it_is_ours(manager, variables, period):
    notifier = Notifier({**manager.variables, **variables})
    assert notifier.period == period
    notifier.alive()
    notifier.alive()  # too early
    assert manager.take() == ["WATCHDOG=1"] * bool(period)
    notifier.close()


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/none/socket", "/"])
def test_without_a_service_manager_nothing_happens(address):
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2"})
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    assert (notifier.period is None) == (not address.startswith("/"))
    notifier.close()


def test_a_service_manager_that_starts_anew_is_found(tmp_path):
    first = Manager(str(tmp_path / "notify"))
    notifier = Notifier(first.variables)
    first.socket.close()
    notifier.status("nobody listens")
    os.unlink(tmp_path / "notify")
    second = Manager(str(tmp_path / "notify"))
    notifier.ready()
    assert second.take() == ["READY=1"]
    notifier.close()
    second.socket.close()


def test_one_that_does_not_read_is_left_alone(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    notifier = Notifier(manager.variables)
    notifier._socket.setblocking(False)
    until(lambda: not notifier.status(f"{time.monotonic_ns()}") and full(manager, notifier))
    notifier.status("this one is lost")
    assert "STATUS=this one is lost" not in manager.take()
    notifier.ready()
    assert manager.take()[-1] == "READY=1"
    notifier.close()
    manager.socket.close()


def full(manager, notifier):
    """Would the next message have to wait?"""
    return not select.select([], [notifier._socket], [], 0)[1]


def start(manager, *words):
    variables = {**os.environ, **manager.variables, "WATCHDOG_USEC": "200000"}
    return subprocess.Popen(
        [*COMMAND, *words], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_command_is_a_service(manager):
    process = start(manager, *RUN)
    try:
        until(lambda: manager.take().count("WATCHDOG=1") >= 3)
        assert manager.lines[0] == "READY=1"
        assert "STOPPING=1" not in manager.lines
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=scaled(60))
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert out.startswith("sent ")
    assert [line for line in manager.take() if line != "WATCHDOG=1"] == ["READY=1", "STOPPING=1"]


def test_one_that_no_other_version_can_go_on_with_stays_a_service(manager, monkeypatch):
    watched = {**manager.variables, "WATCHDOG_USEC": "3000000"}
    for name, value in watched.items():
        monkeypatch.setenv(name, value)

    def ends(*given):
        assert not watched.keys() & os.environ.keys()
        given[-1].ready()
        return State(), ["none"]

    monkeypatch.setattr(run, "_run", ends)
    monkeypatch.setattr(again, "leave", lambda *_: DeviceFault("none can't be executed"))
    for _ in range(2):  # the same command runs again
        run.run(None, None)
    assert manager.take() == ["READY=1"] * 2
    assert watched.items() <= os.environ.items()


def test_one_that_waits_for_its_peer_is_alive_and_not_ready(manager):
    process = start(manager, "pktgen", f"memif:@uspnet-nobody-{os.getpid()},role=server")
    try:
        until(lambda: manager.take().count("WATCHDOG=1") >= 3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=scaled(60))
    finally:
        process.kill()
    told = [line for line in manager.take() if line != "WATCHDOG=1"]
    assert (process.returncode, told) == (0, ["STOPPING=1"])


def test_a_short_command_was_ready(manager):
    process = start(manager, "pktgen", "null:", "--count", "8")
    process.communicate(timeout=scaled(60))
    told = [line for line in manager.take() if line != "WATCHDOG=1"]
    assert (process.returncode, told) == (0, ["READY=1", "STOPPING=1"])


def test_a_command_that_fails_was_never_ready(manager):
    process = start(manager, "fwd", "null:", "packet:none0")
    process.communicate(timeout=scaled(60))
    assert (process.returncode, manager.take()) == (1, [])


def test_one_that_lingers_is_alive(manager):
    process = start(manager, "pktgen", "null:", "--count", "8", "--linger", "100s")
    try:
        until(lambda: manager.take().count("WATCHDOG=1") >= 4)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=scaled(60))
    finally:
        process.kill()
    assert process.returncode == 0


def test_a_command_whose_loops_are_stopped_is_not_alive(manager, monkeypatch):
    stuck = []
    monkeypatch.setattr("uspnet.cli.run.is_stuck", lambda pid: pid == os.getpid() and stuck)
    notifier = Notifier({**manager.variables, "WATCHDOG_USEC": "2"})
    ticks, trial = [], []
    upgrades = SimpleNamespace(on_trial=lambda: bool(trial))
    job = SimpleNamespace(on_tick=lambda: ticks.append(1), crew=SimpleNamespace(upgrades=upgrades))
    report(job, notifier)
    job.on_tick()
    assert manager.take() == ["READY=1", "WATCHDOG=1"]
    stuck.append(True)
    job.on_tick()
    assert manager.take() == ["READY=1", "WATCHDOG=1"]
    trial.append(True)  # of other loops: those that are stopped are not needed
    job.on_tick()
    assert manager.take() == ["READY=1", *["WATCHDOG=1"] * 2]
    stuck.clear()
    trial.clear()
    job.on_tick()
    assert manager.take() == ["READY=1", *["WATCHDOG=1"] * 3]
    assert len(ticks) == 4
    notifier.close()


def test_a_stopped_command_is_not_alive(manager):
    process = start(manager, *RUN)
    try:
        until(lambda: manager.got("WATCHDOG=1"))
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        manager.take()
        before = len(manager.lines)
        time.sleep(0.5)
        assert len(manager.take()) == before
    finally:
        process.kill()
        process.communicate()
