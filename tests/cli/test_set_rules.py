# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd --set-rules FILE JOB`: what it says, to whom a job listens, and what is no order."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.support.captures import write_pcap
from tests.support.identity import answer
from tests.support.processes import as_nobody
from tests.support.waiting import scaled, until
from uspnet.fastpath import lib
from uspnet.jobs import orders
from uspnet.jobs.control import TABLE_BYTES, address
from uspnet.system.sealed import sealed

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")


@pytest.fixture
def source(tmp_path):
    """A port that a packet of 60 bytes comes from each millisecond."""
    write_pcap(tmp_path / "in.pcap", [bytes(60)] * 1000, [n * 10**6 for n in range(1000)])
    return f"pcap:{tmp_path}/in.pcap,timing=on,loop=on"


@pytest.fixture
def filtering(started, source):
    """A job that drops what is 60 bytes long, which is all that comes."""
    job = started("fwd", source, "null:", "--mode", "filter", "--rule", "drop len = 60").wait()
    until(lambda: job.count("rx_dropped"))
    return job


def test_a_job_goes_by_other_rules(filtering, uspnet, tmp_path):
    pid, rules = filtering.process.pid, tmp_path / "rules"
    rules.write_text("# as ever\npass len = 60\n\npass\npass arp\n")
    done = uspnet("fwd", "--set-rules", rules, pid)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"job {pid}: 3 rules instead of 2, gap " in done.stdout
    assert "rule 'pass arp' is never reached" in done.stdout
    until(lambda: filtering.count("tx_packets"))
    done = uspnet("fwd", "--set-rules", "-", pid, "--json", text="drop len = 60\npass len = 60")
    result = answer(done.stdout)
    assert (result["entries"], result["before"], result["dropped"] >= 0) == (3, 3, True)
    assert uspnet("fwd", "--set-rules", rules, pid, "--quiet").stdout == ""
    filtering.hears("rules set: 3 instead of 3")

    rules.write_text("pass\ndrop tcp prot 80\n")
    done = uspnet("fwd", "--set-rules", rules, pid)
    assert done.returncode == 2
    assert f"--set-rules {rules}, line 2: 'drop tcp prot 80': " in done.stderr
    assert "    tcp prot 80\n" in done.stderr
    assert "^~~~\n" in done.stderr
    assert answer(uspnet("fwd", "--set-rules", rules, pid, "--json").stdout)["error"] == "Usage"
    filtering.hears("rules stay as they are: ")
    done = uspnet("upgrade", pid, "--cold")
    assert done.returncode == 1
    assert "it goes by other rules than its command line has" in done.stderr
    ended = filtering.end()
    assert [each["rule"] for each in ended["rules"]] == ["pass len = 60", "pass", "pass arp"]
    assert ended["restarts"] == 0
    if os.uname().machine == "x86_64":
        assert ended["filter_code"] == "x86-64"


def test_what_can_not_be_set(started, uspnet, source, tmp_path):
    job = started("fwd", source, "null:").wait()
    pid, rules = str(job.process.pid), str(tmp_path / "rules")
    Path(rules).write_text("pass\n")
    (tmp_path / "large").write_bytes(b"#" * (TABLE_BYTES + 1))
    for words, code, said in (
        ((rules, pid), 1, "this job, of --mode io, has no rules"),
        ((rules, "word"), 1, "there is no job at word"),
        ((rules, ""), 2, "--set-rules takes one job"),
        ((rules, pid, pid), 2, "--set-rules takes one job"),
        ((rules, pid, "--mode", "filter"), 2, "changes a job that runs, and takes no --mode"),
        ((rules, pid, "--set-routes", rules), 2, "takes no --set-routes"),
        ((rules, pid, "--set", "ip.ttl=3"), 2, "takes no --set\n"),
        ((str(tmp_path / "none"), pid), 1, "none: No such file"),
        ((str(tmp_path), pid), 1, "Is a directory"),
        ((str(tmp_path / "large"), pid), 2, "large has more than 64 MiB"),
        (("", pid), 2, "--set-rules needs a file name"),
    ):
        done = uspnet("fwd", "--set-rules", *words)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "hint: " in done.stderr, words
    job.end()


def test_routes_are_set_anew(started, uspnet, source, tmp_path):
    (tmp_path / "routes").write_text("10.0.0.0/8 port 2\n")
    job = started("fwd", source, "null:", "--mode", "route", "--routes", tmp_path / "routes").wait()
    (tmp_path / "routes").write_text("10.0.0.0/8 port 2\ndefault via 10.1.2.3\n")
    done = uspnet("fwd", "--set-routes", tmp_path / "routes", job.process.pid)
    assert done.returncode == 0, done.stderr
    assert "2 routes instead of 1" in done.stdout
    assert "the MAC address of 10.1.2.3 is not known" in done.stdout
    (tmp_path / "routes").write_text("10.0.0.0/8 port 2\n10.0.0.0/8 port 2\n")
    done = uspnet("fwd", "--set-routes", tmp_path / "routes", job.process.pid)
    assert done.returncode == 2
    assert f"--set-routes {tmp_path}/routes, line 2: 10.0.0.0/8 is there twice" in done.stderr
    assert job.end()["route"]["ipv4"] == 2


def ask(pid, request, fd=-1):
    """What a job answers to a request that comes with a descriptor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(scaled(20))
        connection.connect(address(pid))
        socket.send_fds(connection, [json.dumps(request).encode()], [fd] * (2 * (fd >= 0)))
        return connection.recv(1 << 18).decode()


def test_orders_that_are_none_and_those_of_others(filtering, tmp_path):
    pid = filtering.process.pid
    order = {"do": "set", "table": "rules", "name": "x"}
    before = len(os.listdir(f"/proc/{pid}/fd"))
    (tmp_path / "file").write_text("pass")
    given = [
        sealed("x", b"pass"),
        os.memfd_create("x", os.MFD_ALLOW_SEALING),
        os.open(tmp_path / "file", os.O_RDONLY),
        *os.pipe(),
        sealed("x", bytes(TABLE_BYTES + 1)),
    ]
    for fd in given[1:]:
        assert '"error": "Usage"' in ask(pid, order, fd)
    for wrong in (order, {**order, "table": "x"}, {**order, "name": 1}, {"do": "set"}):
        assert '"error": "Usage"' in ask(pid, wrong, -1 if wrong is order else given[0])
    text = ask(pid, {**order, "name": "\x1b[2J" * 100}, fd := sealed("x", b"\xff\0 \x1b[2J"))
    assert "is no rule" in text
    assert as_nobody(lambda: ask(pid, order, given[0])) in {"", "ConnectionResetError",
                                                            "BrokenPipeError"}  # fmt: skip
    assert as_nobody(lambda: orders.set_table(pid, "rules", "/proc/version")) == "NotPermitted"
    until(lambda: len(os.listdir(f"/proc/{pid}/fd")) == before)
    assert '"entries": 1' in ask(pid, order, given[0])
    for each in (*given, fd):
        os.close(each)
    filtering.end()
