# SPDX-License-Identifier: Apache-2.0
"""What every test does by the one helper that there is for it."""

from __future__ import annotations

import ast

import pytest

from tests.support.paths import ROOT

RUNS = {"pktgen", "capture", "fwd", "demo"}
FILES = sorted((ROOT / "tests").rglob("*.py"))


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_run_printed_is_checked(path):
    assert unchecked(path.read_text()) == [], "read it with answer() of tests/support/identity.py"


def test_a_file_that_does_not_check_is_found():
    bad = "import json\nr = json.loads(uspnet('fwd', 'null:', 'null:', '--json'))"
    assert unchecked(bad) == [2]
    assert unchecked(bad.replace("json.loads", "answer")) == []
