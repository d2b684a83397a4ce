# SPDX-License-Identifier: Apache-2.0
"""`uspnet demo`: no packet is lost, and nothing stays but a capture file that was named."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.processes import alive
from tests.support.tiers import full
from tests.support.waiting import scaled, until

PACKETS = 20_000


@pytest.fixture(autouse=True)
def private_tmp(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.full
def test_every_packet_is_in_the_file(uspnet, tmp_path):
    result = uspnet("demo", "--count", str(PACKETS), "-w", str(tmp_path / "x.pcapng"), "--json")
    found = answer(result.stdout)
    assert result.returncode == 0
    assert found["complete"]
    assert (found["offered"], found["written"], found["lost"]) == (PACKETS, PACKETS, 0)
    assert [hop["packets"] for hop in found["hops"]] == [PACKETS] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["x.pcapng"]


def nic_of(result):
    """The emulated NIC's part of a demo."""
    assert result.returncode == 0, result.stderr
    return answer(result.stdout)["nic"]


@pytest.mark.full
def test_an_emulated_nic_sends_to_another(uspnet, qemu):
    nic = nic_of(uspnet("demo", "--count", "5000", "--json"))
    assert nic["missing"] == ""
    assert (nic["offered"], nic["sent"], nic["received"], nic["lost"]) == (5000, 5000, 5000, 0)
    assert nic["tx_bytes"] == nic["rx_bytes"] == 5000 * 60


@pytest.mark.full
def test_an_older_qemu_shows_what_it_has(uspnet, qemu, old_qemu):
    nic = nic_of(uspnet("demo", "--count", "1000", "--json"))
    assert (nic["missing"], nic["received"]) == ("", 1000)
    assert "qemu:e1000e," in " ".join(nic["command"])


def test_without_qemu_its_command_is_shown_and_all_is_well(uspnet, monkeypatch):
    monkeypatch.setenv("USPNET_QEMU", "/none/qemu")
    nic = nic_of(uspnet("demo", "--count", "1000", "--json"))
    assert "not installed" in nic["missing"]
    assert "apt-get install" in nic["hint"]
    assert nic["sent"] is nic["lost"] is None
    lines = uspnet("demo", "--count", "1000").stdout.splitlines()
    assert len([line for line in lines if "apt-get install" in line]) == 1


def test_a_named_file_and_the_commands_are_shown(uspnet, tmp_path):
    path = str(tmp_path / "x.pcapng")
    result = uspnet("demo", "--count", str(PACKETS), "-w", path)
    assert result.returncode == 0
    assert f"file: {path}" in result.stdout
    assert "uspnet fwd memif:/tmp/a.sock,role=server memif:/tmp/b.sock" in result.stdout
    assert "demo-" not in result.stdout, "no temporary name"


@pytest.mark.full
def test_a_finished_demo_leaves_nothing(uspnet, tmp_path):
    result = uspnet("demo", "--count", str(PACKETS))
    assert (result.returncode, result.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert "file:" not in result.stdout
    assert "-w demo.pcapng -c" in result.stdout
    found = answer(uspnet("demo", "--count", "1000", "--json").stdout)
    assert (found["complete"], found["files"]) == (True, [])


def test_a_capture_to_stdout_is_refused(uspnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = uspnet("demo", "-w", "-")
    assert (result.returncode, result.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert "-w -" in result.stderr
    assert "-w x.pcapng" in result.stderr


def test_the_file_is_one_that_wireshark_reads(uspnet, tmp_path):
    if not shutil.which("capinfos"):
        pytest.skip("capinfos is not installed: apt-get install tshark")
    path = str(tmp_path / "x.pcapng")
    uspnet("demo", "--count", "1000", "-w", path, "--quiet")
    seen = subprocess.run(["capinfos", "-rcM", path], capture_output=True, text=True, check=True)
    assert "1000" in seen.stdout


def test_a_file_that_cannot_be_written_is_an_error(uspnet, tmp_path):
    result = uspnet("demo", "-w", str(tmp_path / "none" / "x.pcapng"))
    assert result.returncode == 1
    assert "demo: capture: " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after_s", [0.3, *full(0.0, 0.05, 0.9)])
def test_an_interrupt_leaves_nothing(start, tmp_path, after_s):
    process = start("demo", "--count", "500000000")
    until(lambda: started(process.pid))
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode in (0, -signal.SIGINT), errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in listed.stdout.replace(" ".join(sys.argv), "")
    assert not os.path.exists(tmp_path / "a.sock")


def marked(mark):
    """Processes that have `mark` in their environment, ourselves aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes() and alive(int(path.parent.name)):
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def until_nothing_is_left(folder):
    """Wait until no process of a demo runs, and its temporary folder is empty."""

    def left():
        running = [f"{pid} {name_of(pid)}" for pid in marked(str(folder))]
        return [*running, *(path.name for path in folder.iterdir())]

    until(lambda: not left(), why=lambda: f"left behind: {left()}")


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.4])
@pytest.mark.full
def test_an_interrupt_leaves_no_qemu(start, qemu, tmp_path, after_s):
    process = start("demo", "--count", "50000")
    until(lambda: any("qemu" in name_of(pid) for pid in marked(str(tmp_path))))
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=scaled(60))
    assert process.returncode == 0
    assert "by hand" in out or list(tmp_path.iterdir()) == []
    until(lambda: marked(str(tmp_path)) == [])


@pytest.mark.full
def test_a_comma_in_a_path(uspnet, tmp_path, monkeypatch):
    folder = tmp_path / ","  # short, for sockets lie in it
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    result = uspnet("demo", "--count", "1000")
    assert (result.returncode, result.stderr) == (0, "")
    assert "memif:/tmp/a.sock,role=server" in result.stdout


@pytest.mark.full
def test_a_folder_that_others_may_change_is_refused(uspnet, tmp_path, monkeypatch):
    tmp_path.chmod(0o777)
    result = uspnet("demo", "--count", "1000")
    assert (result.returncode, list(tmp_path.iterdir())) == (3, [])
    assert f"{tmp_path}: another user may change" in result.stderr
    assert "TMPDIR=" in result.stderr
    tmp_path.chmod(0o1777)
    assert uspnet("demo", "--count", "1000").returncode == 0


@pytest.mark.full
def test_killed_while_qemu_runs_it_leaves_nothing(start, qemu, tmp_path):
    process = start("demo", "--count", "50000")
    until(lambda: any("qemu" in name_of(pid) for pid in marked(str(tmp_path))))
    process.kill()
    process.wait(timeout=scaled(60))
    until_nothing_is_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.5])
@pytest.mark.full
def test_when_it_is_killed_its_children_end_and_clean_up(start, tmp_path, number, after_s):
    process = start("demo", "--count", "500000000")
    # Python itself writes a file there, and removes it, to see whether the folder can be used.
    until(lambda: list(tmp_path.glob("uspnet-demo-*")))
    time.sleep(after_s)
    process.send_signal(number)
    process.wait(timeout=scaled(60))
    until_nothing_is_left(tmp_path)


@pytest.mark.full
def test_when_its_children_are_stopped_and_it_is_killed_nothing_stays(start, tmp_path):
    process = start("demo", "--count", "500000000")
    until(lambda: len(list(tmp_path.glob("*/*.sock"))) == 2)
    # One that has yet to begin its program can't end with its parent while it is stopped.
    stopped = [pid for pid in marked(str(tmp_path)) if "demo" not in command_of(pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.wait(timeout=scaled(20))
    try:
        until_nothing_is_left(tmp_path)
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def started(pid):
    """Has Python come as far as our own code? Until then Ctrl-C is Python's business."""
    return "_fastpath" in Path(f"/proc/{pid}/maps").read_text()


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
