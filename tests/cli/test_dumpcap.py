# SPDX-License-Identifier: Apache-2.0
"""Cases of dumpcap's own tests: uspnet and dumpcap do the same with the same input and words."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys

import pytest

from tests.support.captures import counted, pcap_frames, write_pcap
from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until

TIMEOUT_S = 60
FRAMES = [struct.pack("!14xI", n) + bytes(40 + n * 7 % 900) for n in range(500)]
STOPS = [  # dumpcap begins a file that nothing comes for: no last one is full here
    ["-c", "10"],
    ["-a", "packets:1"],
    ["-a", "packets:97"],
    ["-a", "filesize:15"],
    ["-a", "filesize:100", "-c", "9"],
    ["-a", "duration:3600"],
    ["-b", "packets:30", "-a", "files:2"],
    ["-b", "packets:47"],
    ["-b", "filesize:20", "-a", "files:3"],
    ["-b", "filesize:40", "-b", "files:3"],
    ["-b", "filesize:30", "-b", "packets:21"],
    ["-b", "packets:25", "-c", "60"],
    ["-b", "packets:90", "-b", "nametimenum:2"],
    ["-b", "duration:3600"],
]

pytestmark = pytest.mark.skipif(not shutil.which("dumpcap"), reason="dumpcap is not installed")


@pytest.fixture
def given(tmp_path):
    write_pcap(tmp_path / "in.pcap", FRAMES)
    return tmp_path / "in.pcap"


def ended(command, given, folder=None, code=0):
    """What a command does with a file as its stdin: its output."""
    with given.open("rb") as file:
        done = subprocess.run(
            command, stdin=file, capture_output=True, cwd=folder, timeout=scaled(TIMEOUT_S),
            check=False,
        )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


def theirs(*words):
    return ["dumpcap", "-q", "-i", "-", "-P", *words]


def ours(*words, kind="pcap"):
    return [sys.executable, "-m", "uspnet", "capture", "pcap:-", "-q", "-F", kind, *words]


def shape(path):
    """The parts of a name: letters, and how many digits stand there."""
    return [len(part) if part.isdigit() else part for part in path.stem.split("_")] + [path.suffix]


@pytest.mark.parametrize("words", by_tier(STOPS[3:12:4], STOPS), ids=" ".join)
def test_files_begin_and_end_where_dumpcaps_do(given, tmp_path, words):
    found = []
    for command in (theirs, ours):
        folder = tmp_path / command.__name__
        folder.mkdir()
        ended(command("-w", "x.pcap", *words), given, folder)
        found.append(sorted(folder.iterdir()))
    for one, two in zip(*found, strict=True):
        assert pcap_frames(one) == pcap_frames(two)
        assert one.read_bytes()[:16] == two.read_bytes()[:16]  # before the snap length
        assert shape(one) == shape(two)
    assert len(found[0]) == 1 or words[0] == "-b"


@pytest.mark.parametrize("kind", by_tier(["pcap"], ["pcap", "pcapng"]))
def test_stdout_and_fifos_are_written_and_read(given, tmp_path, kind):
    (tmp_path / "out").write_bytes(ended(ours("-w", "-", "-c", "10", kind=kind), given))
    assert counted(tmp_path / "out") == 10
    for name in ("to", "from"):
        os.mkfifo(tmp_path / name)
    with (tmp_path / "read").open("wb") as out:
        reader = subprocess.Popen(["cat", tmp_path / "to"], stdout=out)
        ended(ours("-w", tmp_path / "to", "-c", "10", kind=kind), given)
        assert reader.wait(scaled(TIMEOUT_S)) == 0
    assert counted(tmp_path / "read") == 10
    feeder = subprocess.Popen(["cp", given, tmp_path / "from"])
    command = ours("-w", tmp_path / "last", kind=kind)
    ended([f"pcap:{tmp_path / 'from'}" if word == "pcap:-" else word for word in command], given)
    assert feeder.wait(scaled(TIMEOUT_S)) == 0
    assert counted(tmp_path / "last") == len(FRAMES)


def test_packets_are_cut_at_the_snap_length(given, tmp_path):
    for length in by_tier([68], [68, 40, 262144]):
        ended(ours("-w", tmp_path / "x", "-s", str(length)), given)
        assert pcap_frames(tmp_path / "x") == [frame[:length] for frame in FRAMES]
        assert struct.unpack_from("=I", (tmp_path / "x").read_bytes(), 16) == (length,)


def test_a_second_of_silence_ends_a_capture(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    silent = os.open(tmp_path / "fifo", os.O_RDWR)
    os.write(silent, struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for command in (["dumpcap", "-q", "-P", "-i"], [*ours()[:4], "-q", "-F", "pcap"]):
        port = tmp_path / "fifo" if command[0] == "dumpcap" else f"pcap:{tmp_path / 'fifo'}"
        words = [*command, port, "-w", tmp_path / "x", "-a", "duration:1"]
        done = subprocess.run(words, capture_output=True, timeout=scaled(TIMEOUT_S), check=False)
        assert done.returncode == 0, done.stderr
        assert until((tmp_path / "x").exists)
        assert counted(tmp_path / "x") == 0
        (tmp_path / "x").unlink()
        os.write(silent, struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    os.close(silent)
