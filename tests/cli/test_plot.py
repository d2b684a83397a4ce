# SPDX-License-Identifier: Apache-2.0
"""`uspnet plot`: saved latencies, their percentiles, and an image of several runs."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.support.identity import answer
from uspnet.telemetry.hdr import log_head, log_line


@pytest.fixture
def logs(tmp_path):
    """Two files: ten latencies of 100 ns, and one of 5 ns, twice; names that need care."""
    fast, slow = tmp_path / "a<b>.hdr", tmp_path / "slow.hdr"
    slow.write_text(log_head(1e9) + log_line(1e9, 1.0, 100, [0] * 100 + [10]))
    part = log_head(1e9) + log_line(1e9, 1.0, 5, [0] * 5 + [1])
    fast.write_text(part + part)
    return [str(slow), str(fast)]


def test_percentiles_are_printed(uspnet, logs):
    shown = uspnet("plot", *logs)
    assert (shown.returncode, shown.stderr) == (0, "")
    slow, fast = shown.stdout.splitlines()
    told = ", ".join(f"{name} 100 ns" for name in ("p50", "p90", "p99", "p99.9", "max"))
    assert slow == f"{logs[0]}  10 packets, {told}"
    assert fast.startswith(f"{logs[1]}  2 packets, p50 5 ns")


def test_an_image_has_a_line_for_each_file(uspnet, logs, tmp_path):
    image = tmp_path / "x.svg"
    found = answer(uspnet("plot", *logs, "-o", str(image), "--json").stdout)
    assert [(each["packets"], each["latency_ns"]["max"]) for each in found["logs"]] == [
        (10, 100),
        (2, 5),
    ]
    assert found["written"] == str(image)
    texts = [each.text for each in ET.parse(image).iter()]
    assert {*logs, "Latency by percentile", "ns"} <= {*texts}


def test_it_says_where_the_image_is(uspnet, logs, tmp_path):
    image = tmp_path / "x.svg"
    shown = uspnet("plot", *logs, "-o", str(image))
    assert shown.stdout.splitlines()[2:] == [f"wrote {image}"]
    assert image.read_text().startswith("<")


def test_a_file_of_stdin_that_is_empty_is_no_log(uspnet):
    found = answer(uspnet("plot", "-", "--json").stdout)
    assert (found["error"], found["message"]) == ("Malformed", "-: there is no histogram in it")


WRONG = [
    (["plot"], 2, "FILE"),
    (["plot", "/nowhere.hdr"], 1, "No such file"),
    (["plot", "{}"], 2, "directory"),
    (["plot", "/etc/hostname"], 1, "line 1: it is no interval of a log"),
    (["plot", "-", "LOG", "-"], 2, "stdin can be read once"),
    (["plot", "LOG", "-o", "x.gif"], 2, ".svg or .png"),
    (["plot", "LOG", "-o", "-"], 2, "not to stdout"),
    (["plot", "LOG", "-o", "/nowhere/x.svg"], 1, "/nowhere/x.svg"),
]


@pytest.mark.parametrize(("words", "code", "text"), WRONG)
def test_what_is_wrong_is_named(uspnet, logs, tmp_path, words, code, text):
    done = uspnet(*(word.format(tmp_path).replace("LOG", logs[0]) for word in words))
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not [*tmp_path.glob("*.svg")]
