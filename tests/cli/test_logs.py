# SPDX-License-Identifier: Apache-2.0
"""The log of `uspnet run`, and the table above it."""

from __future__ import annotations

import os
import re

import pytest

from tests.support.screen import HEIGHT, WIDTHS, check
from uspnet.cli.logs import Log, LogLevel, format_line, is_journal
from uspnet.cli.views.jobs import HOW_TO_STOP, format_jobs
from uspnet.jobs.supervise.entry import Entry, Level
from uspnet.jobs.supervise.supervised import Supervised


def test_a_line_has_time_level_job_and_text():
    line = format_line(Level.warning, "edge", "ended", is_journal=False)
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d WARNING edge: ended"
    assert re.fullmatch(pattern, line)
    assert format_line(Level.error, "edge", "ended", is_journal=True) == "<3>ERROR edge: ended"


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2Jb", "a\rb", "a\u202eb", "a\udcffb", "a\x9bb"])
def test_no_control_character_is_written(text):
    line = format_line(Level.info, "edge", text, is_journal=True)
    assert re.fullmatch(r"<6>INFO edge: a\\\w+.*b", line)
    assert line.isprintable()


def test_a_long_text_is_cut():
    assert len(format_line(Level.info, "edge", "x" * 100_000, is_journal=True)) < 5000


@pytest.mark.parametrize("least", LogLevel)
def test_levels(least):
    lines = []
    log = Log(least, {})
    log.print = lines.append
    for level in Level:
        log(level, "a", "text")
    names = [line.split()[1].lower() for line in lines]
    assert names == ["error", "warning", "info", "debug"][: len(names)]
    assert names[-1] == least


def test_the_journal_is_known_by_its_inode(tmp_path):
    with open(tmp_path / "x", "w") as file:
        status = os.fstat(file.fileno())
        assert is_journal(f"{status.st_dev}:{status.st_ino}", file.fileno())
        assert not is_journal(f"{status.st_dev}:{status.st_ino + 1}", file.fileno())
        assert not is_journal("", file.fileno())
    assert not is_journal("1:2", 1 << 20)


def supervised(number, state):
    entry = Entry(f"job-{number}-with-a-name-of-32-letters"[:32], "capture", ())
    made = Supervised(entry, lambda *_: None)
    made.state, made.restarts = state, 12_345
    made.exit_codes.append(1)
    made.cause = "DeviceFault: packet:eth1: the interface is gone, and so are its packets"
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 5, 64])
def test_the_table_fits(count, width):
    jobs = [supervised(number, "restarting") for number in range(count)]
    lines = format_jobs(jobs, width, HEIGHT)
    assert len(lines) <= HEIGHT
    check(lines, width, ["uspnet run", "job-0-with", "restarting", "12345", HOW_TO_STOP])
