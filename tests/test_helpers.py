# SPDX-License-Identifier: Apache-2.0
"""What every test does by the one helper that there is for it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.paths import ROOT

RUNS = {"pktgen", "capture", "fwd", "attach", "reflect", "demo"}
FILES = sorted((ROOT / "tests").rglob("*.py"))
EACH = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
LONG_S = 5  # what is shorter is meant to run out
CLOCK = re.compile(r"time\.(monotonic|process_time|perf_counter)\(|elapsed_s|active_s")


def unchecked(text):
    """The lines of a file of tests that read what a run printed without tests/support/identity.py:
    all that call json.loads, where the file has a run print JSON.
    """
    nodes = list(ast.walk(ast.parse(text)))
    words = {node.value for node in nodes if isinstance(node, ast.Constant)}
    texts = " ".join(word for word in words if isinstance(word, str))
    if "--json" not in texts or not RUNS & {*texts.split()}:
        return []
    return [
        node.lineno
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads"
    ]


def fixed_deadlines(text):
    """The lines of a file of tests with a time limit that does not grow on a busy machine."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and node.arg == "timeout":
            limit = getattr(node.value, "value", None)
            if isinstance(limit, int | float) and limit >= LONG_S:
                found.append(node.value.lineno)
        elif isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
            left, right = ast.unparse(node.test.left), ast.unparse(node.test.comparators[0])
            is_upper = isinstance(node.test.ops[0], ast.Lt | ast.LtE)
            if is_upper and CLOCK.search(left) and "scaled(" not in right:
                found.append(node.lineno)
    return sorted(found)


@EACH
def test_time_limits_grow_on_a_busy_machine(path):
    assert fixed_deadlines(path.read_text()) == [], "take one of tests/support/waiting.py"


def test_a_fixed_deadline_is_found():
    bad = "run(timeout=60)\nassert time.monotonic() - start < 1\nassert r['elapsed_s'] < 15"
    assert fixed_deadlines(bad) == [1, 2, 3]
    good = "run(timeout=scaled(60))\nwait(timeout=0.1)\nassert time.monotonic() - start >= 0.3"
    assert fixed_deadlines(good) == []


@EACH
def test_what_a_run_printed_is_checked(path):
    assert unchecked(path.read_text()) == [], "read it with answer() of tests/support/identity.py"


def test_a_file_that_does_not_check_is_found():
    bad = "import json\nr = json.loads(uspnet('fwd', 'null:', 'null:', '--json'))"
    assert unchecked(bad) == [2]
    assert unchecked(bad.replace("json.loads", "answer")) == []
