# SPDX-License-Identifier: Apache-2.0
"""uspnet built with AddressSanitizer and UBSan, once for all tests of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.once import made_once
from tests.support.waiting import scaled

ROOT = Path(__file__).resolve().parents[2]
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"


def library(name):
    """The full path of one of gcc's libraries; its bare name when there is none."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def build(place):
    """Make the build in a folder, with the tests beside it."""
    clean = shutil.ignore_patterns("*.so", "*.o", "__pycache__")
    for name in ("uspnet", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=clean)
    shutil.copy(ROOT / "pyproject.toml", place)
    command = [sys.executable, str(place / "uspnet/fastpath/build.py")]
    subprocess.run(command, check=True, env={**os.environ, "USPNET_CFLAGS": SANITIZE})


class Sanitized:
    """The build in its folder. `libraries`: those that programs need in front of others."""

    def __init__(self, place, libraries):
        self.place, self.libraries = place, libraries

    def python(self, *words, limit_s=240):
        """Runs Python; the process, with text in stdout and stderr."""
        env = {
            **os.environ,
            "LD_PRELOAD": " ".join(self.libraries),
            "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=8",
            "PYTHONMALLOC": "malloc",  # what cffi allocates is watched, too
            "PYTHONPATH": str(self.place),
        }
        return subprocess.run(
            [sys.executable, *map(str, words)],
            env=env,
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=scaled(limit_s),
            check=False,
        )

    def __call__(self, script, *args, limit_s=240):
        """Runs a program of tests/support/memif; what it printed."""
        done = self.python(self.place / "tests/support/memif" / script, *args, limit_s=limit_s)
        assert done.returncode == 0, done.stderr[-4000:] + done.stdout
        return done.stdout


@pytest.fixture(scope="session")
def sanitized(request, tmp_path_factory):
    """Runs Python programs on a build with AddressSanitizer and UBSan."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    libraries = [library("libasan.so"), library("libubsan.so")]
    if not all(os.path.isabs(path) for path in libraries):
        pytest.skip("gcc is not installed: with libasan and libubsan")
    return Sanitized(made_once(request.config, tmp_path_factory, "sanitized", build), libraries)
