# SPDX-License-Identifier: Apache-2.0
"""Looking at registers disturbs nothing: on a device that is only a script."""

import contextlib
import os
import subprocess
import sys

import pytest

from tests.support.processes import NOBODY
from uspnet.cli.regs import changes, register_table, rows
from uspnet.errors import Busy, DeviceFault, NotSupported, Usage
from uspnet.jobs.registers import Registers, known_names
from uspnet.pci.sysfs import HOST
from uspnet.ports.pci import Pci
from uspnet.ports.registry import make_port
from uspnet.spec import parse
from uspnet.transports import mapped
from uspnet.transports.fake import Fake

ADDRESS = "0000:03:00.0"
OPEN = """
import fcntl, os, sys
if not os.geteuid():
    os.setresuid(*[int(sys.argv[2])] * 3)
file = open(sys.argv[1])
"""
LOCK = OPEN + "fcntl.flock(file, 2); print(flush=True); input()"
LOCK_BY_CHILD = (
    OPEN
    + """
if os.fork() == 0:
    fcntl.flock(file, 2)
    os._exit(0)
os.wait()
print(flush=True)
input()
"""
)


@pytest.fixture
def device():
    return Fake({0: 0x8086, 2: 0x10C9}, 0x20000)


@pytest.fixture
def look(device):
    """`look(*names)`: the job on the device, whose log begins when it has been opened."""

    class Slot(Pci):
        def connect(self):
            return device

    opened = []

    def enter(*names):
        opened.append(Registers(Slot(parse(ADDRESS)), names).__enter__())
        return opened[-1]

    yield enter
    for job in opened:
        job.__exit__()


def names(seen):
    return [each.register.name for each in seen]


def touched(device):
    """Offsets that were read, and ways that were anything else."""
    return {at for way, at, _ in device.log if way == "read"}, {way for way, _, _ in device.log}


def test_nothing_is_written_and_nothing_read_that_changes(look, device):
    job = look()
    seen = job.sample()
    offsets, ways = touched(device)
    assert ways == {"read"}
    assert {0x0, 0x8, 0x100, 0xC018} <= offsets
    assert offsets.isdisjoint({0xC0, 0xD8, 0x4010, 0x5B50, 0xC030})
    unread = {each.register.name: each.why for each in seen if each.value is None}
    assert unread["SWSM"] == "not read: reading takes it"
    assert unread["MPC"] == "not read: reading clears it"
    assert unread["IMC"] == "write only"
    assert "SWSM" not in names(each for each in seen if each.value is not None)


@pytest.mark.parametrize(
    ("given", "wanted", "read"),
    [
        (["ctrl"], ["CTRL"], ["CTRL"]),
        (["RETA[3]", "Reta[0]"], ["RETA[0]", "RETA[3]"], ["RETA[0]", "RETA[3]"]),
        (["R?TA[0]"], ["RETA[0]"], ["RETA[0]"]),
        (["MPC"], ["MPC"], ["MPC"]),
        (["MP*"], ["MPC"], []),
        (["RQDPC[1]"], ["RQDPC[1]"], ["RQDPC[1]"]),
        (["IMC", "SWSM"], ["IMC", "SWSM"], []),
        (["MP*", "mpc"], ["MPC"], ["MPC"]),
    ],
)
def test_registers_are_chosen_by_name(look, given, wanted, read):
    seen = look(*given).sample()
    assert names(seen) == wanted
    assert names(each for each in seen if each.value is not None) == read


def test_a_name_of_an_array_is_all_of_it(look):
    assert len(look("RSSRK").sample()) == 10


CLOSE = [("CTLR", "CTRL"), ("RDT[16]", "RDT[1"), ("QQQ", "all")]


@pytest.mark.parametrize(("name", "close"), CLOSE)
def test_an_unknown_name_is_said(look, name, close):
    with pytest.raises(Usage, match="no register is called") as caught:
        look("CTRL", name)
    assert close in caught.value.hint


def test_a_device_that_is_gone_is_a_fault(look, device):
    job = look("STATUS")
    device.config[0] = 0xFFFF
    with pytest.raises(DeviceFault, match="VENDOR reads as all ones"):
        job.sample()


def test_a_port_without_registers_is_named():
    with pytest.raises(NotSupported, match="null: has no registers") as caught:
        Registers(make_port("null:"), ())
    assert "qemu:" in caught.value.hint


def test_shells_are_told_the_names():
    assert {"DSAL", "CMD"} <= known_names("qemu:vmxnet3") < known_names("0000:03:00.0")
    assert {"RDT", "DSAL"} <= known_names("0000:03:00.0")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """What passes for the function's file in sysfs."""
    monkeypatch.setattr(HOST, "root", str(tmp_path))
    for folder in (tmp_path, *tmp_path.parents[:-2]):  # all below /tmp
        folder.chmod(0o755)
    function = tmp_path / "sys/bus/pci/devices" / ADDRESS
    function.mkdir(parents=True)
    (function / "config").touch()
    return function / "config"


@contextlib.contextmanager
def locked(config, user, script=LOCK):
    """A process of this user holds the function's lock, in this way."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(config), str(user)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline()
        yield holder
        holder.stdin.close()


def test_who_holds_the_device_is_named(config):
    with (
        locked(config, os.geteuid()) as holder,
        pytest.raises(Busy, match=rf"in use by \S+ \(process {holder.pid}\)"),
    ):
        Registers(make_port(f"{ADDRESS},transport=uio"), ()).__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("script", [LOCK, LOCK_BY_CHILD], ids=["itself", "by-child"])
def test_a_strangers_lock_does_not_keep_root_out(config, script):
    with locked(config, NOBODY, script):
        mapped.FunctionLock(ADDRESS).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_lock_of_the_nodes_owner_does(config, tmp_path):
    node = tmp_path / "dev/vfio/7"
    node.parent.mkdir(parents=True)
    node.touch()
    os.chown(node, NOBODY, NOBODY)
    (config.parent / "iommu_group").symlink_to("/sys/kernel/iommu_groups/7")
    with locked(config, NOBODY), pytest.raises(Busy, match="in use by"):
        mapped.FunctionLock(ADDRESS)


def test_a_process_keeps_itself_out(config):
    first = mapped.FunctionLock(ADDRESS)
    with pytest.raises(Busy, match=rf"process {os.getpid()}\)"):
        mapped.FunctionLock(ADDRESS)
    first.close()


def test_what_changed_stands_out(look, device):
    job = look("RDT", "CTRL")
    before = job.sample()
    device.bar.cells[0xC058] = 7
    after = job.sample()
    assert [now.register.name for _, now in changes(before, after)] == ["RDT[1]"]
    assert [row[0] for row in rows(before, set())] == ["CTRL", "RDT[0-15]"]
    assert [row[0] for row in rows(after, {"RDT[1]"})] == [
        "CTRL", "RDT[0]", "RDT[1]", "RDT[2-15]",
    ]  # fmt: skip
    assert [row[0] for row in rows(before, {"RDT[1]"})][2] == "RDT[1]", "it stays alone"
    table = register_table(after, {"RDT[1]"})
    assert table.rows[0][0] == "RDT[1]"
    assert [bool(style) for style in table.styles] == [True, False, False, False]
