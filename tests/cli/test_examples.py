# SPDX-License-Identifier: Apache-2.0
"""`pktgen --example`: what it prints runs as it is."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from tests.support.identity import answer
from tests.support.waiting import scaled
from uspnet.cli.examples import LINES, NAMES, example_of

# Runs several command lines in one process, since each would spend seconds on importing Scapy.
RUNS = """
import json, sys
from uspnet.cli import main
codes = []
for words in json.loads(sys.stdin.read()):
    sys.argv = ["uspnet", *words]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code or 0)
    else:
        codes.append(0)
print(json.dumps(codes), file=sys.stderr)
"""


def test_every_example_sends_packets(tmp_path):
    (tmp_path / "profile.yaml").write_text(example_of("profile", None))
    given = {name: shlex.split(example_of(name, "null:"), comments=True)[1:] for name in LINES}
    given["profile"] = ["pktgen", "null:", "--profile", str(tmp_path / "profile.yaml")]
    ends = {name: ["--duration", "3.01"] if name == "profile" else ["-c", "100"] for name in given}
    dry = ["--dry-run", "--json", "--in-process", "-w", str(tmp_path / "x.pcapng")]
    lines = [[*given[name], *dry, *ends[name]] for name in NAMES]
    done = subprocess.run([sys.executable, "-c", RUNS], input=json.dumps(lines), text=True,
                          capture_output=True, check=False, timeout=scaled(120))  # fmt: skip
    assert done.stderr.splitlines()[-1] == str([0] * len(NAMES)), done.stderr
    results = dict(zip(NAMES, map(answer, done.stdout.splitlines()), strict=True))
    sent = {name: each["sent"] for name, each in results.items()}
    streams = {each["name"]: each["sent"] for each in results["profile"]["streams"]}
    assert set(sent.values()) == {100, sum(streams.values())}
    assert all(streams.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_port_that_is_given_is_in_it(name):
    text = example_of(name, "memif:/run/m.sock")
    assert "memif:/run/m.sock" in text
    assert "PORT" not in text


def test_without_a_port_it_says_where_one_belongs(uspnet):
    result = uspnet("pktgen", "--example", "syn")
    assert result.returncode == 0, result.stderr
    assert result.stdout == example_of("syn", None) + "\n"
    assert "uspnet pktgen PORT --packet" in result.stdout


def test_a_name_that_is_none_is_answered_with_one(uspnet):
    result = uspnet("pktgen", "--example", "imax")
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean imix?" in result.stderr


@pytest.mark.parametrize("word", ["--json", "--count=5"])
def test_what_is_printed_takes_no_further_options(uspnet, word):
    result = uspnet("pktgen", "--example", "syn", word)
    assert result.returncode == 2
    assert f"{word.partition('=')[0]} conflicts with --example" in result.stdout + result.stderr
