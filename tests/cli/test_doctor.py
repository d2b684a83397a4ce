# SPDX-License-Identifier: Apache-2.0
"""`uspnet doctor`: problems are named with what mends them, and only they fail."""

from __future__ import annotations

import json

import pytest


def rows(result):
    return {row["check"]: row for row in json.loads(result.stdout)["checks"]}


def test_this_machine_can_run_null(uspnet):
    result = uspnet("doctor", "null:")
    assert result.returncode == 0, result.stdout
    assert "no problem" in result.stdout


@pytest.mark.parametrize(
    ("port", "mend"),
    [("lan1", "packet:lan1"), ("nonsense:", "null:"), ("memif:/none/m.sock,role=server", "/none")],
)
def test_a_port_that_will_not_open_is_a_problem(uspnet, port, mend):
    result = uspnet("doctor", port, "--json")
    row = rows(result)[port]
    assert result.returncode == 1
    assert row["state"] == "problem"
    assert mend in row["mend"]


def test_a_look_at_a_port_leaves_nothing(uspnet, tmp_path):
    port = f"memif:{tmp_path}/m.sock,role=server"
    assert uspnet("doctor", port).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_only_missing_is_a_note_with_a_command(uspnet):
    for row in rows(uspnet("doctor", "--json")).values():
        assert row["found"]
        if row["state"] == "problem":
            assert row["mend"]
