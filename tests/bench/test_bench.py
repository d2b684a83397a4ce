# SPDX-License-Identifier: Apache-2.0
"""bench/: a contestant that dies costs a round, not the run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import run

    yield run
    for path in BENCH.glob("*.py"):  # their names are too short to stay
        sys.modules.pop(path.stem, None)


def contest(bench, fails):
    """A case whose rival fails in the given calls."""
    calls = iter(range(1000))

    def theirs(_seconds):
        if next(calls) in fails:
            raise bench.BenchError("testpmd has ended")
        return bench.Sample(1e6)

    return bench.Case("x", "x", 1, lambda _seconds: bench.Sample(2e6), theirs, "testpmd")


def test_a_round_whose_contestant_died_is_played_again(bench):
    from report import format_case

    result = bench.run_case(contest(bench, {1, 2}), 3, 0.1, None)
    assert len(result["rounds"]) == 3
    assert result["ratio"] == 2
    assert "2 rounds failed" in format_case(result)


def test_rounds_that_cant_be_had_are_left_out(bench):
    from report import format_case

    result = bench.run_case(contest(bench, set(range(4))), 3, 0.1, None)
    assert len(result["rounds"]) == 2
    result = bench.run_case(contest(bench, set(range(99))), 3, 0.1, None)
    assert "not measured: testpmd has ended" in format_case(result)
