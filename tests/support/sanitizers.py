# SPDX-License-Identifier: Apache-2.0
"""uspnet built with AddressSanitizer and UBSan, once for all tests of a run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lanes import divided
from tests.support.waiting import scaled

ROOT = Path(__file__).resolve().parents[2]
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"


def library(name):
    """The full path of one of gcc's libraries; its bare name when there is none."""
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


class Sanitized:
    """The build, in a folder of its own, with the tests beside it; of processes that share the
    tests, the first that needs it makes it.
    """

    def __init__(self, place):
        self.place = place
        self.libraries = [library("libasan.so"), library("libubsan.so")]
        if not all(os.path.isabs(path) for path in self.libraries):
            pytest.skip("gcc is not installed: with libasan and libubsan")
        with (place.parent / "sanitized.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                self._build(place.with_suffix(".making"))

    def _build(self, place):
        clean = shutil.ignore_patterns("*.so", "*.o", "__pycache__")
        for name in ("uspnet", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=clean)
        shutil.copy(ROOT / "pyproject.toml", place)
        build = [sys.executable, str(place / "uspnet/fastpath/build.py")]
        subprocess.run(build, check=True, env={**os.environ, "USPNET_CFLAGS": SANITIZE})
        place.rename(self.place)

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
    base = tmp_path_factory.getbasetemp()
    return Sanitized((base.parent if divided(request.config) else base) / "sanitized")
