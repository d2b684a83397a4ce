# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there: files, folders and headings; and their examples run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.captures import write_pcap
from tests.support.paths import ROOT

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
