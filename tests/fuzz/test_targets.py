# SPDX-License-Identifier: Apache-2.0
"""Each fuzz target for a while: the same inputs in every run, or others for a minute
in tier `all`. What is found is saved under build/fuzz, and shown as it fails the test.
"""

from __future__ import annotations

import re

import pytest

from tests.fuzz.run import HERE, TARGETS, fuzz
from tests.support.tiers import by_tier

pytest.importorskip("atheris", reason="atheris is not installed")

RUNS = {"pcap": 4000, "memif": 1500, "board": 20_000, "spec": 20_000, "packet": 8000, "jobs": 8000}
A_WHILE = ["-max_total_time=60"]
CORPUS_BYTES = 200 << 10


def figure(name, text):
    """One of libFuzzer's final figures."""
    return int(re.search(rf"^stat::{name}: +(\d+)", text, re.MULTILINE)[1])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(target):
    least = RUNS[target] // by_tier(3, 1)
    runs = f"-runs={least}"
    done = fuzz(target, *by_tier(["-seed=1", runs], [runs], A_WHILE))
    assert done.returncode == 0, done.stdout[-6000:]
    assert figure("number_of_executed_units", done.stdout) >= least
    assert figure("new_units_added", done.stdout) >= 10  # coverage leads it on


def test_a_fault_is_found_saved_and_shown(tmp_path):
    """Without guidance, three options would take some 10^9 inputs."""
    done = fuzz("maze", "-seed=1", "-runs=200000", f"-artifact_prefix={tmp_path}/")
    assert done.returncode != 0
    (saved,) = tmp_path.iterdir()
    assert str(saved) in done.stdout
    assert "Base64: " in done.stdout
    again = fuzz("maze", str(saved))
    assert again.returncode != 0
    assert "AssertionError" in again.stdout


def test_the_corpora_are_small():
    files = [path for path in (HERE / "corpus").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(TARGETS)
    assert sum(path.stat().st_size for path in files) <= CORPUS_BYTES
