# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd … --control SOCKET`: a job takes orders at a path, which only its user has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from tests.support.cold import upgraded
from tests.support.identity import answer
from tests.support.processes import NOBODY, as_nobody
from tests.support.waiting import until
from uspnet.cli import watched
from uspnet.errors import NotSupported
from uspnet.fastpath import lib
from uspnet.jobs import orders
from uspnet.telemetry.reaching import address

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
WORDS = ("fwd", "null:", "null:", "--mode", "filter", "--rule", "drop", "--control")


@pytest.fixture
def rules(open_folder):
    path = open_folder / "rules"
    path.write_text("drop len = 60\npass\n")
    return path


def test_a_job_is_found_by_its_path(started, uspnet, open_folder, rules, namespace):
    path, before = open_folder / "job", os.umask(0)
    try:
        job = started(*WORDS, str(path)).wait()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in (path, os.path.relpath(path)):
        done = uspnet("fwd", "--set-rules", rules, name)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"job {job.process.pid}: 2 rules instead of " in done.stdout
    with namespace.entered():
        assert orders.set_table(str(path), "rules", str(rules)).before == 2
    done = uspnet("fwd", "--set-rules", rules, job.process.pid, "--json")
    assert answer(done.stdout)["entries"] == 2, "its name works as ever"
    done = uspnet("fwd", "--set-routes", rules, path, "--json")
    assert answer(done.stdout)["error"] == "NotSupported"
    assert as_nobody(lambda: orders.set_table(str(path), "rules", str(rules))) == "NotPermitted"
    path.chmod(0o666)
    assert as_nobody(lambda: orders.set_table(str(path), "rules", str(rules))) == "Refused"
    assert job.end()["ended"] == "signal"
    assert not path.exists()


def test_every_command_finds_a_job_by_its_path(started, uspnet, tmp_path, namespace):
    path = tmp_path / "job"
    job = started(*WORDS, str(path)).wait()
    for run in (uspnet, lambda *words: namespace.uspnet(*words, check=False)):
        (seen,) = answer(run("stats", path, "--json").stdout)["jobs"]
        done = answer(run("upgrade", path, "--json").stdout)
        assert seen["pid"] == done["pid"] == job.process.pid
        for words in (("--job", path), ("--job", path, "--port", 0), (f"job:{path},port=0",)):
            assert answer(run("capture", *words, "-c", 5, "--json").stdout)["received"] >= 5
    job.end()
    for command in (("stats",), ("upgrade",), ("capture", "--job")):
        done = uspnet(*command, path)
        assert (done.returncode, f"no job at {path}" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_path_goes_with_the_job_or_before_the_next_one(started, uspnet, tmp_path, number):
    path = tmp_path / "job"
    job = started(*WORDS, str(path)).wait()
    job.process.send_signal(number)
    job.process.wait()
    assert path.exists() == (number == signal.SIGKILL)
    done = uspnet(*WORDS, path, "--count", "1")
    assert done.returncode == 0, done.stderr
    assert not path.exists()


@pytest.mark.full
def test_another_version_goes_on_at_the_path(started, uspnet, tmp_path, rules):
    path = tmp_path / "job"
    job = started(*WORDS, str(path)).wait()
    before = path.stat()
    upgraded(job)
    assert os.path.samestat(before, path.stat())
    done = uspnet("fwd", "--set-rules", rules, path)
    assert done.returncode == 0, done.stderr
    job.end()
    assert not path.exists()


def test_strangers_keep_nobody_from_a_job(started, open_folder, rules):
    job = started(*WORDS, str(open_folder / "job")).wait()

    def knock():
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect(address(job.process.pid))

    strangers = [threading.Thread(target=as_nobody, args=(knock,)) for _ in range(2)]
    for each in strangers:
        each.start()
    for _ in range(5):
        assert orders.set_table(job.process.pid, "rules", str(rules)).pid == job.process.pid
    for each in strangers:
        each.join()
    job.end()


def test_ports_that_can_not_be_seen_are_to_be_named(monkeypatch):
    monkeypatch.setattr(watched, "pid_of", lambda _: 0)  # a job of another pid namespace
    with pytest.raises(NotSupported) as raised:
        watched.ports_of(None, None, "/run/job", None, dropped=False)
    assert "--port 0" in raised.value.hint
    assert watched.ports_of(None, None, "/run/job", [1], dropped=False)[0] == [
        "job:/run/job,port=1"
    ]


def test_a_path_that_somebody_else_has_made_stays(started, tmp_path):
    path = tmp_path / "job"
    job = started(*WORDS, str(path)).wait()
    path.unlink()
    path.write_text("mine")
    job.end()
    assert path.read_text() == "mine"


def test_paths_that_can_not_be(uspnet, open_folder, rules):
    def bound(name, kind=socket.SOCK_SEQPACKET):
        made = socket.socket(socket.AF_UNIX, kind)
        made.bind(str(open_folder / name))
        return made

    with bound("live") as live, bound("stream", socket.SOCK_STREAM) as stream:
        live.listen()
        stream.listen()
        for name, code, kind, said, hint in (
            ("rules", 1, "Busy", "is there and is not a socket", "choose another path"),
            ("live", 1, "Busy", "another program listens there", "choose another path"),
            ("stream", 1, "Busy", "another program listens there", "choose another path"),
            ("none/job", 1, "NoDevice", "none: no such folder", "mkdir -p "),
            ("x" * 108, 1, "UspnetError", "path too long", "use another folder"),
        ):
            done = uspnet(*WORDS, open_folder / name, "--json")
            error = answer(done.stdout)
            assert (done.returncode, error["error"]) == (code, kind), error
            assert said in error["message"]
            assert hint in error["hint"]
        done = uspnet("fwd", "--set-rules", rules, open_folder / "stream")
        assert "no job listens at " in done.stderr
    assert rules.exists()
    done = uspnet(*WORDS, "")
    assert (done.returncode, "--control needs a file name" in done.stderr) == (2, True)


def test_what_another_user_has_left_there_stays(uspnet, open_folder):
    if os.geteuid() != 0:
        pytest.skip("needs root: a socket of another user")
    left = open_folder / "left"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(left))
    os.chown(left, NOBODY, -1)
    done = uspnet(*WORDS, left)
    assert done.returncode == 3
    assert f"is a socket of user {NOBODY}, on which nobody listens" in done.stderr
    assert left.exists()


def test_who_is_no_job_gets_no_rules(uspnet, open_folder, rules):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(open_folder / "left"))
    for name, said in (
        ("rules", "no job listens at "),
        ("left", "no job listens at "),
        ("none", "there is no job at "),
        ("rules/x", "no job listens at "),
        ("x" * 108, "path too long"),
    ):
        done = uspnet("fwd", "--set-rules", rules, open_folder / name)
        assert done.returncode == 1, done.stderr
        assert said in done.stderr
        assert "hint: see: uspnet stats --once" in done.stderr


def test_a_folder_that_is_closed_meanwhile_costs_no_result(started, open_folder):
    if os.geteuid() != 0:
        pytest.skip("needs root: a folder of another user")
    folder = open_folder / "theirs"
    folder.mkdir(mode=0o1777)
    folder.chmod(0o1777)
    os.chown(folder, NOBODY, NOBODY)
    job = started(*WORDS, str(folder / "job")).wait()
    until(lambda: "NoNewPrivs:\t1" in Path(f"/proc/{job.process.pid}/status").read_text())
    folder.chmod(0o700)
    assert job.end()["ended"] == "signal"
    assert (folder / "job").exists()
