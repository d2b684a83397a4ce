# SPDX-License-Identifier: Apache-2.0
"""A copy of the tree, built with the toys of this folder, and with a hook in its loops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.once import made_once
from tests.support.paths import ROOT
from tests.support.waiting import scaled
from tests.toys.attempt import EDITS

HERE = Path(__file__).resolve().parent
PLACES = {
    "every_second.c": "fastpath/loops",
    "every_second.py": "jobs/forward",
    "tee.c": "fastpath/loops",
    "tee.py": "jobs/forward",
    "attempt.py": "",
    "counter_byte.c": "fastpath/fields",
    "counter_byte.py": "packets/fields",
    "toy_nic.py": "drivers",
    "wild.c": "fastpath/rings",
    "wild.py": "ports",
}


def build(place):
    """Make the tree with the toys in it in a folder."""
    shutil.copytree(ROOT / "uspnet", place / "uspnet", ignore=shutil.ignore_patterns("*.so"))
    for name, folder in PLACES.items():
        (place / "uspnet" / folder).mkdir(exist_ok=True)
        shutil.copy(HERE / name, place / "uspnet" / folder)
    for name, (old, new) in EDITS.items():
        path = place / "uspnet" / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    quick = {**os.environ, "USPNET_CFLAGS": "-O1"}
    subprocess.run([sys.executable, place / "uspnet/fastpath/build.py"], check=True, env=quick)


@pytest.fixture(scope="session")
def toys(request, tmp_path_factory):
    """toys(*words) runs Python on the tree with the toys in it; the JSON object that it printed.
    `code`: its exit code; others are environment variables; toys.said is what it wrote to stderr
    last. toys.begin(*words) starts uspnet."""
    place = made_once(request.config, tmp_path_factory, "toys", build)

    def run(*words, code=0, **environment):
        done = subprocess.run(
            [sys.executable, *map(str, words)], cwd=place, capture_output=True, text=True,
            check=False, timeout=scaled(60), env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        run.said = done.stderr
        return answer(done.stdout)

    def begin(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "uspnet", *map(str, words), "--json"],
            cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    run.place, run.begin = place, begin
    return run
