# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there: files, folders and headings; and their examples run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
import typer

from tests.support.captures import write_pcap
from tests.support.paths import ROOT
from uspnet.cli import app
from uspnet.cli.jobs_file.entries import read_entries

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
PLACE = re.compile(r"`((?:uspnet|fastpath|tests|docs|bench|tools|drivers|jobs|ports|cli|nic|pci"
                   r"|binding|telemetry|transports|packets|kernel|system)/[\w./-]*)`")  # fmt: skip

MADE = re.compile(r"every_second|counter_byte|foo\.|bench/results|<")  # by examples, or by hand


def anchors(path):
    """The headings of a page, as a forge names them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page):
    for name in PLACE.findall(page.read_text()):
        if MADE.search(name):
            continue
        found = [root / name for root in (ROOT, ROOT / "uspnet") if (root / name).exists()]
        assert found, f"{page.name}: {name}"


def test_the_library_example_runs(tmp_path):
    page = (ROOT / "docs" / "architecture.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    write_pcap(tmp_path / "in.pcapng", [bytes(60)] * 7)
    code = code.replace("memif:/tmp/m.sock", "null:")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


@pytest.mark.parametrize("page", ["docs/service.md", "uspnet/cli/supervise.py"])
def test_the_file_of_jobs_is_right(page, tmp_path):
    text = (ROOT / page).read_text()
    (found,) = re.findall(r"^( *)jobs:\n((?:\1 +.*\n)+)", text, re.MULTILINE)
    path = tmp_path / "jobs.yaml"
    path.write_text(f"jobs:\n{found[1]}".replace("cores: [1]", "cores: [0]"))
    assert [entry.name for entry in read_entries(str(path), typer.main.get_command(app))] == [
        "edge",
        "record",
    ]


def test_the_unit_is_right(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "uspnet"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "uspnet.service"
    text = (ROOT / "docs/uspnet.service").read_text()
    unit.write_text(text.replace("/usr/local/bin/uspnet", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
