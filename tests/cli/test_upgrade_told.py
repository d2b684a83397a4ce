# SPDX-License-Identifier: Apache-2.0
"""What `uspnet upgrade`, the job and `uspnet stats` say of an upgrade."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.cold import upgrade
from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.processes import children_named
from tests.support.waiting import scaled, until
from uspnet import __version__
from uspnet.fastpath import lib

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")


def test_a_job_that_waits_for_its_peer(started):
    job = started("pktgen", f"memif:@uspnet-nobody-{os.getpid()},role=server")
    until(lambda: upgrade(job.process.pid)[0] == 0, seconds=30)
    job.hears(f"upgraded: uspnet {__version__} → {__version__}")
    code, out, err = upgrade(job.process.pid)
    assert code == 0, err
    assert "no loop ran: the job waits for its peer, or its run is over" in out


def test_a_job_whose_run_is_over(started):
    job = started("pktgen", "null:", "--count", "1000", "--linger", "600").wait()
    until(lambda: job.count("tx_packets") == 1000)
    code, out, err = upgrade(job.process.pid)
    assert code == 0, err
    assert "warm, gap " in out or "no loop ran: " in out  # the loops may end just then
    job.hears("upgraded: ")
    code, out, err = upgrade(job.process.pid)
    assert code == 0, err
    assert "no loop ran: the job waits for its peer, or its run is over" in out
    assert job.end()["sent"] == 1000


@pytest.mark.full
def test_stats_count_them(job, uspnet):
    def counts():
        (row,) = answer(uspnet("stats", str(job.process.pid), "--json").stdout)["jobs"]
        return row["upgrades"], row["restarts"]

    assert counts() == (0, 0)
    assert upgrade(job.process.pid)[0] == 0
    until(lambda: counts() == (1, 0))
    (worker,) = children_named(job.process.pid, "uspnet-worker")
    os.kill(worker, signal.SIGKILL)
    until(lambda: counts() == (1, 1))
    shown = uspnet("stats", str(job.process.pid), "--once").stdout
    assert f"{job.process.pid}: upgrades 1, restarts 1" in shown


def test_a_current_folder_that_was_removed(job, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$2" -m uspnet upgrade "$3" --with foo'
    done = subprocess.run(
        ["sh", "-c", script, "sh", gone, sys.executable, str(job.process.pid)],
        capture_output=True, text=True, check=False, timeout=scaled(90),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "foo is relative to the current folder, which was removed" in done.stderr
    assert "hint: " in done.stderr
