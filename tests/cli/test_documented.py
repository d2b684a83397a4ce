# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/pktgen.md run as they are written, on ports that need nothing."""

from __future__ import annotations

import re
import shlex

import pytest
import typer
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from typer.testing import CliRunner

from tests.support.captures import write_pcap
from tests.support.identity import ran
from tests.support.paths import ROOT
from tests.support.waiting import until
from uspnet.cli import app

PAGE = (ROOT / "docs/pktgen.md").read_text()
LINES = [words for words in re.findall(r"`uspnet ([^`]+)`", PAGE) if " " in words]
WITH_FILES = re.compile("^plot |--profile")  # which aren't here
COMMANDS = [words for words in LINES if not WITH_FILES.search(words)]
GROUP = typer.main.get_command(app)


@pytest.fixture
def job_of(monkeypatch, tmp_path):
    """Makes the job of a command line, on `null:`, without running it."""
    conversation = Ether(src="02:00:00:00:00:01") / IP(src="10.0.0.1", dst="1.2.3.4")
    write_pcap(tmp_path / "in.pcap", [bytes(conversation / TCP(dport=443) / bytes(26))] * 8)
    monkeypatch.chdir(tmp_path)
    made = []
    monkeypatch.setattr("uspnet.cli.run.run", lambda job, *_: made.append(job))

    def make(words):
        done = CliRunner().invoke(app, words)
        assert not done.exception, (words, done.exception, done.output)
        return made.pop()

    return make


def on_null(line):
    """The words of a command with ports that are there. Two that differ stay two."""
    for name, port in (
        ("PORT", "null:"),
        ("packet:eth1", "null:"),
        ("packet:eth2", "null:size=64"),
    ):
        line = re.sub(rf"\b{name}\b", port, line)
    return shlex.split(re.sub(r"--cores \S+", "--cores 0", line))


def test_there_are_commands_of_every_kind():
    assert len(COMMANDS) > 30
    for word in ("--packet", "--vary", "--ramp", "--replay", "--rx-port", "--plot", "--lost"):
        assert any(word in line for line in COMMANDS), word


@pytest.mark.parametrize("line", COMMANDS, ids=range(len(COMMANDS)))
def test_a_documented_command_runs(job_of, line):
    job = job_of([*on_null(line), "--in-process"])
    job.limits.duration, job.limits.confine, job.limits.control = 60, False, False
    with job:
        job.start()
        until(lambda: job.wait(0.1) or job.total("tx", "packets"))
        job.stop(hurry=True)
        job.wait()
        result = ran(job.result())
        job.check(result)
    moved = result.reflected if line.startswith("reflect") else result.sent
    assert moved > 0, line


def test_every_other_command_is_parsed():
    others = [shlex.split(line) for line in LINES if line not in COMMANDS]
    assert others
    for name, *words in others:
        GROUP.commands[name].make_context(name, words)


def test_options_named_in_the_text_exist():
    known = {each for command in ("pktgen", "reflect") for p in GROUP.commands[command].params
             for each in (*p.opts, *p.secondary_opts)}  # fmt: skip
    assert set(re.findall(r"--[a-z][a-z-]*", " ".join(COMMANDS))) <= known
    prose = re.findall(r"`(--(?:swap|all|rx-port|dry-run|json)[^`]*)`", PAGE)
    assert {each.split()[0] for each in prose} <= known
    assert len(prose) >= 5
