# SPDX-License-Identifier: Apache-2.0
"""`pktgen --dry-run`: the file has what would be sent, and when, and nothing is opened."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scapy.utils import PcapNgReader, RawPcapNgReader

from tests.support.captures import pcap_frames
from tests.support.identity import answer
from tests.support.waiting import scaled

NOWHERE = "packet:nowhere0"


@pytest.fixture
def dry(uspnet, tmp_path):
    """Runs pktgen dry; the frames of the file, and its times in ns."""
    file = tmp_path / "dry.pcapng"

    def run(*words, port=NOWHERE):
        result = uspnet("pktgen", port, "--dry-run", "-w", str(file), "--json", *words)
        assert result.returncode == 0, result.stderr + result.stdout
        with RawPcapNgReader(str(file)) as reader:
            read = list(reader)
        found = answer(result.stdout)
        assert found["sent"] == found["offered"] == len(read)
        assert found["asked"]["dry_run"]
        times = [((meta.tshigh << 32) | meta.tslow) * 10**9 // meta.tsresol for _, meta in read]
        return [frame for frame, _ in read], times

    return run


VARIED = [
    [],
    ["--size", "60-300"],
    ["--vary", "ip.src=10.0.0.0/16:random", "--vary", "udp.sport=2000-2999"],
    ["--vary", "ip.dst=10.0.0.0/8:random", "--vary", "udp.dport=random", "--flows", "7"],
    ["--packet", "Ether()/IP(dst='10.0.0.1')/UDP(sport=RandShort(),dport=[7,9])/('x'*20)"],
]


@pytest.mark.parametrize("words", VARIED)
def test_its_bytes_are_those_that_are_sent(uspnet, dry, tmp_path, words):
    frames, times = dry("-c", "300", "--seed", "5", *words)
    file = tmp_path / "sent.pcap"
    result = uspnet("pktgen", f"pcap:out={file},format=pcap", "-c", "300", "--seed", "5", *words)
    assert result.returncode == 0, result.stderr
    assert frames == pcap_frames(file)
    assert set(times) == {0}


def test_tshark_finds_no_wrong_checksum(dry, needs, tmp_path):
    needs("tshark")
    dry("-c", "100", *VARIED[2])
    checks = [word for name in ("ip", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
    command = ["tshark", "-r", tmp_path / "dry.pcapng", *checks, "-Y",
               "ip.checksum.status==1 && udp.checksum.status==1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(60))
    assert len(done.stdout.splitlines()) == 100


def test_a_rate_stamps_packets_with_their_due_times(dry):
    _, times = dry("--rate", "1k", "--duration", "1h", "-c", "500")
    assert times == [10**6 * k for k in range(1, 501)]


def test_a_duration_ends_it_when_the_rate_would(dry):
    _, times = dry("--rate", "100", "--duration", "20m", "--burst-size", "10")
    assert len(times) == 120_000
    assert times == [10**8 * (k // 10 + 1) for k in range(120_000)]


def test_a_ramp_has_its_steps(dry):
    _, times = dry("--ramp", "10:30:10/100s")
    counts = [sum(100 * n < t / 10**9 <= 100 * (n + 1) for t in times) for n in range(3)]
    assert counts == [1000, 2000, 3000]


def test_a_poisson_process_is_the_same_each_time(dry):
    words = ("--rate", "1000", "--poisson", "--duration", "60", "--seed", "3")
    _, times = dry(*words)
    assert times == sorted(times)
    assert 58_000 < len(times) < 62_000
    assert times[-1] < 60 * 10**9
    assert dry(*words)[1] == times


def test_what_is_measured_has_its_numbers(dry):
    frames, _ = dry("-c", "3", "--rx-port", "packet:nowhere1")
    assert all(frame[42] == 0x75 for frame in frames)
    numbers = [int.from_bytes(frame[44:52], "little") for frame in frames]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


def test_it_goes_to_stdout_and_the_summary_says_written(uspnet, tmp_path):
    result = uspnet("pktgen", "null:", "--dry-run", "-w", str(tmp_path / "x"), "-c", "5",
                    "--rate", "5")  # fmt: skip
    assert result.stdout.startswith("written 5 of 5 packets")
    assert "asked for" not in result.stdout
    command = 'exec "$0" -m uspnet pktgen null: --dry-run -w - -c 5 > "$1"'
    subprocess.run(["sh", "-c", command, sys.executable, tmp_path / "y"], check=True,
                   timeout=scaled(60))  # fmt: skip
    with PcapNgReader(str(tmp_path / "y")) as reader:
        assert len(list(reader)) == 5


WRONG = [
    (["--dry-run", "-c", "5"], "-w out.pcapng"),
    (["-w", "x.pcapng", "-c", "5"], "-w needs --dry-run"),
    (["--dry-run", "-w", "x.pcapng"], "neither --count nor --duration"),
    (["--dry-run", "-w", "x.pcapng", "--duration", "5"], "add --count 1000"),
    (["--dry-run", "-w", "x.pcapng", "--replay", "y.pcapng"], "conflicts with --replay"),
    (["--dry-run", "-w", "", "-c", "5"], "needs a file name"),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_what_makes_no_sense_is_refused(uspnet, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    result = uspnet("pktgen", "null:", *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert told in result.stderr
    assert not list(tmp_path.iterdir())
