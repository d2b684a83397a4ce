# SPDX-License-Identifier: Apache-2.0
"""The files for a forge, for pre-commit and for editors: they parse, and name what exists."""

from __future__ import annotations

import configparser
import os
import re
import tomllib

import yaml

from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RULE = re.compile(r"^([\w -]+):(?!=)", re.MULTILINE)


def read(path):
    return yaml.safe_load(path.read_text())


def targets():
    """The Makefile's targets."""
    return {
        name for names in RULE.findall((ROOT / "Makefile").read_text()) for name in names.split()
    }


def commands(workflow):
    """What its steps run, line by line."""
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def test_the_commands_of_the_workflows_are_there():
    found = [line for path in WORKFLOWS for line in commands(read(path))]
    made = {line.split()[1] for line in found if line.startswith("make ")}
    assert made >= {"demo", "check-build"}
    assert made <= targets()
    scripts = {line.split()[0] for line in found if line.startswith(".")}
    assert scripts == {".ci/run"}
    assert all(os.access(ROOT / name, os.X_OK) for name in scripts)


def test_the_matrix_is_what_the_package_promises():
    matrix = read(ROOT / ".github/workflows/ci.yml")["jobs"]["build"]["strategy"]["matrix"]
    assert matrix["release"] == ["bookworm", "trixie"]
    assert matrix["compiler"] == ["gcc", "clang"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: 3."
    promised = [word for word in project["classifiers"] if word.startswith(prefix)]
    assert matrix["python"] == [word.rpartition(" ")[2] for word in promised]
    assert project["requires-python"] == f">={matrix['python'][0]}"


def test_pre_commit_runs_what_lint_runs():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    hooks = [
        hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]
    assert len(hooks) >= 5
    for hook in hooks:
        words = hook["entry"].split()
        program = words[0].removeprefix(".venv/bin/")
        assert program in {"python", "clang-format"} or f".venv/bin/{program}" in lint
        assert all((ROOT / word).exists() for word in words if word.startswith("tools/"))


def test_editors_are_told_the_line_length():
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert int(parser["*"]["max_line_length"]) == ruff["line-length"]
    assert parser["Makefile"]["indent_style"] == "tab"
