# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture --job`: what a running job moves or drops, seen from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess

import pytest

from tests.support.identity import answer
from tests.support.processes import as_nobody, children_named
from tests.support.waiting import until
from uspnet.errors import Malformed
from uspnet.fastpath import lib
from uspnet.memory import HUGE_BYTES
from uspnet.ports.job import STRIDE, JobPort
from uspnet.telemetry.reaching import address

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
VARIED = ["--packet", "Ether()/IP()/UDP()/('x'*30)", "--vary", "ip.id=0-65535"]


def fields(path, *names):
    words = ["tshark", "-r", path, "-Tfields", *(f"-e{name}" for name in names)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def capture(uspnet, job, *words):
    done = uspnet("capture", "--job", job.process.pid, *words, "--json")
    assert done.returncode == 0, done.stderr
    return answer(done.stdout)


def moves(job, packets=1):
    """Does the job go on, with so many?"""
    before = job.count("tx_packets") + job.count("rx_dropped")
    until(lambda: job.count("tx_packets") + job.count("rx_dropped") >= before + packets)
    return True


def test_what_a_job_sends_is_seen_in_order_and_the_job_goes_on(uspnet, started, tmp_path):
    job = started("pktgen", "null:", "--rate", "20k", *VARIED, "--no-sequence").wait()
    path = tmp_path / "x.pcapng"
    result = capture(uspnet, job, "-w", path, "-c", 3000)
    assert (result["written"], result["received"]) == (3000, 3000)
    found = fields(path, "ip.id", "frame.packet_flags_direction", "frame.interface_name")
    numbers = [int(each[0], 0) for each in found]
    assert numbers == [(numbers[0] + n) % 65536 for n in range(3000)]
    assert {tuple(each[1:]) for each in found} == {("0x00000002", f"job:{job.process.pid},port=0")}
    cut = tmp_path / "y.pcap"
    spec = f"job:{job.process.pid},longest=50"
    result = answer(uspnet("capture", spec, "-w", cut, "-F", "pcap", "-c", 9, "--json").stdout)
    assert result["written"] == 9
    assert {tuple(each) for each in fields(cut, "frame.len", "frame.cap_len")} == {("72", "50")}
    assert moves(job)
    assert job.end()["dropped"] == 0


def test_who_hangs_or_is_killed_stalls_nobody(uspnet, started, start, tmp_path):
    job = started("fwd", "null:", "null:").wait()
    pid = str(job.process.pid)
    hung = started("capture", "--job", pid, "--port", "0", "-w", str(tmp_path / "x.pcapng"))
    until(lambda: hung.count("rx_packets"))
    workers = children_named(hung.process.pid, "uspnet-worker")
    for each in (hung.process.pid, *workers):
        os.kill(each, signal.SIGSTOP)
    assert moves(job, 1_000_000)  # more than there is room for
    assert "captures null: of this job already" in uspnet("capture", f"job:{pid}", "-c", 1).stderr
    stopped = hung.count("rx_packets")
    for each in (hung.process.pid, *workers):
        os.kill(each, signal.SIGCONT)
    until(lambda: hung.count("rx_packets") > stopped + 1000)  # it has looked at what was missed
    result = hung.end()
    assert result["drops"]["no_room"] > 0
    told = subprocess.run(["capinfos", "-crTm", tmp_path / "x.pcapng"], capture_output=True,
                          text=True, check=True).stdout.strip()  # fmt: skip
    assert int(told.split(",")[1]) == result["written"]
    killed = start("capture", "--job", pid, "--port", "0")
    until(lambda: [word for word in open_rings() if word == str(killed.pid)])
    killed.kill()
    assert moves(job)

    def again():
        done = uspnet("capture", "--job", pid, "--port", 0, "-c", 100, "--json")
        return answer(done.stdout).get("received")

    assert until(again) >= 100
    result = job.end()
    assert result["received"] == result["forwarded"] + result["dropped"]


def open_rings():
    """Process ids of those that have mapped a ring of a job."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/maps") as lines:
            if any("uspnet-watch" in line for line in lines):
                yield name


def test_dropped_packets_come_with_their_reason(uspnet, started, tmp_path):
    job = started("fwd", "null:size=100", "null:", "--mode", "filter", "--rule", "drop").wait()
    path = tmp_path / "x.pcapng"
    result = capture(uspnet, job, "--dropped", "--port", 0, "-w", path, "-c", 500, "less", 200)
    assert result["written"] == 500
    found = fields(path, "frame.comment", "frame.packet_flags_direction", "frame.len")
    assert found == [["dropped: filtered", "0x00000001", "100"]] * 500
    assert moves(job)


@pytest.mark.full
@pytest.mark.parametrize("how", ["upgrade", "killed"])
def test_a_new_worker_process_shows_packets_too(uspnet, started, how):
    job = started("fwd", "null:", "null:").wait()
    pid = job.process.pid
    watcher = started("capture", "--job", str(pid), "--port", "1")
    until(lambda: watcher.count("rx_packets"))
    if how == "killed":
        os.kill(*children_named(pid, "uspnet-worker"), signal.SIGKILL)
        job.hears("a new one goes on")
    else:
        assert uspnet("upgrade", pid).returncode == 0
    before = watcher.count("rx_packets") + watcher.count("rx_dropped")
    until(lambda: watcher.count("rx_packets") + watcher.count("rx_dropped") > before + 10**6)
    watcher.end()
    assert moves(job)
    again = started("capture", "--job", str(pid), "--port", "1")
    until(lambda: again.count("rx_packets"))
    assert moves(job)
    assert job.end()["restarts"] == (how == "killed")
    code, out, _ = again.ends()
    assert (code, answer(out)["ended"]) == (0, "source")


def refused(spec):
    with contextlib.closing(JobPort.make(*spec)) as port:
        port.open()


def test_only_its_own_user_and_root_see_a_job(started):
    job = started("fwd", "null:", "null:").wait()
    assert as_nobody(refused, (str(job.process.pid),)) == "NotPermitted"
    for text in (b'{"do": "watch"}', b'{"do": "watch", "port": "0", "drops": 1, "longest": 0}'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(address(job.process.pid))
            connection.send(text)
            assert b"does not know that order" in connection.recv(4096)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address(job.process.pid))
        connection.send(b'{"do": "watch", "port": 0, "drops": false, "longest": -5}')
        _, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        with pytest.raises(PermissionError):
            os.ftruncate(fds[0], 0)
        os.close(fds[0])
    assert moves(job)


@pytest.mark.parametrize("flags", [0, os.MFD_HUGETLB], ids=["memory", "huge pages"])
def test_rings_lie_in_ordinary_pages(monkeypatch, flags):
    """A hole in a file of huge pages would kill who reads there, when none are left."""
    there = os.memfd_create("rings", os.MFD_ALLOW_SEALING | flags)
    os.ftruncate(there, -(-STRIDE // HUGE_BYTES) * HUGE_BYTES)
    fcntl.fcntl(there, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    said = {"answer": {"name": "null:", "queues": ["rx"], "buffer": 2048, "reasons": ["other"]}}
    ours, theirs = socket.socketpair()
    monkeypatch.setattr("uspnet.ports.job.reach", lambda *_: (ours, 1))
    monkeypatch.setattr("uspnet.ports.job.ask", lambda *_: (said, [there]))
    refuses = pytest.raises(Malformed, match="an answer that is none")
    ends = refuses if flags else contextlib.nullcontext()
    with theirs, contextlib.closing(JobPort.make("1")) as port, ends:
        port.open()


WRONG = {
    ("--port", 0, "null:"): "--port needs --job",
    ("--dropped", "null:"): "--dropped needs --job",
    (): "PORT is missing",
    ("--job", "x"): "not a process id",
    ("--job", "9" * 5000): "not a process id",
    ("--job", 4194304): "there is no process 4194304",
    ("--job", os.getpid()): "is no job",
    ("job:JOB,dropped=on", "-w", "/dev/null", "-F", "pcap"): "pcap files have no comments",
    ("job:me",): "'me' is not a process id",
    ("job:" + "9" * 5000,): "is not a process id",
    ("--job", "JOB", "--port", 7): "the job has no port 7, but 2 of them",
    ("--job", "JOB", "udp", "null:"): "unexpected argument 'null:'",
}


def test_what_can_not_be_captured_is_told(uspnet, started):
    job = started("fwd", "null:", "null:").wait()
    for words, text in WRONG.items():
        named = [str(word).replace("JOB", str(job.process.pid)) for word in words]
        done = uspnet("capture", *named, "-c", 1)
        assert text in done.stderr, words
        assert done.returncode in (1, 2)
