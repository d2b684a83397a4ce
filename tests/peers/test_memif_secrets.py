# SPDX-License-Identifier: Apache-2.0
"""Passwords: where they come from, and that nobody gets to see one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import scaled, until
from uspnet.errors import Usage, UspnetError
from uspnet.ports.registry import make_port

WORD = "sesame"
SPECS = [
    rf"memif:/nowhere/x,secret={WORD}\,{WORD}",
    f"memif:/nowhere/x,secret={WORD},{WORD}",
    f"memif:/nowhere/x,secret={WORD},{WORD}=1",
    f"memif:/nowhere/x,sceret={WORD}",
    f"memif:/nowhere/x,Secret={WORD}",
    f"memif:/nowhere/x,secret ={WORD}",
    f"memif:/nowhere/x,sekrit={WORD}",
    f"memif:/nowhere/x,secret={WORD * 9}",
    f"memif:/nowhere/x,secret={WORD},secret={WORD}",
    f"memif:/nowhere/x,secret={WORD},ring=3",
    f"memif:/nowhere/x,ring=3,secret={WORD}",
    f"memif:/nowhere/x,secret={WORD},role=master",
    f"memif:secret={WORD}",
    f"memfi:/nowhere/x,secret={WORD}",
    f"secret={WORD}",
]


def try_it(spec):
    port = make_port(spec)
    port.start()
    port.give_up_at = 0
    port.control()


@pytest.mark.parametrize("spec", SPECS)
def test_no_message_of_a_spec_shows_a_secret(spec):
    with pytest.raises(UspnetError) as caught:
        try_it(spec)
    assert WORD not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "words",
    [
        ["pktgen", SPECS[0], "-v", "--duration", "0.1"],
        ["pktgen", SPECS[1], "--json"],
        ["pktgen", "null:", SPECS[0]],
        ["fwd", SPECS[0], SPECS[1]],
        ["doctor", SPECS[0]],
        ["pktgen", "null:", f"--secret={WORD}"],
    ],
)
def test_no_command_shows_a_secret(words):
    run = subprocess.run(
        [sys.executable, "-m", "uspnet", *words],
        capture_output=True, text=True, check=False, timeout=scaled(60),
    )  # fmt: skip
    assert WORD not in run.stdout + run.stderr, run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_runs_shows_no_secret(uspnet, tmp_path):
    path, file = tmp_path / "m", tmp_path / "out.pcapng"
    job = uspnet("capture", rf"memif:{path},role=server,secret={WORD}\,b", "-w", file)
    until(path.exists)
    source = uspnet("pktgen", rf"memif:{path},secret={WORD}\,b", "--count", 10)
    assert source.result()["sent"] == 10
    until(lambda: job.counter("rx_packets") == 10)
    stats = [sys.executable, "-m", "uspnet", "stats", "--once"]
    for words in (stats, [*stats, "--json"]):
        assert WORD not in subprocess.check_output(words, text=True)
    for kind in ("cmdline", "comm", "status"):
        assert WORD not in Path(f"/proc/{job.pid}/{kind}").read_text()
    result = job.interrupt()
    assert result["received"] == 10
    assert WORD not in str(result)
    assert WORD.encode() not in file.read_bytes()


def test_a_secret_may_come_from_a_file(uspnet, tmp_path):
    path, file = tmp_path / "m", tmp_path / "password"
    file.write_text(f"{WORD}, and more\nnot this\n")
    job = uspnet("capture", f"memif:{path},role=server,secret-file={file}", "--count", 10)
    until(path.exists)
    assert uspnet("pktgen", f"memif:{path},secret=x").result()["error"] == "PeerFault"
    good = uspnet("pktgen", rf"memif:{path},secret={WORD}\, and more", "--count", 10)
    assert good.result()["sent"] == job.result()["received"] == 10


def test_a_bad_password_file_is_named(tmp_path):
    file = tmp_path / "password"
    for content in ("", "\n", "x" * 25):
        file.write_text(content)
        with pytest.raises(Usage, match="1 to 24 bytes"):
            make_port(f"memif:@x,secret-file={file}")
    with pytest.raises(Usage, match="secret and secret-file"):
        make_port(f"memif:@x,secret=a,secret-file={file}")
