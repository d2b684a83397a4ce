# SPDX-License-Identifier: Apache-2.0
"""`uspnet demo`: no packet is lost, and nothing but the capture file stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from uspnet.port import drivers

pytestmark = pytest.mark.skipif("pcap" not in drivers(), reason="needs the pcap: port")
PACKETS = 20_000


@pytest.fixture(autouse=True)
def private_tmp(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_every_packet_is_in_the_file(uspnet, tmp_path):
    result = uspnet("demo", "--count", str(PACKETS), "-w", str(tmp_path / "x.pcapng"), "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert found["complete"]
    assert (found["offered"], found["written"], found["lost"]) == (PACKETS, PACKETS, 0)
    assert [hop["packets"] for hop in found["hops"]] == [PACKETS] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["x.pcapng"]


def test_people_get_the_path_and_the_commands(uspnet, tmp_path):
    result = uspnet("demo", "--count", str(PACKETS))
    assert result.returncode == 0
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == ["demo.pcapng"]
    assert str(folder / "demo.pcapng") in result.stdout
    assert "uspnet fwd memif:/tmp/a.sock,role=server memif:/tmp/b.sock" in result.stdout


def test_the_file_is_one_that_wireshark_reads(uspnet, tmp_path):
    if not shutil.which("capinfos"):
        pytest.skip("needs capinfos")
    path = str(tmp_path / "x.pcapng")
    uspnet("demo", "--count", "1000", "-w", path, "--quiet")
    seen = subprocess.run(["capinfos", "-rcM", path], capture_output=True, text=True, check=True)
    assert "1000" in seen.stdout


def test_a_file_that_cannot_be_written_is_an_error(uspnet, tmp_path):
    result = uspnet("demo", "-w", str(tmp_path / "none" / "x.pcapng"))
    assert result.returncode == 1
    assert "demo: capture: " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after_s", [0.3, 0.9])
def test_an_interrupt_leaves_nothing(start, tmp_path, after_s):
    process = start("demo", "--count", "500000000")
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGINT)
    assert list(tmp_path.iterdir()) == []
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in listed.stdout.replace(" ".join(sys.argv), "")
    assert not os.path.exists(tmp_path / "a.sock")
