# SPDX-License-Identifier: Apache-2.0
"""What a running job and its children may still do."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.processes import (
    NOBODY,
    Running,
    alive,
    as_nobody,
    children_named,
    children_of,
)
from tests.support.waiting import scaled, until
from uspnet.memory import SEALS
from uspnet.ports.memif import port as memif
from uspnet.ports.registry import make_port
from uspnet.system import privileges
from uspnet.system.privileges import NONE, Capability
from uspnet.transports.qemu.machine import binary

COMMAND = [sys.executable, "-m", "uspnet"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give privileges up")


def status(path):
    """What /proc says of a process or a thread."""
    lines = (Path(path) / "status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(path):
    """All that it has, or could get back."""
    sets = status(path)
    return {name: int(sets[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")}


@pytest.fixture
def run():
    """Starts a job; it is gone after the test."""
    started = {}

    def start(*words):
        running = Running([*COMMAND, *map(str, words), "--json"])
        started[running.process.pid] = running
        return running.wait().process.pid

    start.end = lambda pid: started.pop(pid).end()
    yield start
    for pid in list(started):
        start.end(pid)


@pytest.mark.parametrize("command", ["pktgen", "capture", "fwd", "capture to a file"])
def test_no_thread_of_a_job_keeps_a_capability(run, tmp_path, command):
    server = f"memif:{tmp_path}/m.sock,role=server"
    words = {
        "pktgen": ["pktgen", "null:", "--rate", "1000pps"],
        "capture": ["capture", server],
        "fwd": ["fwd", server, "null:"],
        "capture to a file": ["capture", server, "-w", tmp_path / "x.pcapng"],
    }[command]
    kept = 1 << Capability.KILL  # by which the kernel ends the children with it
    pid = run(*words)
    for task in Path(f"/proc/{pid}/task").iterdir():
        sets = capabilities(task)
        assert sets == {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": kept}
        assert status(task)["NoNewPrivs"] == ["1"]
    for child in children_of(pid):
        check_child(child)
    workers = 2  # the process with the loops, and the one that forks such
    assert len(children_of(pid)) == workers + ("file" in command)


def qemu_of(pid):
    """The QEMU of a job."""
    (found,) = children_named(pid, "qemu")
    return found


def check_child(pid):
    """It is a user of its own, and can't become another, once it has begun."""
    until(lambda: status(f"/proc/{pid}")["NoNewPrivs"] == ["1"])
    assert set(capabilities(f"/proc/{pid}").values()) == {0}
    found = status(f"/proc/{pid}")
    for ids in (found["Uid"], found["Gid"]):
        assert set(map(int, ids)) <= set(privileges.USERS)
    assert found["Groups"] == []
    assert found["NoNewPrivs"] == ["1"]
    return found


def check_memory(pid):
    """What it shares with us can neither shrink nor grow under us."""
    shared = {
        path for path in Path(f"/proc/{pid}/map_files").iterdir() if "uspnet" in os.readlink(path)
    }
    assert shared
    for path in shared:
        with path.open("rb") as file:
            seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
        assert seals & SEALS == SEALS, os.readlink(path)


@pytest.fixture
def own_user(qemu):
    """QEMU becomes a user of its own: it must lie where such a user can reach it."""
    if not privileges.nobody(binary()):
        pytest.skip("QEMU is in a folder that only root can reach")


@pytest.mark.usefixtures("own_user")
def test_regs_keep_what_ends_qemu():
    words = [*COMMAND, "regs", "qemu:e1000", "CTRL", "--watch", "--interval", "0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as job:
        try:
            assert "CTRL" in "".join(itertools.islice(job.stdout, 2))
            assert capabilities(f"/proc/{job.pid}")["CapEff"] == 1 << Capability.KILL
            (child,) = children_of(job.pid)
            check_child(child)
        finally:
            job.send_signal(signal.SIGINT)
            job.communicate(timeout=scaled(60))
    assert not alive(child)


@pytest.mark.usefixtures("own_user")
def test_qemu_is_a_user_of_its_own_in_its_sandbox(run):
    pid = run("pktgen", "qemu:e1000,loop=on", "--rate", "100pps")
    child = qemu_of(pid)
    assert check_child(child)["Seccomp"] == ["2"]
    check_memory(child)
    assert as_nobody(os.kill, child, signal.SIGKILL) == "PermissionError"
    assert as_nobody(os.listdir, f"/proc/{child}/fd") == "PermissionError"
    assert capabilities(f"/proc/{pid}")["CapEff"] == 1 << Capability.KILL, "to end it"


@pytest.mark.usefixtures("qemu")
def test_qemu_ends_with_a_job_that_has_given_its_privileges_up(run):
    pid = run("pktgen", "qemu:e1000,loop=on", "--rate", "100pps")
    child = qemu_of(pid)
    run.end(pid)
    assert not alive(child)


@pytest.mark.usefixtures("own_user")
@pytest.mark.parametrize("closed", [True, False])
def test_a_qemu_that_can_do_less_is_used_and_said(monkeypatch, closed):
    """Without seccomp it has no sandbox; where only root may enter, it is root's."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "qemu")
        plain.write_text(
            "#!/bin/sh\n"
            'case "$*" in *-sandbox*) echo "-sandbox support is not enabled" >&2; exit 1;; esac\n'
            f'exec {binary()} "$@"\n'
        )
        plain.chmod(0o755)
        Path(folder).chmod(0o700 if closed else 0o755)
        monkeypatch.setenv("USPNET_QEMU", str(plain))
        with closing(make_port("qemu:e1000,loop=on")) as port:
            port.open()
            assert "no sandbox" in port.how
            assert ("as root" in port.how) == closed
            found = status(f"/proc/{port.machine.process.pid}")
            assert (found["Uid"][0] == "0") == closed
            assert set(capabilities(f"/proc/{port.machine.process.pid}").values()) == {0}


@pytest.mark.parametrize("role", ["server", "client"])
def test_another_users_folder_stays_in_reach(run, tmp_path, role):
    """A path there can be removed, and a server that comes back be connected to."""
    folder = tmp_path / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, NOBODY, NOBODY)
    port = f"memif:{folder}/m.sock"
    server = run("capture", f"{port},role=server")
    pids = [server] if role == "server" else [run("pktgen", port, "--rate", "100pps")]
    for pid in pids:
        kept = 1 << Capability.DAC_OVERRIDE | 1 << Capability.KILL
        assert capabilities(f"/proc/{pid}")["CapEff"] == kept
    run.end(server)
    assert not any(folder.iterdir())


# In a mount namespace: a tree of ours in another user's closed folder, from which root's job runs.
IN_A_CLOSED_HOME = """
mount --bind "$1" "$2" && cd / && export PYTHONPATH="$2" && shift 2 || exit 77
"$@" pktgen null: --json & job=$!
for way in "" --cold; do
    for try in 1 2 3 4 5 6 7 8 9; do "$@" upgrade $job $way --json --quiet && break; sleep 1; done
done
for child in $(pgrep -P $job); do grep CapPrm /proc/$child/status; done
kill -INT $job; wait $job
"""


@pytest.mark.full
def test_a_job_of_a_closed_home_is_upgraded(tmp_path, needs):
    """The new version's code can be read there, and its loops have no capability."""
    needs("unshare")
    home = tmp_path / "home"
    (home / "tree").mkdir(0o755, parents=True)
    home.chmod(0o700)
    os.chown(home, NOBODY, NOBODY)
    script = ["sh", "-c", IN_A_CLOSED_HOME, "sh", ROOT, home / "tree", *COMMAND]
    done = subprocess.run(["unshare", "-m", *script], capture_output=True, text=True, check=False,
                          timeout=scaled(60))  # fmt: skip
    if done.returncode == 77:
        pytest.skip("needs a mount namespace")
    lines = done.stdout.splitlines()
    answers = [answer(line) for line in lines if line.startswith("{")]
    kinds = [each["kind"] for each in answers if each.get("command") == "upgrade"]
    assert kinds == ["warm", "cold"], done
    assert answers[-1]["upgrades"] == 2
    sets = [line.split()[1] for line in lines if "CapPrm" in line]
    assert len(sets) >= 2
    assert {int(each, 16) for each in sets} == {0}


def test_what_is_ours_needs_no_privilege(tmp_path):
    assert privileges.to_reach(tmp_path, os.W_OK) == NONE
    os.chown(tmp_path, NOBODY, NOBODY)
    assert privileges.to_reach(tmp_path, os.W_OK) == {Capability.DAC_OVERRIDE}
    assert privileges.to_reach(tmp_path / "none", os.W_OK) == {Capability.DAC_OVERRIDE}
    assert memif.Memif.keeps.fget(make_port("memif:@name")) == NONE


def test_children_are_users_that_nobody_else_is():
    users = {privileges.nobody() for _ in range(8)}
    assert 0 not in users
    assert len(users) > 1
    assert as_nobody(privileges.nobody) == "0", "who is nobody already stays so"


def test_root_of_a_container_stays_what_it_is(tmp_path, needs):
    """No other user exists there: a child has no capabilities, and that must do."""
    needs("unshare")
    inside = ["unshare", "-Ur", *COMMAND, "capture", "null:", "-c", "10", "-w", tmp_path / "x"]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip("needs user namespaces: unshare -Ur")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x").stat().st_size > 10 * 60


def test_root_that_can_not_signal_others_stays_what_it_is(needs):
    """A worker process that is another user could be neither paused nor ended without CAP_KILL."""
    needs("setpriv")
    code = "from uspnet.system import privileges; print(privileges.nobody())"
    bare = ["setpriv", "--bounding-set=-kill", "--inh-caps=-all", sys.executable, "-c", code]
    done = subprocess.run(bare, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_kernel_without_user_namespaces_has_all_users(monkeypatch):
    read = Path.read_text

    def without(path, *more, **named):
        if path.name in ("uid_map", "setgroups"):
            raise FileNotFoundError(path)
        return read(path, *more, **named)

    monkeypatch.setattr(Path, "read_text", without)
    assert privileges.nobody() in privileges.USERS
