# SPDX-License-Identifier: Apache-2.0
"""Ctrl-Z: the kernel stops the command's process, and uspnet its loops."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from scapy.utils import RawPcapNgReader

from tests.cli.test_signals import wait_for
from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.waiting import scaled, until
from uspnet.cli.suspending import _Suspension
from uspnet.fastpath import lib
from uspnet.telemetry import look

STOPPED_S = 0.5
in_process = pytest.mark.parametrize("more", [[], ["--in-process"]], ids=["process", "thread"])


@pytest.fixture
def suspended():
    """suspended(*words, before=…) is a job that was stopped, in a process group as a shell has it;
    `before` is a command that executes it.
    """
    started = []

    def start(*words, before=()):
        command = [*before, sys.executable, "-m", "uspnet", *words, "--json"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
        )
        started.append(process)
        wait_for(process)
        until(lambda: count(process))
        process.send_signal(signal.SIGTSTP)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def count(process):
    return sum(port.tx_packets for job in look(process.pid).jobs for port in job.ports)


def ends(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, err
    return answer(out)


@in_process
def test_packets_stop_and_go_on(suspended, more):
    began = time.monotonic()
    process = suspended("pktgen", "null:", "--rate", "1kpps", *more)
    for _ in range(2):
        until(lambda: state(process.pid) == "T")
        before = count(process)
        time.sleep(STOPPED_S)
        assert count(process) == before
        process.send_signal(signal.SIGCONT)
        until(lambda before=before: count(process) > before)
        process.send_signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == "T")
    process.send_signal(signal.SIGCONT)
    result = ends(process)
    assert result["restarts"] == 0
    took = time.monotonic() - began
    assert took >= result["elapsed_s"] + 2 * STOPPED_S


@in_process
def test_what_was_not_sent_does_not_come_at_once(suspended, more):
    process = suspended("pktgen", "null:", "--rate", "1kpps", "--duration", "60s", *more)
    until(lambda: state(process.pid) == "T")
    before = count(process)
    process.send_signal(signal.SIGCONT)
    until(lambda: count(process) > before + 10)
    time.sleep(STOPPED_S)
    assert ends(process)["sent"] < 30_000


@in_process
def test_a_file_goes_on_where_it_was(suspended, more, tmp_path):
    file = tmp_path / "x.pcapng"
    words = ["--rate", "5k", "--size", "1514", *more]
    process = suspended("pktgen", f"pcap:out={file}", *words)
    for packets in (1000, 2000, 3000):  # more than a chunk of the ring before the file
        until(lambda: state(process.pid) == "T")
        process.send_signal(signal.SIGCONT)
        until(lambda at=packets: count(process) > at)
        process.send_signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == "T")
    process.send_signal(signal.SIGCONT)
    result = ends(process)
    with RawPcapNgReader(str(file)) as reader:
        assert sum(1 for _ in reader) == result["sent"] == result["offered"]


@in_process
def test_a_duration_is_that_of_packets(suspended, more):
    process = suspended("pktgen", "null:", "--rate", "1kpps", "--duration", "2s", *more)
    until(lambda: state(process.pid) == "T")
    time.sleep(1)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, err
    result = answer(out)
    assert result["ended"] == "duration"
    assert result["offered"] == 2000


def test_two_at_once_and_a_signal_that_ends_it(suspended):
    process = suspended("fwd", "null:", "null:")
    process.send_signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == "T")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, err
    assert answer(out)["ended"] == "signal"


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
def test_a_worker_process_that_is_killed_meanwhile_is_replaced(suspended):
    process = suspended("fwd", "null:", "null:")
    until(lambda: state(process.pid) == "T")
    (worker,) = children_named(process.pid, "uspnet-worker")
    os.kill(worker, signal.SIGKILL)
    before = count(process)
    process.send_signal(signal.SIGCONT)
    until(lambda: count(process) > before)
    assert ends(process)["restarts"] == 1


def test_where_it_is_ignored_nothing_stops(suspended):
    ignore = ["sh", "-c", "trap '' TSTP; exec \"$@\"", "sh"]
    process = suspended("fwd", "null:", "null:", before=ignore)
    before = count(process)
    until(lambda: count(process) > before)
    assert state(process.pid) != "T"
    ends(process)


def test_a_job_that_waits_for_its_peer(start):
    place = f"@uspnet-suspended-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "uspnet", "pktgen", f"memif:{place},role=server", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    try:
        assert "waiting" in next(line for line in process.stderr if "waiting" in line)
        process.send_signal(signal.SIGTSTP)
        until(lambda: state(process.pid) == "T")
        process.send_signal(signal.SIGCONT)
        client = start("capture", f"memif:{place}", "--count", "1", "--json")
        _, err = client.communicate(timeout=scaled(60))
        assert client.returncode == 0, err
        ends(process)
    finally:
        process.kill()
        process.communicate()


def test_one_that_comes_while_loops_pause_is_the_same_stop(monkeypatch):
    stops = []

    @contextlib.contextmanager
    def paused():
        suspension.ask(signal.SIGTSTP)
        yield

    worker = SimpleNamespace(running=lambda: True)
    job = SimpleNamespace(
        workers=[worker], paused=paused, on_tick=lambda: None, pass_over=lambda _seconds: None,
        service=SimpleNamespace(wake=lambda: None),
    )  # fmt: skip
    suspension = _Suspension(job, SimpleNamespace(screen=None))
    monkeypatch.setattr(signal, "raise_signal", stops.append)
    suspension.ask(signal.SIGTSTP)
    for _ in range(3):
        suspension.tick()
    assert stops == [signal.SIGTSTP]
    assert not suspension.asked
