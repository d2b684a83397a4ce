# SPDX-License-Identifier: Apache-2.0
"""Whatever the standard streams are, a job does its work, and no mistake shows a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.identity import answer
from tests.support.tiers import by_tier
from tests.support.waiting import scaled

COMMAND = [sys.executable, "-m", "uspnet"]
JOB = ["pktgen", "null:", "--rate", "1000", "--duration", "1.2", "--poll", "sleep", "-v"]
NAME = os.fsencode("Grüße-\N{SNOWMAN}") + b"-\xff\x1b[31m.pcap"


def run(*words, **more):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([*COMMAND, *words], check=False, timeout=scaled(60), **{**pipes, **more})


def test_a_job_survives_a_stderr_that_is_full():
    with open("/dev/full", "wb") as full:
        result = run(*JOB, stderr=full)
    assert result.returncode == 0
    assert result.stdout.startswith(b"sent ")


def test_a_job_survives_a_stderr_that_nobody_reads():
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        assert run(*JOB, stderr=theirs).returncode == 0
    finally:
        os.close(theirs)


@pytest.mark.parametrize(
    ("words", "code"), [(JOB, 1), (["pktgen", "nonsense:"], 2), (["--help"], 1)]
)
def test_a_full_stdout_or_stderr_shows_no_traceback(words, code):
    with open("/dev/full", "wb") as full:
        result = run(*words, stdout=full)
        assert b"Traceback" not in result.stderr
        assert result.returncode == code
        assert run(*words, stdout=full, stderr=full).returncode == code


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_files_of_a_job(tmp_path, closed):
    words = [*COMMAND, "capture", "null:", "--count", "5", "-v", "-w", str(tmp_path / "x.pcap")]
    result = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *words],
        capture_output=True,
        check=False,
        timeout=scaled(60),
    )
    assert result.returncode == 0, result.stderr
    data = (tmp_path / "x.pcap").read_bytes()
    assert b"received" not in data
    assert b"worker" not in data


def test_packets_go_to_no_stdout_that_is_closed():
    words = [*COMMAND, "capture", "null:", "--count", "5", "-w", "-"]
    result = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *words], capture_output=True, check=False, timeout=scaled(60)
    )
    assert result.returncode == 2
    assert result.stderr.startswith(b"uspnet: stdout is closed\n  hint: ")


ENCODINGS = {
    "c": {"LC_ALL": "C"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict": {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
    "latin": {"PYTHONIOENCODING": "latin-1"},
    "bare": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "utf-8": {"LC_ALL": "C.UTF-8"},
}


@pytest.mark.parametrize("encoding", by_tier(["strict", "bare"], [*ENCODINGS]))
def test_names_in_any_encoding_pass_on_every_stream(tmp_path, encoding):
    environment = {**os.environ, **ENCODINGS[encoding]}
    path = os.path.join(os.fsencode(tmp_path), NAME)
    result = run("capture", "null:", "--count", "3", "-w", path, env=environment)
    assert (result.returncode, result.stderr) == (0, b"")
    assert path[-5:] in result.stdout
    assert b"\x1b" not in result.stdout
    assert os.path.exists(path)
    found = answer(run("capture", "null:", "-c", "3", "-w", path, "--json").stdout)
    assert os.fsencode(found["files"][0]) == path
    for words in (["pktgen", b"pcap:" + path + b"/x"], ["read-me\xff"], ["doctor", NAME], ["demo"]):
        result = run(*words, env=environment) if words != ["demo"] else run("--help")
        assert b"Traceback" not in result.stderr, result.stderr
        assert b"\x1b" not in result.stderr + result.stdout


@pytest.mark.full
def test_a_folder_that_was_removed_stops_nothing(tmp_path):
    gone = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh"]
    uspnet = os.path.join(os.path.dirname(sys.executable), "uspnet")
    jobs = [
        (0, ["capture", "null:", "--count", "5", "-w", str(tmp_path / "x.pcap")]),
        (0, ["demo", "--count", "500", "-w", str(tmp_path / "d.pcapng")]),
        (1, ["capture", "null:", "--count", "5", "-w", "x.pcap"]),
        (1, ["fwd", "pcap:x.pcap", "null:"]),
        (0, ["stats", "--once"]),
        (2, ["pktgen", "nonsense:"]),
    ]
    for code, words in jobs:
        (tmp_path / "here").mkdir()
        done = subprocess.run(
            [*gone, uspnet, *words], cwd=tmp_path / "here", capture_output=True, check=False,
            timeout=scaled(90),
        )  # fmt: skip
        assert done.returncode == code, (words, done.stderr)
        assert b"Traceback" not in done.stderr, done.stderr


NO_NULL = 'mount -t tmpfs none /dev && exec "$@"'


@pytest.mark.full
def test_without_the_null_device_everything_works(tmp_path):
    lone = ["unshare", "--mount", "sh", "-c", NO_NULL, "sh"]
    if subprocess.run([*lone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root: for a namespace without devices")
    words = [*COMMAND, "demo", "--count", "500", "--json", "-w", str(tmp_path / "x.pcapng")]
    result = subprocess.run([*lone, *words], capture_output=True, check=False, timeout=scaled(90))
    assert result.returncode == 0, result.stderr
    assert answer(result.stdout)["lost"] == 0
    closed = f"{NO_NULL} <&- >&- 2>&-"
    words = [*COMMAND, "pktgen", "null:", "--count", "5"]
    command = ["unshare", "--mount", "sh", "-c", closed, "sh", *words]
    assert subprocess.run(command, check=False, timeout=scaled(60)).returncode == 0


def test_an_interface_may_have_any_name(namespace):
    name = os.fsdecode(b"\xff\xfe\x1b[31m")
    namespace.veth(name, "far")
    sent = namespace.uspnet("pktgen", f"packet:{name}", "--count", "5", "--json")
    (port,) = answer(sent.stdout)["ports"]
    assert (port["port"], port["tx_packets"]) == (f"packet:{name}", 5)
    seen = namespace.uspnet("capture", f"packet:{name}", "--duration", "0.3")
    assert "\\xff\\xfe\\x1b[31m" in seen.stdout
    assert "\x1b" not in seen.stdout
    asked = namespace.uspnet("doctor", name, check=False)
    assert (asked.returncode, asked.stderr) == (1, "")
    assert "packet:\\xff\\xfe" in asked.stdout
    assert namespace.uspnet("devices", check=False).stderr == ""
