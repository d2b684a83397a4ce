# SPDX-License-Identifier: Apache-2.0
"""Installations of uspnet to upgrade to, and who can start them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from uspnet.system import privileges


def open_to_all(program=sys.executable):
    """Can every user run it? Not from root's own folder, for one, nor by a link that lies there."""
    ways = [Path(program).absolute(), Path(program).resolve()]
    return all(folder.stat().st_mode & 1 for way in ways for folder in way.parents)


def command(*words):
    """The command of a job whose fork server can start the installations of tests, which lie where
    only root can reach them: its loops run as root, without capabilities.
    """
    root = os.geteuid() == 0
    prefix = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all"] if root else []
    return [*prefix, sys.executable, "-m", "uspnet", *words]


@pytest.fixture
def reachable(monkeypatch):
    """Jobs of this process can be upgraded to the installations of tests."""
    if os.geteuid() == 0:
        monkeypatch.setattr(privileges, "nobody", lambda *_: 0)


class Installation:
    """A virtual environment, with uspnet in it or without."""

    def __init__(self, place):
        self.place, self.tree = Path(place), Path(place) / "tree"
        make = [sys.executable, "-m", "venv", "--without-pip", self.place]
        subprocess.run(make, check=True)
        (self.site,) = self.place.glob("lib/python*/site-packages")
        self.python = self.place / "bin/python"

    def fill(self, edits, *, build=False):
        """Give it a copy of the tree, with some texts replaced: {file: (old, new)}."""
        leave_out = ["*.so", "*.o"] if build else ["*.o"]
        ignore = shutil.ignore_patterns("__pycache__", *leave_out)
        shutil.copytree(ROOT / "uspnet", self.tree / "uspnet", ignore=ignore)
        for name, (old, new) in edits.items():
            path = self.tree / "uspnet" / name
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new, 1))
        if build:
            quick = {**os.environ, "USPNET_CFLAGS": "-O0"}
            command = [sys.executable, self.tree / "uspnet/fastpath/build.py"]
            subprocess.run(command, check=True, env=quick)
        paths = [self.tree, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
        (self.site / "uspnet.pth").write_text("".join(f"{path}\n" for path in paths))
        return self

    def script(self):
        """Its program, as pip writes it."""
        path = self.place / "bin/uspnet"
        path.write_text(f"#!{self.python}\nfrom uspnet.__main__ import main\nmain()\n")
        path.chmod(0o755)
        return path


VERSION = {"__init__.py": ('__version__ = "', '__version__ = "9.')}


@pytest.fixture(scope="session")
def newer(tmp_path_factory):
    """An installation of another version, whose structs are the same."""
    return Installation(tmp_path_factory.mktemp("newer")).fill(VERSION)


@pytest.fixture(scope="session")
def without(tmp_path_factory):
    """A Python without uspnet."""
    return Installation(tmp_path_factory.mktemp("without"))


@pytest.fixture(scope="session")
def incompatible(tmp_path_factory):
    """An installation whose structs differ."""
    edits = {
        **VERSION,
        "fastpath/process.h": ("    uint32_t ready; ", "    uint64_t more;\n    uint32_t ready; "),
    }
    return Installation(tmp_path_factory.mktemp("incompatible")).fill(edits, build=True)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """An installation that speaks another protocol."""
    edits = {**VERSION, "process/protocol.py": ("PROTOCOL = ", "PROTOCOL = 1000 + ")}
    return Installation(tmp_path_factory.mktemp("foreign")).fill(edits)
