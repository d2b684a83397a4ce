# SPDX-License-Identifier: Apache-2.0
"""DPDK's testpmd, and the huge pages that it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
TESTPMD_PAGES = 1024  # of 2 MiB: two testpmds, and uspnet's pools of jumbo buffers


class Testpmd:
    """One dpdk-testpmd, driven by its prompt."""

    def __init__(self, vdev, mode="rxonly", core=1, options=()):
        eal = [
            "--lcores",
            f"0@{core},1@{core}",
            "--no-pci",
            "--in-memory",
            "-m",
            "256",
            "--single-file-segments",
        ]  # what its zero-copy client needs
        app = ["-i", f"--forward-mode={mode}", "--auto-start", "--no-flush-rx", *options]
        command = [
            "dpdk-testpmd",
            *eal,
            "--file-prefix",
            f"t{time.monotonic_ns()}",
            "--vdev",
            vdev,
            "--",
            *app,
        ]
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self.process.pid
        self.log = []
        try:
            self.until("packet forwarding - ports")
        except BaseException:
            self.kill()
            raise

    def until(self, words):
        """Reads its output up to a line with these words."""
        for line in self.process.stdout:
            self.log.append(line)
            if words in line:
                return line
        raise AssertionError("".join(self.log[-20:]))

    def ask(self, command):
        """Types a command."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def counters(self):
        """RX-packets, TX-packets and so on of port 0, now."""
        self.ask("show port stats 0")
        self.until("NIC statistics for port 0")
        result = {}
        for line in self.process.stdout:
            if "Throughput" in line:
                break
            words = line.replace(":", " ").split()
            pairs = zip(words[::2], words[1::2], strict=False)
            result.update({k: int(v) for k, v in pairs if v.isdigit()})
        self.until("####")
        return result

    def dropped(self):
        """Packets that it received and had no room to send on."""
        self.ask("show fwd stats all")
        self.until("Forward statistics for port 0")
        line = self.until("TX-dropped")
        return int(line.split("TX-dropped:")[1].split()[0])

    def kill(self):
        """Ends it without warning."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def huge_pages():
    """Enough huge pages for DPDK; the old number again at the end."""
    before = int(HUGE_PAGES.read_text())
    if before < TESTPMD_PAGES:
        if os.geteuid():
            pytest.skip(f"needs huge pages: {TESTPMD_PAGES}, or root to make them")
        HUGE_PAGES.write_text(str(TESTPMD_PAGES))
    if int(HUGE_PAGES.read_text()) < TESTPMD_PAGES:
        pytest.skip(f"needs huge pages: memory for {TESTPMD_PAGES}")
    yield
    if before < TESTPMD_PAGES:
        HUGE_PAGES.write_text(str(before))


@pytest.fixture
def testpmd(huge_pages):
    """Starts testpmds; those that still run at the end are killed."""
    if not shutil.which("dpdk-testpmd"):
        pytest.skip("dpdk-testpmd is not installed: apt-get install dpdk-dev")
    started = []

    def start(*args, **more):
        started.append(Testpmd(*args, **more))
        return started[-1]

    yield start
    for one in started:
        one.kill()
