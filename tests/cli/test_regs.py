# SPDX-License-Identifier: Apache-2.0
"""`uspnet regs` on QEMU's models, and the trace of every access under -vv."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from tests.support.cable_end import FarEnd
from tests.support.identity import answer
from tests.support.processes import alive, children_of
from tests.support.waiting import scaled, until
from uspnet.ports.qemu import models

pytestmark = pytest.mark.usefixtures("qemu")
WATCH = ["--watch", "--interval", "0.1"]


def only_object(result):
    if "NotSupported" in result.stdout:
        pytest.skip(f"this QEMU is too old: {answer(result.stdout)['message']}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("\n") == 1
    return answer(result.stdout)


@pytest.mark.parametrize("model", sorted(models()))
def test_every_model_shows_its_registers(uspnet, model):
    found = only_object(uspnet("regs", f"qemu:{model}", "--json"))
    rows = {row["name"]: row for row in found["registers"]}
    assert len(rows) == len(found["registers"]), "names are unique"
    read = {row["access"] for row in rows.values() if row["value"] is not None}
    assert read <= {"RO", "RW"}
    assert {row["access"] for row in rows.values() if row["value"] is None} <= {"WO", "RC", "RS"}
    assert all("§" in row["title"] for row in rows.values())
    assert "switched on" in found["found"]


def test_fields_are_decoded_by_keyword(uspnet):
    found = only_object(uspnet("regs", "qemu:e1000e", "status", "--json"))
    (row,) = found["registers"]
    assert (row["name"], row["offset"], row["access"]) == ("STATUS", 8, "RO")
    assert row["fields"]["FD"] == 1
    assert (found["driver"], found["device"]) == ("e1000e", "82574L")


def test_without_a_terminal_there_is_one_line_a_register(uspnet):
    result = uspnet("regs", "qemu:e1000e", "CTRL", "MTA", "MPC", "IMC", "RA*[0]")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("qemu:e1000e: 82574L, ")  # what QEMU may do can follow
    assert lines[0].endswith(", as in a machine that has just been switched on")
    assert [line.split()[0] for line in lines[1:]] == [
        "CTRL", "IMC", "MPC", "MTA[0-127]", "RAL[0]", "RAH[0]",
    ]  # fmt: skip
    assert re.fullmatch(r"CTRL +0x00000  0x[0-9a-f]{8} .*FD.*", lines[1])
    assert lines[2].endswith("write only")
    assert re.fullmatch(r"MPC +0x04010  0x00000000", lines[3]), "named, so it is read"


def test_what_clears_when_read_is_not_read_unless_named(uspnet):
    text = uspnet("regs", "qemu:e1000e", "M*").stdout
    assert re.search(r"MPC .*not read: reading clears it", text)


def test_an_unknown_name_has_close_ones(uspnet):
    result = uspnet("regs", "qemu:e1000e", "STATSU")
    assert result.returncode == 2
    assert "no register is called STATSU" in result.stderr
    assert "STATUS" in result.stderr.partition("hint: ")[2]


def test_a_watch_is_no_json_object(uspnet):
    result = uspnet("regs", "qemu:e1000e", "--watch", "--json")
    assert result.returncode == 2
    assert answer(result.stdout)["error"] == "Usage"


def test_a_watch_ends_in_good_order_and_leaves_no_qemu(start):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start("regs", "qemu:e1000e", "STATUS", *WATCH)
        assert "82574L" in process.stdout.readline()
        assert "STATUS" in process.stdout.readline()
        children = children_of(process.pid)
        assert children
        process.send_signal(number)
        _, errors = process.communicate(timeout=scaled(60))
        assert (process.returncode, errors) == (0, "")
        until(lambda: not any(alive(child) for child in children))  # noqa: B023 - used at once


def test_a_watch_on_a_terminal_is_a_table_that_stays():
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "uspnet", "regs", "qemu:e1000e", "STATUS", *WATCH]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        seen = b""
        while seen.count(b"STATUS") < 3:
            seen += os.read(ours, 65536)
        assert b"register" in seen
        assert b"\x1b[2K" in seen, "lines are drawn over"
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=scaled(60)) == 0
    os.close(ours)


def test_a_killed_qemu_ends_a_watch_with_a_hint(start):
    process = start("regs", "qemu:e1000e", "STATUS", *WATCH)
    process.stdout.readline()
    os.kill(children_of(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 1
    assert "QEMU has ended: it was killed by signal 9" in errors
    assert "hint: " in errors


def test_a_watch_shows_what_changes(start, tmp_path):
    process = start("regs", f"qemu:e1000e,wire={tmp_path}/wire", "STATUS", *WATCH)
    head, first = [process.stdout.readline() for _ in range(2)]
    assert "82574L" in head
    assert " LU" not in first
    end = FarEnd(tmp_path / "wire")
    line = process.stdout.readline()
    assert re.fullmatch(r"\d+\.\d s  STATUS  0x\w+ FD .*→ 0x\w+ FD LU .*\n", line)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=scaled(60)) == 0
    end.socket.close()
    assert not (tmp_path / "wire.a").exists()


def test_two_v_trace_every_access(uspnet):
    result = uspnet("pktgen", "qemu:e1000e,loop=on", "--count", "10", "-vv", "--json")
    lines = result.stderr.splitlines()
    assert "qemu:e1000e,loop=on TIPG 0x00410 ← 0x0060200a IPGT=0xa IPGR1=0x8 IPGR2=0x6" in lines
    access = re.compile(r"^\S+ [A-Z0-9]+(\[\d+\])? 0x[0-9a-f]{5} [←→] 0x[0-9a-f]+( [A-Z0-9_=x]+)*$")
    assert sum(bool(access.match(line)) for line in lines) > 100
    assert answer(result.stdout)["sent"] == 10


def test_one_v_traces_nothing(uspnet):
    result = uspnet("pktgen", "qemu:e1000e,loop=on", "--count", "10", "-v")
    assert "pool: " in result.stderr
    assert "RDT" not in result.stderr
