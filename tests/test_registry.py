# SPDX-License-Identifier: Apache-2.0
"""Packages outside of the tree register ports and modes; one that fails disturbs nobody else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.identity import answer

ECHO = '''
from uspnet.jobs.forward.mode import Mode
from uspnet.ports.null import Null

class Echo(Null, scheme="echo"):
    """Zeros."""

class Mirror(Mode, mode="mirror", name="macswap", struct="forward_loop"):
    """Another name of macswap."""
'''
NO_TEXT = """
class NoText(Exception):
    def __str__(self):
        raise ValueError
raise NoText
"""
OLD_OPTIONS = """
from uspnet.ports.null import Null
class Echo(Null, scheme="echo"):
    options = {}
"""
ENTRIES = """
[uspnet.ports]
echo = outside_echo:Echo
[uspnet.jobs.forward]
mirror = outside_echo:Mirror
[uspnet.packets.fields]
ttl = outside_echo:Ttl
"""


@pytest.fixture
def outside(tmp_path):
    """outside(code, *words) runs uspnet with a package of that code installed beside it."""

    def run(code, *words):
        (tmp_path / "outside_echo.py").write_text(code)
        info = tmp_path / "outside_echo-0.1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-echo\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(ENTRIES)
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, *words], env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def fwd(*words):
    return ("-m", "uspnet", "fwd", *words)


def test_a_package_brings_a_port_and_a_mode(outside):
    words = fwd("echo:size=100", "null:", "-c", "100", "--mode", "mirror", "--json")
    result = answer(outside(ECHO, *words).stdout)
    assert (result["forwarded"], result["ports"][0]["driver"]) == (100, "echo")
    assert "mirror" in outside(ECHO, *fwd("null:", "null:", "--mode", "none")).stderr


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (NO_TEXT, "outside_echo.NoText: <exception str() failed>"),
        (OLD_OPTIONS, "TypeError: options = dict: make it a frozen dataclass of Options"),
        (ECHO.replace('"echo"', '"null"'), "TypeError: two ports null: uspnet.ports.null and"),
    ],
)
def test_a_package_that_fails_is_named_only_where_it_is_missed(outside, code, why):
    assert answer(outside(code, *fwd("null:", "null:", "-c", "100", "--json")).stdout)["forwarded"]
    missed = outside(code, *fwd("echo:", "null:"))
    assert missed.returncode == 2
    assert f"echo of the package outside-echo could not be loaded: {why}" in missed.stderr
    assert "ports are: job:" in missed.stderr
    assert "Traceback" not in missed.stderr


FIELD = """
from uspnet.errors import Usage
from uspnet.packets.fields.field import find_field
try:
    find_field("ttl")
except Usage as error:
    print(error, "|", error.hint)
"""


def test_a_field_that_fails_is_named(outside):
    said = outside(ECHO, "-c", FIELD).stdout
    assert said.startswith("there is no field ttl | ttl of the package outside-echo could not be")
    assert "AttributeError" in said
