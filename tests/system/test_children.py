# SPDX-License-Identifier: Apache-2.0
"""Nothing of the current folder, and nothing of the environment, decides what runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import uspnet
from tests.support.identity import answer
from tests.support.processes import NOBODY
from tests.support.waiting import scaled
from uspnet.errors import Refused
from uspnet.jobs import doctor
from uspnet.system import children
from uspnet.transports.qemu.machine import binary

MODULES = (
    "typer", "rich", "contextlib", "json", "uspnet", "subprocess", "cffi", "_cffi_backend",
    "pyroute2", "scapy", "runpy", "usercustomize", "sitecustomize",
)  # fmt: skip
PROGRAMS = (
    "qemu-system-x86_64", "tshark", "tcpdump", "dpdk-testpmd", "python3", "ip", "modprobe", "gcc",
    "cc", "ld",
)  # fmt: skip
COMMAND = Path(sys.executable).parent / "uspnet"


@pytest.fixture
def poisoned(tmp_path, monkeypatch):
    """The current folder holds modules and programs that leave a mark; the environment names it."""
    folder = tmp_path / "poisoned"
    mark = tmp_path / "mark"
    for name in MODULES:
        module = folder / name
        module.mkdir(parents=True)
        (module / "__init__.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >>{mark}\n")
        (folder / name).chmod(0o755)
    user = folder / f".local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    user.mkdir(parents=True)
    (user / "usercustomize.py").write_text(f"open({str(mark)!r}, 'a').write('user')\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    return mark


def run(command, **more):
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=scaled(90), **more
    )


@pytest.mark.skipif(not COMMAND.exists(), reason="the uspnet command is not installed")
@pytest.mark.parametrize("words", [["demo", "--count", "2000", "--json"], ["doctor", "--json"]])
def test_commands_run_nothing_of_the_current_folder(poisoned, tmp_path, monkeypatch, words):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = run([COMMAND, *words])
    assert not poisoned.exists(), poisoned.read_text()
    assert "error" not in answer(result.stdout), result.stdout
    if words[0] == "demo":
        assert (result.returncode, answer(result.stdout)["lost"]) == (0, 0)


def test_as_a_module_uspnet_leaves_the_folder_before_it_imports_more(poisoned, tmp_path):
    quiet = tmp_path / "some"
    quiet.mkdir()
    (tmp_path / "poisoned/typer").rename(quiet / "typer")
    result = run([sys.executable, "-m", "uspnet", "--version"], cwd=quiet)
    assert (result.returncode, result.stderr) == (0, "")
    assert not poisoned.exists()


def test_a_child_ignores_the_whole_environment(poisoned, monkeypatch):
    folder = os.getcwd()
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "PYTHONUSERBASE"):
        monkeypatch.setenv(name, folder)
    monkeypatch.setenv("PYTHONSTARTUP", f"{folder}/usercustomize/__init__.py")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    code = "import contextlib, typer, uspnet, uspnet.fastpath, sys; print(uspnet.__file__)"
    result = run(children.python(code), env=children.environment())
    assert result.stdout.strip() == uspnet.__file__, result.stderr
    assert not poisoned.exists()


def test_a_child_gets_a_few_settings_and_nothing_else(monkeypatch):
    for name in ("LD_PRELOAD", "PYTHONPATH", "MODPROBE_OPTIONS", "BASH_ENV", "IFS"):
        monkeypatch.setenv(name, "x")
    assert set(children.environment()) <= {*children.KEPT, "PATH"}
    assert children.environment()["PATH"] == children.SAFE_PATH


def test_programs_are_not_looked_for_in_the_current_folder(poisoned, monkeypatch):
    assert children.find_program("sh") in {"/usr/bin/sh", "/bin/sh"}
    for path in (".", "", "sub/..", ".:"):
        monkeypatch.setenv("PATH", path)
        assert children.find_program("python3") != f"{os.getcwd()}/python3"
        assert (children.find_program("python3") or "/").startswith("/")
    assert children.find_program("./python3") is None
    assert children.find_program(os.path.abspath("python3")) == os.path.abspath("python3")


def test_root_looks_in_the_systems_folders_alone(poisoned, monkeypatch):
    monkeypatch.setenv("PATH", os.getcwd())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert children.find_program("python3") == f"{os.getcwd()}/python3"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert children.find_program("python3") != f"{os.getcwd()}/python3"


@pytest.mark.skipif(not COMMAND.exists(), reason="the uspnet command is not installed")
def test_root_writes_nothing_into_the_home_that_the_environment_names(poisoned, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: and another user's home")
    cache = Path(".cache/scapy")
    cache.mkdir(parents=True)
    for name in ("ethertypes", "services", "manufdb"):
        (cache / f"{name}.pickle").symlink_to(tmp_path / "victim")
    result = run([COMMAND, "pktgen", "null:", "--packet", "Ether()/IP()/UDP()", "--count", "1"])
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "victim").exists()
    assert not poisoned.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: whose search path is fixed")
def test_root_has_libraries_run_nothing_from_the_path_of_the_environment(poisoned):
    code = "from ctypes import util; from uspnet.__main__ import _go_home; _go_home();"
    code += "util.find_library('x')"
    path = f"{os.getcwd()}:{os.environ['PATH']}"
    result = run([sys.executable, "-I", "-c", code], env={"PATH": path})
    assert (result.returncode, result.stderr) == (0, "")
    assert not poisoned.exists()


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """A program, as the environment names it; root's, in a folder of root's."""
    program = tmp_path / "own/qemu"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("USPNET_QEMU", str(program))
    return program


def test_root_runs_a_qemu_that_the_environment_names_if_it_is_roots(chosen, tmp_path, monkeypatch):
    assert binary() == str(chosen)
    link = tmp_path / "link"
    link.symlink_to(chosen)
    monkeypatch.setenv("USPNET_QEMU", str(link))
    assert binary() == (str(chosen) if os.geteuid() == 0 else str(link))


def test_a_folder_that_our_own_code_lies_in_is_as_good_as_it(chosen, tmp_path, monkeypatch):
    code = tmp_path / "uspnet/system/children.py"
    code.parent.mkdir(parents=True)
    code.touch()
    monkeypatch.setattr(children, "__file__", str(code))
    tmp_path.chmod(0o777)
    assert binary() == str(chosen)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files that are not root's")
@pytest.mark.parametrize("what", ["program", "folder", "open program", "open folder", "group"])
def test_root_runs_no_qemu_of_another_user(chosen, what):
    match what:
        case "program":
            os.chown(chosen, NOBODY, NOBODY)
        case "folder":
            os.chown(chosen.parent, NOBODY, NOBODY)
        case "open program":
            chosen.chmod(0o757)
        case "open folder":
            chosen.parent.chmod(0o777)
        case "group":
            os.chown(chosen.parent, 0, NOBODY)
            chosen.parent.chmod(0o775)
    with pytest.raises(Refused, match="would run as root"):
        binary()
    assert "would run as root" in doctor.emulator().found


@pytest.fixture
def ways(tmp_path):
    """A program of root's, and a folder of another user's that has a link to where it lies."""
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    program = tmp_path / "ours/python"
    program.touch(0o755)
    (tmp_path / "theirs/link").symlink_to(tmp_path / "ours")
    (tmp_path / "ours/link").symlink_to("../ours")
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others may change what is theirs")
@pytest.mark.parametrize("way", ["ours/python", "ours/link/python", "ours/link/../ours/python"])
def test_a_way_that_nobody_else_can_change(ways, way):
    children.check_way(f"{ways}/{way}", "would run")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others may change what is theirs")
@pytest.mark.parametrize("way", ["theirs/link/python", "theirs/../ours/python"])
def test_a_way_through_another_users_folder_is_refused(ways, way):
    with pytest.raises(Refused, match="theirs is another user's"):
        children.check_way(f"{ways}/{way}", "would run")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others may change what is theirs")
def test_a_link_of_another_user_is_refused(ways):
    os.chown(ways / "ours/link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(Refused, match="ours/link is another user's"):
        children.check_way(f"{ways}/ours/link/python", "would run")
