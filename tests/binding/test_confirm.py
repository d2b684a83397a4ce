# SPDX-License-Identifier: Apache-2.0
"""`--confirm`: a real guardian process, and a made-up kernel that reacts to what it writes."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.waiting import scaled, until
from uspnet.binding import guardian
from uspnet.binding.bind import BindRequest, bind
from uspnet.binding.unbind import keep, unbind
from uspnet.errors import DeviceTimeout

A = "0000:03:00.0"


# Run by every process before anything else: it plays the kernel for them too.
CUSTOMIZE = """
import importlib.util, json, pathlib
spec = importlib.util.spec_from_file_location("lab", {conftest!r})
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)
def write(tree, name, text):
    assert tree.root == {root!r}
    kernel = lab.Kernel(pathlib.Path(tree.root))
    kernel.natural = {natural!r}
    kernel.interfaces = {interfaces!r}
    kernel.write(name, text)
lab.Tree.write = write
"""
MAIN = """
from uspnet.binding.guardian import main
main(sys.argv[1:], lambda tree: lab.FakeNetwork())
"""


@pytest.fixture
def shared(lab, tmp_path, monkeypatch):
    """A machine whose kernel also reacts to other processes."""
    lab.nic(A, "eth0")
    text = CUSTOMIZE.format(
        conftest=str(Path(__file__).with_name("conftest.py")),
        root=str(lab.root),
        natural=lab.kernel.natural,
        interfaces=lab.kernel.interfaces,
    )
    (tmp_path / "customize.py").write_text(text)
    first = f"exec(open({str(tmp_path / 'customize.py')!r}).read())\n"
    monkeypatch.setattr(guardian, "MAIN", first + MAIN)
    return lab


def gone(pid):
    """Zombies count as gone: the test is their parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_unconfirmed_is_put_back(shared):
    bind(shared.machine(), [A], BindRequest(confirm_s=3.0))
    assert shared.kernel.driver(A) == "vfio-pci"
    saved = shared.machine().store.load(A)
    assert os.getsid(saved.guardian) == saved.guardian  # a session of its own
    until(lambda: shared.machine().store.load(A) is None, 60)
    assert shared.kernel.driver(A) == "igb"
    until(lambda: gone(saved.guardian), 60)
    log = (shared.root / guardian.LOG).read_text()
    assert "not confirmed in time: given back" in log


def test_confirmed_stays(shared):
    bind(shared.machine(), [A], BindRequest(confirm_s=60.0))
    pid = shared.machine().store.load(A).guardian
    (outcome,) = keep(shared.machine(), [A])
    assert outcome.text == "kept"
    until(lambda: gone(pid), 60)
    assert shared.kernel.driver(A) == "vfio-pci"


def test_unbound_before_the_deadline(shared):
    bind(shared.machine(), [A], BindRequest(confirm_s=60.0))
    pid = shared.machine().store.load(A).guardian
    unbind(shared.machine(), [A])
    until(lambda: gone(pid), 60)
    assert shared.kernel.driver(A) == "igb"


BINDER = """
import sys
from uspnet.binding import guardian
exec({main!r}.partition(chr(10))[0])
guardian.MAIN = {main!r}
from uspnet.binding.bind import BindRequest, bind
from uspnet.binding.machine import Machine
from uspnet.pci.sysfs import Tree
class Slow(Tree):
    def write(self, name, text):
        super().write(name, text)
        if {die!r} in name:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
tree = Slow(sys.argv[1])
assert tree.root != "/"
bind(Machine(tree, lab.FakeNetwork()), [{address!r}], BindRequest(confirm_s=1.0))
"""


@pytest.mark.parametrize("die", ["driver_override", "unbind", "drivers_probe"])
def test_killed_at_any_step_the_guardian_still_puts_it_back(shared, die):
    code = BINDER.format(die=die, address=A, main=guardian.MAIN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(shared.root)], check=False, timeout=scaled(60), cwd=ROOT
    )
    assert done.returncode == -signal.SIGKILL
    until(lambda: shared.machine().store.load(A) is None, 60)
    assert shared.kernel.driver(A) == "igb"
    assert (shared.kernel.device(A) / "driver_override").read_text() == "(null)\n"


def test_a_program_that_uses_it_is_ended(shared):
    with subprocess.Popen(["sleep", "60"]) as user:
        bind(shared.machine(), [A], BindRequest(confirm_s=2.0))
        shared.process(user.pid, "pktgen", "/dev/vfio/17")

        def reap():
            user.wait()
            for name in ("fd/0", "comm"):
                (shared.root / f"proc/{user.pid}/{name}").unlink()

        thread = threading.Thread(target=reap)
        thread.start()
        until(lambda: shared.machine().store.load(A) is None, 60)
        thread.join()
        assert user.returncode == -signal.SIGTERM
    assert shared.kernel.driver(A) == "igb"


def test_the_guardian_imports_nothing_of_the_current_folder(shared, tmp_path, monkeypatch):
    mark, folder = tmp_path / "mark", tmp_path / "poisoned"
    for name in ("contextlib", "typer", "uspnet", "runpy", "subprocess"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})")
    monkeypatch.chdir(folder)
    bind(shared.machine(), [A], BindRequest(confirm_s=60.0))
    pid = shared.machine().store.load(A).guardian
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    keep(shared.machine(), [A])
    until(lambda: gone(pid), 60)
    assert not mark.exists()


def test_without_guardian_nothing_is_touched(lab, monkeypatch):
    lab.nic(A, "eth0")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DeviceTimeout, match="nothing was changed"):
        bind(lab.machine(), [A], BindRequest(confirm_s=1.0))
    assert lab.kernel.log == []
    assert lab.machine().store.addresses() == []


def test_given_back_also_when_the_disk_became_read_only(lab, monkeypatch):
    """After an error, the kernel often mounts a disk read-only."""
    lab.nic(A, "eth0")
    machine = lab.machine()
    bind(machine, [A], BindRequest())
    guardian.set_deadline(machine, [A], 0.0)

    def read_only(name):
        real = getattr(os, name)

        def call(path, *more, **named):
            if "/var/lib/uspnet" in str(path):
                raise OSError(errno.EROFS, "Read-only file system", path)
            return real(path, *more, **named)

        return call

    monkeypatch.setattr(guardian, "RETRY_S", 0.0)
    for name in ("chmod", "unlink", "rename"):
        monkeypatch.setattr(os, name, read_only(name))
    (line,) = guardian.watch(machine, [A])
    assert lab.kernel.driver(A) == "igb"
    assert line.startswith(f"{A}: not confirmed in time, and given back, but: ")
    assert line.endswith(f"{A}.json: Read-only file system")
