# SPDX-License-Identifier: Apache-2.0
"""`uspnet doctor`: problems are named with what mends them, and only they fail."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.vm.emulator import has_model
from uspnet.ports.qemu import models
from uspnet.ports.registry import schemes
from uspnet.transports.qemu.machine import binary, upgrade


def rows(result):
    return {row["check"]: row for row in answer(result.stdout)["checks"]}


def test_this_machine_can_run_null(uspnet):
    result = uspnet("doctor", "null:")
    assert result.returncode == 0, result.stdout
    assert "no problem" in result.stdout


@pytest.mark.parametrize(
    ("port", "mend"),
    [("lan1", "packet:lan1"), ("nonsense:", "null:"), ("memif:/none/m.sock,role=server", "/none")],
)
def test_a_port_that_will_not_open_is_a_problem(uspnet, port, mend):
    result = uspnet("doctor", port, "--json")
    row = rows(result)[port]
    assert result.returncode == 1
    assert row["state"] == "problem"
    assert mend in row["mend"]


def test_a_look_at_a_port_leaves_nothing(uspnet, tmp_path):
    port = f"memif:{tmp_path}/m.sock,role=server"
    assert uspnet("doctor", port).returncode == 0
    assert list(tmp_path.iterdir()) == []


QEMU = ["/none/qemu", "/bin/true"]


@pytest.mark.parametrize("program", QEMU)
def test_a_qemu_that_is_missing_or_none_has_its_command(uspnet, monkeypatch, program):
    monkeypatch.setenv("USPNET_QEMU", program)
    found = rows(uspnet("doctor", "--json"))["QEMU"]
    assert found["state"] == "note", "other ports work without"
    assert "apt-get install qemu-system-x86" in found["mend"]
    assert "unset USPNET_QEMU" in found["mend"]
    result = uspnet("doctor", "qemu:igb", "--json")
    assert result.returncode == 1
    assert rows(result)["qemu:igb"]["state"] == "problem"
    assert rows(result)["qemu:igb"]["mend"]


def test_a_qemu_too_old_for_a_model_is_named(uspnet, qemu, old_qemu):
    result = uspnet("doctor", "qemu:igb", "--json")
    found = rows(result)
    assert result.returncode == 1
    assert found["QEMU"]["found"] == "version 7.2 is too old for igb (since 8.0)"
    assert "apt-get install qemu-system-x86" in found["QEMU"]["mend"]
    assert "this QEMU has no igb" in found["qemu:igb"]["found"]
    assert "QEMU 8.0 or newer: apt-get install" in found["qemu:igb"]["mend"]
    assert uspnet("doctor", "qemu:e1000e").returncode == 0


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_backports_are_named_where_they_help(monkeypatch, tmp_path, release):
    answer = {"VERSION_CODENAME": release}
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: answer)
    monkeypatch.setattr("uspnet.transports.qemu.machine.APT", tmp_path)
    helps = release == "bookworm"
    assert (f"-t {release}-backports" in upgrade()) == helps
    assert ("sources first" in upgrade()) == helps
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/x.list").write_text("deb http://mirror bookworm-backports main")
    assert "sources first" not in upgrade(), "they are there"


def test_the_installed_qemu_is_fine(uspnet, qemu):
    result = uspnet("doctor", "qemu:e1000e", "--json")
    assert result.returncode == 0
    device = {name: nic.models[name].device.split(",")[0] for name, nic in models().items()}
    lacks = [name for name in device if not has_model(binary(), device[name])]
    row = rows(result)["QEMU"]
    assert row["state"] == ("note" if lacks else "ok")
    assert all(name in row["found"] for name in lacks)


def test_what_is_only_missing_is_a_note_with_a_command(uspnet, monkeypatch):
    monkeypatch.setenv("USPNET_QEMU", "/none/qemu")
    result = uspnet("doctor", "--json")
    found = rows(result)
    assert found["QEMU"]["state"] == "note"
    assert "apt-get install qemu-system-x86" in found["QEMU"]["mend"]
    assert all(row["mend"] for row in found.values() if row["state"] != "ok")


def test_an_interface_is_no_port_and_the_hint_names_ports_that_exist(uspnet):
    result = uspnet("doctor", "lo", "--json")
    found = rows(result)
    assert result.returncode == 1
    assert [row for row in found.values() if row["state"] == "problem"] == [found["lo"]]
    shown = re.findall(r"([a-z-]+):lo", found["lo"]["mend"])
    assert shown
    assert set(shown) <= schemes().keys()


def others():
    """PCI functions of this machine that are no NICs."""
    folders = Path("/sys/bus/pci/devices").glob("*")
    return [each.name for each in folders if int((each / "class").read_text(), 16) >> 16 != 2]


def test_a_function_that_is_no_nic_is_said_to_be_none(uspnet):
    if not others():
        pytest.skip("this machine has no PCI devices")
    address = others()[0]
    result = uspnet("doctor", address, "--json")
    row = rows(result)[address]
    assert (result.returncode, row["state"]) == (1, "problem")
    assert "not a network card" in row["found"]
    assert "bind" not in row["mend"]
    for command, code in {"devices": 3, "bind": 3, "capture": 1}.items():
        result = uspnet(command, address)
        if command == "bind" and os.geteuid():
            continue  # who may not bind at all is told that first
        assert result.returncode == code
        assert "not a network card" in result.stderr
        assert "uspnet bind" not in result.stderr


def test_what_the_kernel_can_enforce_is_shown(uspnet):
    found = rows(uspnet("doctor", "--json"))
    for check in ("privileges", "Landlock", "seccomp"):
        assert found[check]["state"] == "ok" or found[check]["mend"], check
