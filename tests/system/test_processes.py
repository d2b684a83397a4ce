# SPDX-License-Identifier: Apache-2.0
"""Who has a device open is told by the device's number; names are only shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.private_tmpfs import PRIVATE_TMPFS
from tests.support.processes import alive
from tests.support.waiting import until
from uspnet.binding import guardian, holders
from uspnet.system import processes
from uspnet.transports.mapped import device_error

HOLD = """
import os, sys
for name in sys.argv[2:]:
    os.open(name, os.O_RDWR | os.O_CREAT)
with open("/proc/self/comm", "wb") as file:
    file.write(os.fsencode(sys.argv[1]))
print("ready", flush=True)
input()
"""
# A tmpfs of its own, mounted nowhere: the kernel calls the file there /dev/vfio/NAME.
FORGE = (
    PRIVATE_TMPFS
    + """
folders = sys.argv[1].strip("/").split("/")[:-1]
for depth in range(len(folders)):
    os.mkdir("/".join(folders[: depth + 1]), dir_fd=mount)
fd = os.open(sys.argv[1].strip("/"), os.O_RDWR | os.O_CREAT, dir_fd=mount)
print(os.readlink(f"/proc/self/fd/{fd}"), flush=True)
input()
"""
)


@pytest.fixture
def hold():
    """Starts a process that runs `code`, and returns it with its first line."""
    started = []

    def start(code, *words):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = subprocess.Popen([sys.executable, "-c", code, *words], **pipes)
        started.append(child)
        return child, os.fsdecode(child.stdout.readline()).strip()

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture
def node(tmp_path):
    """What passes for a device node."""
    (tmp_path / "vfio").mkdir()
    path = tmp_path / "vfio/12"
    path.touch()
    return str(path)


def test_a_holder_is_found_by_what_it_has_open(hold, node):
    child, _ = hold(HOLD, "pktgen", node)
    assert processes.users_of([node]) == [processes.Process(child.pid, "pktgen")]
    assert processes.users_of([f"{node}3"]) == []


def test_a_device_is_found_by_its_number_whatever_its_node_is_called(hold, node):
    if os.geteuid() != 0:
        pytest.skip("needs root: for a device node")
    os.unlink(node)
    os.mknod(node, 0o600 | 0o020000, os.makedev(1, 3))  # as /dev/null
    other = f"{node}0"
    os.mknod(other, 0o600 | 0o020000, os.makedev(1, 3))
    child, _ = hold(HOLD, "pktgen", other)
    assert child.pid in [user.pid for user in processes.users_of([node])]


def test_a_forged_name_is_not_believed(hold, node):
    child, name = hold(FORGE, node)
    if not name:
        pytest.skip("needs user namespaces: with mounts")
    assert name == node, "it looks like the node"
    assert processes.users_of([node]) == []
    assert processes.signal_users([node], signal.SIGKILL) == []
    assert child.poll() is None


NAMES = ["\x1b]0;own\x07", "a\nb", "\udcff\udcfe", "\u202eevil"]


@pytest.mark.parametrize("name", NAMES)
def test_a_processs_name_is_printable(hold, node, name):
    child, _ = hold(HOLD, name, node)
    (user,) = processes.users_of([node])
    assert user.name == name
    assert str(user).isprintable()
    assert str(child.pid) in str(user)
    error = device_error("0000:03:00.0", node, OSError(16, "busy"))
    assert error.message.isprintable()


def test_a_signal_reaches_the_process_that_was_looked_at(hold, node, monkeypatch):
    child, _ = hold(HOLD, "pktgen", node)
    assert [user.pid for user in processes.signal_users([node], signal.SIGTERM)] == [child.pid]
    assert child.wait(10) == -signal.SIGTERM
    opened = []
    really = os.pidfd_open

    def record(pid):
        opened.append(pid)
        return really(pid)

    def uses(pid, *_):
        assert opened[-1] == pid, "the process is held before it is looked at"
        return False

    monkeypatch.setattr(os, "pidfd_open", record)
    monkeypatch.setattr(processes, "_uses", uses)
    processes.signal_users([node], signal.SIGTERM)
    assert os.getpid() in opened


def test_who_does_not_obey_is_killed(hold, node, monkeypatch):
    child, _ = hold(f"import signal; signal.signal(15, signal.SIG_IGN)\n{HOLD}", "pktgen", node)
    monkeypatch.setattr(guardian, "GRACE_S", 0.3)
    monkeypatch.setattr(guardian, "function", lambda *_: None)
    monkeypatch.setattr(holders, "device_nodes", lambda *_: [node])

    class Machine:
        root = "/"

    guardian.end_users(Machine(), "0000:03:00.0")
    until(lambda: not alive(child.pid))
    assert child.wait(10) == -signal.SIGKILL
