# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from textwrap import shorten

import pytest

from tests.support.attached import attached  # noqa: F401 - a fixture
from tests.support.cable_end import far  # noqa: F401 - a fixture
from tests.support.harness import make_frames, qemu, station  # noqa: F401 - fixtures
from tests.support.interfaces import drive, frames, read_frames, tcpdump  # noqa: F401 - fixtures
from tests.support.lanes import (  # noqa: F401 - hooks
    pytest_configure,
    pytest_xdist_make_scheduler,
)
from tests.support.namespaces import namespace, namespaces  # noqa: F401 - fixtures
from tests.support.paths import ROOT
from tests.support.sanitizers import sanitized  # noqa: F401 - a fixture
from tests.support.testpmd import huge_pages, testpmd  # noqa: F401 - fixtures
from tests.support.tiers import (  # noqa: F401 - a hook
    NAMES,
    TIER,
    pytest_collection_modifyitems,
)
from tests.support.upgrading import (  # noqa: F401 - fixtures
    foreign,
    incompatible,
    newer,
    reachable,
    without,
)
from tests.support.waiting import until
from tests.support.warm import Warm
from uspnet.memory import new

DETAIL_COLUMNS = 100
UNPACKED_QEMU = ROOT / "build/qemu/bin/qemu-system-x86_64"  # by tools/qemu.sh
if UNPACKED_QEMU.exists():
    os.environ.setdefault("USPNET_QEMU", str(UNPACKED_QEMU))
# A shell ignores these for what it runs in the background, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup, and we go on as it has it
    signal.signal(signal.SIGHUP, lambda *_: None)
new("uint32_t *")  # opens the memory of C structs, which stays: tests count descriptors


def pytest_report_header():
    others = ", ".join(name for name in NAMES if name != TIER)
    return f"tier: {TIER} (USPNET_FULL chooses; the others: {others})"


def pytest_terminal_summary(terminalreporter):
    """Say what this machine could not run: one line a cause. A reason is `CAUSE: DETAIL`."""
    causes: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[-1]).removeprefix("Skipped: ")  # after its file and line
        cause, _, detail = reason.partition(": ")
        causes.setdefault(cause, []).append(detail)
    if causes:
        terminalreporter.section("not run here")
    for cause, details in sorted(causes.items(), key=lambda each: -len(each[1])):
        shown = shorten("; ".join(sorted({*details} - {""})), DETAIL_COLUMNS, placeholder=" …")
        terminalreporter.write_line(f"{len(details):5} x {cause}{': ' * bool(shown)}{shown}")


@pytest.fixture
def open_folder():
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def warm():
    """Starts commands in a moment."""
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
def needs():
    """Skips the test when a program is missing: `needs("tcpdump")`."""

    def check(program):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")

    return check
