# SPDX-License-Identifier: Apache-2.0
"""The fork server that a command starts before it has read its own words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import alive
from tests.support.waiting import until
from uspnet.fastpath import lib
from uspnet.process import early
from uspnet.system import kept

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
SAYS = (
    "from uspnet.process import early; early.begin(['fwd']); print(early._begun[0].pid, flush=True)"
)


def begun(words):
    """How many are begun for these words; they end at once."""
    early.begin(words)
    left, early._begun[:] = [*early._begun], []
    for each in left:
        each.close()
    return len(left)


def test_a_job_takes_the_one_that_was_begun_once():
    early.begin(["fwd", "null:", "null:"])
    (begun,) = early._begun
    first, second = early.server(), early.server()
    assert first is begun
    assert second is not begun
    for each in (first, second):
        each.close()


@pytest.mark.parametrize(
    "words",
    [[], ["stats"], ["read", "x.pcapng"], ["fwd", "--in-process", "null:"], ["pktgen", "-h"]],
)
def test_what_runs_no_job_in_a_process_of_its_own_begins_none(words):
    assert not begun(words)


def test_a_command_that_goes_on_for_another_version_has_one(monkeypatch):
    monkeypatch.setenv(kept.VARIABLE, "5")
    assert not begun(["fwd"])


def test_one_that_nobody_takes_ends_with_the_command():
    done = subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True)
    until(lambda: not alive(int(done.stdout)))
