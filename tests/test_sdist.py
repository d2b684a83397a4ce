# SPDX-License-Identifier: Apache-2.0
"""The source distribution: it has what its own tests read, and what is built from it works."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.paths import ROOT

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "__pycache__", "*.so", "*.o", "*.egg-info", ".*_cache",
    "_fastpath.c", "results",
)  # fmt: skip
BUILD = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
PIP = ["-m", "pip", "--disable-pip-version-check", "-q"]
OURS = ["--no-deps", "--no-build-isolation", "--no-index"]
QUICK = [  # they read files of every folder, and run commands
    "tests/bench", "tests/cli/test_help.py", "tests/test_docs.py", "tests/test_forge.py",
    "tests/test_spec.py", "tests/test_text.py", "tests/packets/test_frames.py",
    "tests/fastpath/test_intel_legacy.py", "tests/drivers/test_register_tables.py",
]  # fmt: skip


def run(*command, cwd, **more):
    """Run a program to its end; its output, which the test shows when it fails."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The folder of an unpacked source distribution of this tree."""
    place = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, place / "tree", ignore=LEFT_OUT)
    run(sys.executable, "-c", BUILD, cwd=place / "tree")
    (archive,) = (place / "tree/dist").glob("uspnet-*.tar.gz")
    run("tar", "-xzf", archive, cwd=place)
    return place / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def python(unpacked):
    """Python of a virtual environment with the built package. What it depends on is ours."""
    place = unpacked.parent
    run(sys.executable, *PIP, "wheel", *OURS, "-w", place, unpacked, cwd=place)
    (wheel,) = place.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place)
    found = place / "venv/bin/python"
    run(sys.executable, *PIP, "--python", found, "install", "--no-deps", "--no-index", wheel,
        cwd=place)  # fmt: skip
    (packages,) = (place / "venv/lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return found


def test_nothing_is_missing_or_too_much(unpacked):
    """All that git knows is in it, and nothing that a build makes."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git work tree")
    known = set(run("git", "ls-files", cwd=ROOT).split())
    packed = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    missing = {name for name in known - packed if (ROOT / name).exists()}
    assert missing <= {".gitignore"}
    assert not [name for name in packed if name.endswith((".so", ".pyc", ".o", "_fastpath.c"))]


@pytest.mark.full
def test_what_is_installed_works(python):
    home = python.parent.parent
    command = [home / "bin/uspnet", "pktgen", "null:", "--count", "1000", "--json"]
    assert answer(run(*command, cwd=home))["sent"] == 1000
    where = Path(run(python, "-c", "import uspnet; print(*uspnet.__path__)", cwd=home).strip())
    assert home in where.parents
    for name in ("py.typed", "schema.json", "fastpath/_fastpath.pyi"):
        assert (where / name).is_file(), name
    assert (home / "share/man/man1/uspnet.1").is_file()
    assert (home / "share/doc/uspnet/uspnet.service").is_file()


@pytest.mark.full
def test_its_own_tests_pass(python, unpacked):
    """All are collected; a quick part of them is run, on the extension that was built."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    for built in (packages / "uspnet/fastpath").glob("*.so"):
        shutil.copy(built, unpacked / "uspnet/fastpath")
    pytest_ = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(*pytest_, "--collect-only", "tests", cwd=unpacked)
    run(*pytest_, *QUICK, cwd=unpacked)
