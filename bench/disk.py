# SPDX-License-Identifier: Apache-2.0
"""Capture to a disk's file system, beside what `dd` writes there."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import tool
from lab import BenchError, pinned, place

WHERE = "/var/tmp"  # a folder on a disk, also where /tmp is in memory
FRAME = 1514  # bytes: more of them come than a disk takes
RECORD = 28 + 1516 + 4  # bytes of an Enhanced Packet Block around them
TICKS = os.sysconf("SC_CLK_TCK")
GIB = 1 << 30
SETTLE_S, BEGUN = 0.3, 32 << 20  # bytes
MIB_PER_S = 1000  # that dd is given to write: as long as uspnet writes, or longer


def dd(seconds: float, core: int) -> float:
    """Bytes a second that `dd oflag=direct bs=1M` writes."""
    with place("x", WHERE) as file:
        words = ["if=/dev/zero", f"of={file}", "bs=1M", "oflag=direct"]
        command = pinned(["dd", *words, f"count={max(int(seconds * MIB_PER_S), 64)}"], core)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) bytes .* copied, ([\d.]+) s", done.stderr)
    if done.returncode or not found:
        raise BenchError(f"dd failed: {done.stderr}")
    return int(found[1]) / float(found[2])


def writer_of(job: tool.Uspnet) -> Path:
    """Return the folder in /proc of the process that writes for a capture."""
    deadline = time.monotonic() + tool.END_S
    while time.monotonic() < deadline:
        for each in Path("/proc").glob("[0-9]*"):
            try:
                words = (each / "stat").read_text().rpartition(")")[2].split()
                is_writer = (each / "comm").read_text() == "uspnet-writer\n"
            except OSError:
                continue  # it has ended meanwhile
            if is_writer and int(words[1]) == job.child.pid:
                return each
        time.sleep(0.02)
    raise BenchError("the capture has no process that writes")


def cpu_s(process: Path) -> float:
    """Processor time of a process until now."""
    words = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def ours(seconds: float, cores: tuple[int, int], *words: str) -> dict[str, float]:
    """Our generator at full speed into uspnet's capture to a file: bytes a second, and what it took
    of a processor to write a GiB.
    """
    source_core, sink_core = cores
    with place("memif.sock") as socket, place("x.pcapng", WHERE) as file:
        port, to = f"memif:{socket},role=server", ("-w", str(file))
        with tool.Uspnet("capture", port, *to, *words, "--poll", "busy", core=sink_core) as sink:
            writer = writer_of(sink)
            while not socket.exists():
                time.sleep(0.02)
            sending = ("--size", FRAME, "--poll", "busy", "--duration", seconds + 2 * SETTLE_S)
            client = f"memif:{socket},role=client"
            with tool.Uspnet("pktgen", client, *sending, core=source_core) as source:
                while file.stat().st_size < BEGUN:
                    time.sleep(0.02)
                began, size, took = time.monotonic(), file.stat().st_size, cpu_s(writer)
                time.sleep(seconds)
                elapsed = time.monotonic() - began
                size, took = file.stat().st_size - size, cpu_s(writer) - took
                sent = source.result(SETTLE_S)
            got = sink.stop()
    return {
        "bytes_s": size / elapsed,
        "cpu_ms_per_gib": took * 1e3 / max(size / GIB, 1e-9),
        "dropped": got["dropped"],
        "lost": sent["sent"] - got["received"],
        "unaccounted": got["received"] - got["written"] - got["dropped"],
    }
