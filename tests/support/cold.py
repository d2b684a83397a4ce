# SPDX-License-Identifier: Apache-2.0
"""Cold upgrades by the command, and the results of a process that had some."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.waiting import scaled
from uspnet import __version__

NEWER = f"9.{__version__}"
SLOW = {"__init__.py": ("__version__ = ", "import time\n\ntime.sleep(2)\n__version__ = ")}


def upgrade(*words, enter=()):
    """Run the command. Return exit code, stdout, stderr."""
    done = subprocess.run(
        [*enter, sys.executable, "-m", "uspnet", "upgrade", *map(str, words)], cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=scaled(120),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def upgraded(job, *words, enter=(), waits=False):
    """Upgrade a job cold. Return what the command says."""
    code, out, err = upgrade(job.process.pid, "--cold", "--json", *words, enter=enter)
    assert code == 0, out + err
    assert "cold: the job stops for about" in err
    done = answer(out)
    assert done["kind"] == "cold"
    assert done["pid"] == job.process.pid
    assert done["gap_us"] is None if waits else done["gap_us"] > 0
    assert done["began"] is None if waits else done["began"] < time.time()
    assert done["expected_us"] > 0
    return done


def lives(result):
    """All results of a process."""
    return [*result["before"], result]


def total(result, name):
    return sum(each[name] for each in lives(result))
