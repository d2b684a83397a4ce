# SPDX-License-Identifier: Apache-2.0
"""`uspnet upgrade --cold` of what can't go on as another version, or fails on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cold import NEWER, SLOW, upgrade
from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.processes import Running, children_of
from tests.support.upgrading import VERSION, Installation, command, open_to_all
from tests.support.waiting import scaled, until
from uspnet import __version__
from uspnet.cli import app, failure
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
from uspnet.sandbox.available import available
from uspnet.system.kept import State

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")

FILES = {
    "until": ["capture", "null:", "-w", "{}/x.pcapng", "-a", "filesize:10000000"],
    "ring": ["capture", "null:", "-w", "{}/x.pcapng", "-b", "filesize:10000000"],
}


@pytest.mark.parametrize("words", FILES.values(), ids=FILES)
def test_a_file_is_refused(words, tmp_path):
    words = [word.format(tmp_path) for word in words]
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        job = Running.__new__(Running)
        job.process = process
        until(job.ports)
        code, _, err = upgrade(process.pid, "--cold")
        process.send_signal(signal.SIGINT)
        assert process.wait(scaled(60)) == 0
    assert code == 1
    assert "pcap:" in err
    assert "can't go on in the middle of a file" in err


def test_an_emulated_nic_is_refused(started, qemu):
    job = started("fwd", "qemu:e1000e,loop=on", "null:").wait()
    code, _, err = upgrade(job.process.pid, "--cold")
    assert code == 1
    assert "its device can't be held" in err
    assert job.end()["upgrades"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loops are another user's")
@pytest.mark.full
def test_a_user_of_its_own_is_required(newer):
    if missing := available().missing:
        pytest.skip(f"the sandbox lacks: {', '.join(missing)}")
    if open_to_all(newer.python):
        pytest.skip("every user can reach the installations of tests")
    words = ["fwd", "null:", "null:", "--json", "--sandbox=require"]
    job = Running([sys.executable, "-m", "uspnet", *words]).wait()
    code, _, err = upgrade(job.process.pid, "--cold", "--with", newer.place)
    assert code == 1
    assert f"can't reach {newer.python}, and the sandbox is required" in err
    result = job.end()
    assert (result["upgrades"], result["before"]) == (0, [])


def test_an_option_that_the_other_version_lacks(started, tmp_path):
    lacking = Installation(tmp_path / "lacking").fill(
        {**VERSION, "cli/options.py": ('"--burst"', '"--bursts"')}
    )
    job = started("fwd", "null:", "null:", "--burst", "16").wait()
    code, _, err = upgrade(job.process.pid, "--cold", "--with", lacking.place)
    assert code == 2
    assert "can't go on with this job" in err
    assert "--burst" in err
    result = job.end()
    assert (result["upgrades"], result["before"]) == (0, [])


def test_a_version_that_knows_no_cold_upgrade(job, tmp_path):
    older = Installation(tmp_path / "older").fill(VERSION)
    (older.tree / "uspnet/cli/again.py").unlink()
    code, _, err = upgrade(job.process.pid, "--cold", "--with", older.place)
    assert code == 1
    assert "has no uspnet that can take over" in err
    assert job.end()["upgrades"] == 0


def test_a_python_without_uspnet(job, without):
    code, _, err = upgrade(job.process.pid, "--cold", "--with", without.place)
    assert code == 1
    assert "has no uspnet that can take over" in err
    assert job.end()["upgrades"] == 0


@pytest.mark.full
def test_a_version_that_fails_when_it_opens(job, tmp_path):
    fails = 'import os\nfrom uspnet.errors import DeviceFault\nraise DeviceFault("it broke")\n'
    begin = "        self.workers, self.recover = "
    body = "".join(f"        {line}\n" for line in fails.splitlines())
    broken = Installation(tmp_path / "broken").fill(
        {**VERSION, "jobs/crew.py": (begin, body + begin)}
    )
    code, _, err = upgrade(job.process.pid, "--cold", "--with", broken.place)
    assert code == 1
    assert f"the job has stopped, and uspnet {NEWER} can't go on: it broke" in err
    code, out, _ = job.ends()
    assert code == 1
    said = answer(out)
    assert (said["error"], said["message"]) == ("DeviceFault", "it broke")
    assert said["ended"] == "upgrade"
    assert said["forwarded"] > 0, "what was done before is not lost"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_version_that_finds_something_wrong_before_there_is_a_job(monkeypatch, capsys, as_json):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with CaptureJob(make_port("null:"), Limits(count=5), None) as job:
        result = {**job.run().as_json(), "ended": "upgrade"}
    state = State(before=[{"uspnet": __version__, **result}], fds={"client": theirs.detach()})
    monkeypatch.setattr("uspnet.system.kept._now", [state])
    with ours:
        assert failure.run(app, ["capture", "nul:", *["--json"] * as_json]) == 2
        assert b"the job has stopped" in ours.recv(4096)
    told = capsys.readouterr()
    if not as_json:
        assert "received 5 packets" in told.err
        return
    said = answer(told.out)
    assert (said["error"], said["ended"], said["received"], said["before"]) == (
        "Usage", "upgrade", 5, [],
    )  # fmt: skip


@pytest.mark.full
def test_a_program_that_can_not_be_executed(newer):
    code = (
        "import os, sys\n"
        "def fail(*_): raise OSError(8, 'Exec format error')\n"
        "os.execve = fail\n"
        "from uspnet.__main__ import main\nmain()\n"
    )
    job = Running([sys.executable, "-c", code, "fwd", "null:", "null:", "--json"])
    job.wait()
    code, _, err = upgrade(job.process.pid, "--cold", "--with", newer.place)
    assert code == 1
    assert "can't be executed: Exec format error; the job goes on as it was" in err
    until(lambda: job.count("tx_packets"))
    job.hears("not upgraded")
    result = job.end()
    assert result["upgrades"] == 0
    assert len(result["before"]) == 1


@pytest.mark.full
def test_results_that_are_too_long_to_be_taken_along(newer):
    code = (
        "from uspnet.system import kept\n"
        "kept.BYTES_MAX = 1000\n"
        "from uspnet.__main__ import main\nmain()\n"
    )
    job = Running([sys.executable, "-c", code, "fwd", "null:", "null:", "--json"])
    job.wait()
    code, _, err = upgrade(job.process.pid, "--cold", "--with", newer.place)
    assert code == 1
    assert "what it would go on with is too much; the job goes on as it was, after a gap" in err
    until(lambda: job.count("tx_packets"))
    code, _, err = upgrade(job.process.pid, "--cold", "--with", newer.place)
    assert code == 1
    assert "its 1 results before leave no room for more" in err
    result = job.end()
    assert result["upgrades"] == 0
    assert len(result["before"]) == 1


@pytest.mark.full
def test_a_signal_while_nobody_handles_it(job, tmp_path):
    slow = Installation(tmp_path / "slow").fill(SLOW)
    words = [sys.executable, "-m", "uspnet", "upgrade", str(job.process.pid), "--cold"]
    with subprocess.Popen([*words, "--with", slow.place], cwd=ROOT, stderr=subprocess.DEVNULL):
        cmdline = Path(f"/proc/{job.process.pid}/cmdline")
        until(lambda: str(slow.place) in cmdline.read_text())
        result = job.end()
    assert result["ended"] == "signal"
    assert result["before"][0]["forwarded"] > 0


@pytest.mark.full
def test_a_job_that_ends_meanwhile(started, tmp_path):
    slow = Installation(tmp_path / "slow").fill(SLOW)
    job = started("fwd", "null:", "null:").wait()
    words = [sys.executable, "-m", "uspnet", "upgrade", str(job.process.pid), "--cold", "--quiet"]
    with subprocess.Popen(
        [*words, "--with", slow.place], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: len(children_of(job.process.pid)) > 2)
        time.sleep(0.1)
        assert job.end()["upgrades"] == 0
        err = process.communicate(timeout=scaled(60))[1]
    assert process.returncode == 1
    assert "has ended meanwhile" in err
