# SPDX-License-Identifier: Apache-2.0
"""`uspnet upgrade`: jobs that others have started, and whatever else may have a process id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.processes import NOBODY, Running, as_nobody, children_named, children_of
from tests.support.tiers import by_tier
from tests.support.upgrading import command, open_to_all
from tests.support.waiting import scaled, until
from uspnet import __version__
from uspnet.fastpath import lib
from uspnet.jobs import orders
from uspnet.jobs.control import REQUEST_BYTES, address
from uspnet.process.interpreter import interpreter
from uspnet.system import privileges

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
TIMES = by_tier(3, 5, 50)


def upgrade(*words):
    """Run the command. Return exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "uspnet", "upgrade", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=scaled(90),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def ask(pid, data):
    """What a job answers to one message, as text; "" when it hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(scaled(20))
        connection.connect(address(pid))
        connection.send(data)
        return connection.recv(1 << 16).decode()


@pytest.mark.full
def test_a_job_goes_on_with_its_own_installation_and_others(job, newer):
    code, out, err = upgrade(job.process.pid)
    assert (code, err) == (0, "")
    assert f"job {job.process.pid}: uspnet {__version__} → {__version__}, warm, gap " in out
    for path in (newer.place, newer.python, newer.script(), os.path.relpath(newer.place)):
        code, out, err = upgrade(job.process.pid, "--with", path, "--json")
        assert code == 0, err
        done = answer(out)
        assert done["after"] == f"9.{__version__}"
        assert done["dropped"] == 0
        before = job.count("tx_packets")
        until(lambda before=before: job.count("tx_packets") > before)
    assert len(children_of(job.process.pid)) == 2
    result = job.end()
    assert result["upgrades"] == 5
    assert result["received"] == result["forwarded"]


LOSSLESS = ("lost", "duplicated", "reordered", "dropped")


def upgraded(job, enter=()):
    """Upgrade a job that measures what comes back; return its result."""
    until(lambda: job.count("rx_packets"))
    for _ in range(TIMES):
        words = [*enter, sys.executable, "-m", "uspnet", "upgrade", str(job.process.pid), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout
        gap = answer(done.stdout)
        assert gap["gap_us"] > 0
        assert gap["began"] < time.time()
        before = job.count("rx_packets")
        until(lambda before=before: job.count("rx_packets") > before)
    result = job.end()
    assert result["upgrades"] == TIMES
    return result


def test_no_frame_between_kernel_interfaces_is_lost(namespace):
    namespace.veth("a", "b")
    words = ["pktgen", "packet:a", "--rx-port", "packet:b", "--rate", "2kpps", "--json"]
    namespace.started.append(job := Running(namespace.command(*command(*words))))
    result = upgraded(job.wait(), namespace.command())
    assert [result[name] for name in LOSSLESS] == [0] * len(LOSSLESS)


@pytest.mark.full
def test_no_frame_of_an_emulated_nic_is_lost(started, qemu):
    nic = "qemu:e1000e,loop=on"
    result = upgraded(started("pktgen", nic, "--rx-port", nic, "--rate", "2kpps").wait())
    assert [result[name] for name in LOSSLESS] == [0] * len(LOSSLESS)


@pytest.mark.full
def test_wrong_paths(job, without, tmp_path):
    script = tmp_path / "open"
    script.write_text("#!/usr/bin/env python3\n")
    script.chmod(0o755)
    gone = tmp_path / "gone"
    gone.write_text("#!/nowhere/python\n")
    gone.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_text("print()\n")
    os.mkfifo(tmp_path / "fifo")
    said = {
        tmp_path / "missing": "does not exist",
        tmp_path: "without bin/python",
        plain: "is no program",
        tmp_path / "fifo": "is no program",
        "/dev/null": "is no program",
        script: "leaves its interpreter open",
        gone: "which does not exist",
        shutil.which("true"): "is not Python",
        without.place: "has no uspnet",
        "\x1b[2J": "\\x1b[2J does not exist",
    }
    for path, text in said.items():
        code, out, err = upgrade(job.process.pid, "--with", path)
        assert (code, out) == (1, ""), path
        assert text in err, path
        assert "hint: " in err, path
    assert len(children_of(job.process.pid)) == 2
    assert job.end()["upgrades"] == 0


@pytest.mark.full
def test_another_users_installation_is_refused(job, newer, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: files of another user")
    theirs = tmp_path / "theirs"
    (theirs / "bin").mkdir(parents=True)
    (theirs / "bin/python").symlink_to(newer.python)
    os.chown(theirs, NOBODY, NOBODY)
    code, _, err = upgrade(job.process.pid, "--with", theirs)
    assert code == 3
    assert "would run in a job of root" in err
    assert str(theirs) in err


@pytest.fixture
def of_another_user():
    """A job whose loops run as a user whom no account has."""
    if not privileges.nobody():
        pytest.skip("needs root, who can become other users")
    running = Running([sys.executable, "-m", "uspnet", "fwd", "null:", "null:", "--json"])
    yield running.wait()
    running.process.kill()
    running.process.communicate()


def test_an_installation_that_the_loops_user_can_not_read(of_another_user, newer):
    code, out, err = upgrade(of_another_user.process.pid, "--with", newer.place)
    assert code == 0, err
    assert "their sandbox lacks: a user of its own" in out
    result = of_another_user.end()
    assert result["upgrades"] == 1
    assert result["sandbox"]["user"] is None
    assert result["sandbox"]["capabilities"] == 0


@pytest.mark.full
def test_it_does_not_run_as_root_what_others_could_change(of_another_user, newer):
    (newer.site / "x.py").touch()
    os.chown(newer.site / "x.py", NOBODY, NOBODY)
    code, _, err = upgrade(of_another_user.process.pid, "--with", newer.place)
    (newer.site / "x.py").unlink()
    assert code == 3
    assert "x.py is another user's" in err
    assert of_another_user.end()["upgrades"] == 0


def test_loops_of_another_user_are_replaced(of_another_user):
    code, _, err = upgrade(of_another_user.process.pid)
    assert code == 0, err
    result = of_another_user.end()
    assert result["upgrades"] == 1
    assert (result["sandbox"]["user"] is not None) == open_to_all()


def test_processes_that_are_no_job(uspnet):
    with subprocess.Popen(["sleep", "60"]) as process:
        code, _, err = upgrade(process.pid)
        process.kill()
    assert code == 1
    assert "is no job" in err
    code, _, err = upgrade(process.pid)
    assert code == 1
    assert f"there is no process {process.pid}" in err
    assert upgrade("word")[0] == upgrade()[0] == upgrade(1, "--with", "")[0] == 2
    assert answer(uspnet("upgrade", str(process.pid), "--json").stdout)["error"] == "NoDevice"


def test_a_job_that_has_just_ended(job):
    job.end()
    code, _, err = upgrade(job.process.pid)
    assert code == 1
    assert "there is no process" in err


def test_a_job_in_one_process_is_refused(started):
    job = started("fwd", "null:", "null:", "--in-process").wait()
    code, _, err = upgrade(job.process.pid)
    assert code == 1
    assert "without --in-process" in err
    job.end()


def test_who_may_not_give_orders(job):
    if os.geteuid() != 0:
        pytest.skip("needs root: to be other users")
    request = json.dumps({"do": "upgrade", "with": None}).encode()
    said = as_nobody(lambda: ask(job.process.pid, request))
    assert said in {"", "ConnectionResetError", "BrokenPipeError"}
    assert as_nobody(lambda: orders.upgrade(job.process.pid, None)) == "NotPermitted"
    assert '"kind": "warm"' in ask(job.process.pid, request)


def test_a_name_that_is_taken_is_told(started, monkeypatch):
    """The process id is known before uspnet runs: the shell's own."""
    script = 'read -r _; exec "$@" 3>&-'
    words = ["sh", "-c", script, "sh", *command("fwd", "null:", "null:", "--duration", "1s")]
    with (
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
    ):
        listener.bind(address(process.pid))
        _, err = process.communicate("\n")
    assert process.returncode == 0
    assert f"can't be upgraded: socket @uspnet-{process.pid}: " in err


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"[]",
        b'{"do": "exit"}',
        b'{"do": "upgrade"}',
        b'{"do": "upgrade", "with": null, "kind": "hot"}',
        b'{"do": "upgrade", "with": 1, "kind": "cold"}',
        b'{"do": "upgrade", "with": "bin/python"}',
        b'{"do": "upgrade", "with": "/\\u0000"}',
        b'{"do": "upgrade", "with": "/\\ud800"}',
        b"[" * 10_000,
        b'{"do": "upgrade", "with": "/' + b"x" * REQUEST_BYTES + b'"}',
    ],
)
@pytest.mark.full
def test_requests_that_are_none(job, data):
    assert '"error": "Usage"' in ask(job.process.pid, data)


@pytest.mark.full
def test_who_says_nothing_keeps_nobody_waiting(job):
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(7)]
    try:
        for connection in silent:
            connection.connect(address(job.process.pid))
        code, _, err = upgrade(job.process.pid)
        assert code == 0, err
        for connection in silent:
            connection.settimeout(scaled(20))
            assert connection.recv(1) == b"", "dismissed after a time"
    finally:
        for connection in silent:
            connection.close()
    assert job.end()["upgrades"] == 1


def test_a_job_of_another_network_namespace(namespace, monkeypatch):
    inside = namespace.start("fwd", "null:", "null:")
    (pid,) = {inside.process.pid}
    code, _, err = upgrade(pid)
    assert code == 1
    assert f"nsenter -t {pid} -n uspnet upgrade {pid}" in err


def test_interpreters_of_scripts(tmp_path):
    script = tmp_path / "uspnet"
    for text in (
        f"#!{sys.executable}\n",
        f"#! {sys.executable} -I\n",
        f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n",
        f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\n",
    ):
        script.write_text(text)
        script.chmod(0o755)
        assert interpreter(str(script)) == sys.executable


def test_new_loops_have_no_descriptor_of_the_old_ones(job):
    def held():
        (worker,) = children_named(job.process.pid, "worker")
        return {os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir()}

    before = held()
    code, _, err = upgrade(job.process.pid)
    assert code == 0, err
    assert len(held()) == len(before)
