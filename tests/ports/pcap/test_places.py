# SPDX-License-Identifier: Apache-2.0
"""Where capture files are read from and written to, when that is no ordinary file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports.pcap.test_sources import ALL, MARGIN_S, fwd
from tests.support.identity import answer
from tests.support.pcap_rig import classic, pcapng
from tests.support.waiting import scaled
from uspnet.errors import NoDevice
from uspnet.ports.pcap import sink as pcap_sink
from uspnet.ports.registry import make_port


@pytest.mark.parametrize("form", ["pcapng", "pcap"])
def test_a_fifo_that_nobody_reads_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    os.mkfifo(tmp_path / "f")
    monkeypatch.setattr(pcap_sink, "READER_WAIT_S", 0.1)
    port = make_port(f"pcap:out={tmp_path}/f,format={form}")
    with pytest.raises(NoDevice, match="nobody reads this FIFO") as told:
        port.open()
    assert told.value.hint == "start its reader first"
    port.close()


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_socket_is_no_file(tmp_path: Path, way: str) -> None:
    (tmp_path / "in").write_bytes(classic())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/s")
        ports = {
            "in": [f"pcap:{tmp_path}/s", "null:"],
            "out": [f"pcap:{tmp_path}/in", f"pcap:out={tmp_path}/s"],
        }
        told, _ = fwd(*ports[way], code=1)
    assert told["message"].endswith("s is a socket, or a device that is not there")
    assert told["hint"] == "name a file"


def test_stdin_is_read_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a line of text\n" + pcapng())
    command = [sys.executable, "-m", "uspnet", "fwd", "pcap:-", "null:", "--json"]
    with open(tmp_path / "f", "rb", buffering=0) as file:
        assert file.read(15).endswith(b"\n")
        run = subprocess.run(
            command,
            stdin=file,
            capture_output=True,
            text=True,
            timeout=scaled(MARGIN_S),
            check=True,
        )
    assert answer(run.stdout)["forwarded"] == ALL


def test_another_pcap_file_behind_the_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(classic() + classic(">", 0xA1B23C4D))
    for name, data in ((f"pcap:{tmp_path}/f", None), ("pcap:-", (tmp_path / "f").read_bytes())):
        told, _ = fwd(name, "null:", data=data, code=1)
        assert f"packet {ALL + 1} at byte {len(classic())}: another pcap file" in told["message"]
        assert "mergecap" in told["hint"]
        assert (told["forwarded"], told["drops"]) == (ALL, {"bad_record": 1})


@pytest.mark.parametrize(("name", "command"), [("x.pcap.gz", "gzip"), ("x.ZST", "zstd")])
def test_a_name_that_promises_compression_is_told(tmp_path: Path, name: str, command: str) -> None:
    (tmp_path / "in").write_bytes(classic())
    _, err = fwd(f"pcap:{tmp_path}/in", f"pcap:out={tmp_path}/{name}")
    assert f"{name} is not compressed" in err
    assert f"| {command} > FILE" in err
    assert fwd(f"pcap:{tmp_path}/{name}", "null:")[0]["forwarded"] == ALL
