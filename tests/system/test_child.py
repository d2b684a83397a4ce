# SPDX-License-Identifier: Apache-2.0
"""Children that handle what strangers made: what they can do, and how much of it."""

import bz2
import lzma
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import pytest

from tests.support.processes import alive, children_named, name_of
from tests.support.waiting import scaled, until
from tests.system.test_privileges import check_child

HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)  # of a pcap file
COMMAND = [sys.executable, "-m", "uspnet"]


def with_dictionary(data, size):
    """An xz file that asks for so large a dictionary: the byte that says it, and its checksum."""
    made = bytearray(lzma.compress(data))
    end = 12 + (made[12] + 1) * 4 - 4
    assert made[14] == 0x21, "LZMA2"
    made[16] = size
    made[end : end + 4] = struct.pack("<I", zlib.crc32(made[12:end]))
    return bytes(made)


def test_a_file_that_takes_too_much_memory_is_said(tmp_path):
    path = tmp_path / "large.pcap.xz"
    path.write_bytes(with_dictionary(HEADER, 40))  # 4 GiB
    done = subprocess.run(
        [*COMMAND, "fwd", f"pcap:{path}", "null:"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "takes more than 1 GiB" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give privileges up")
def test_the_reader_of_a_strangers_bytes_has_no_privilege():
    words = [*COMMAND, "fwd", "pcap:-", "null:", "--json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        job.stdin.write(HEADER)
        job.stdin.flush()
        (reader,) = until(lambda: children_named(job.pid, "uspnet-reader"))
        until(lambda: status_of(reader, "NoNewPrivs") == "1")
        check_child(reader)
        job.stdin.close()
        job.wait(scaled(60))


def test_the_reader_ends_with_the_job_whatever_it_reads(tmp_path):
    """Zeros may follow a bzip2 stream: here, terabytes of them."""
    path = tmp_path / "f.pcap.bz2"
    path.write_bytes(bz2.compress(HEADER + struct.pack("=IIII", 1, 0, 60, 60) + bytes(60)))
    os.truncate(path, 1 << 40)
    with subprocess.Popen([*COMMAND, "fwd", f"pcap:{path}", "null:"]) as job:
        (reader,) = until(lambda: children_named(job.pid, "uspnet-reader"))
        until(lambda: status_of(reader, "NoNewPrivs") == "1")
        job.send_signal(signal.SIGTERM)
        assert job.wait(scaled(60)) == 0
    until(lambda: not os.path.exists(f"/proc/{reader}"))


def status_of(pid, key):
    with open(f"/proc/{pid}/status") as file:
        return next(line.split()[1] for line in file if line.startswith(f"{key}:"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("child", ["uspnet-writer", "uspnet-reader"])
def test_a_child_that_is_stopped_does_not_outlive_its_job(tmp_path, child, number):
    server = f"memif:{tmp_path}/m.sock,role=server"
    ends = {
        "uspnet-writer": [server, f"pcap:out={tmp_path}/x"],
        "uspnet-reader": ["pcap:-", "null:"],
    }
    words = [*COMMAND, "fwd", *ends[child], "--json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        try:
            (pid,) = until(lambda: children_named(job.pid, child))
            until(lambda: status_of(pid, "NoNewPrivs") == "1")
            if child == "uspnet-writer":
                until((tmp_path / "m.sock").exists)
            time.sleep(0.2)
            os.kill(pid, signal.SIGSTOP)
            job.send_signal(number)
            job.wait(scaled(60))
            until(lambda: not alive(pid))
        finally:
            job.kill()
            if alive(pid) and name_of(pid) == child:
                os.kill(pid, signal.SIGKILL)
