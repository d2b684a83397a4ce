# SPDX-License-Identifier: Apache-2.0
"""What the replay of a large capture file costs: the time to start, and memory."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lab import ROOT, BenchError, place

LARGE_MIB, SMALL_MIB = 4096, 1
STARTS = 5
PLACES = ("/dev/shm", "/tmp")
LOOK_S = 0.005
RECORD_HEADER = 16


def records(octets: int, length: int = 0, *, blocks: bool = False) -> bytes:
    """Return records of an nsecpcap file, or blocks of a pcapng file, with so many bytes in all; of
    frames of one length, or of 60 to 1,459 bytes.
    """
    made, number = bytearray(), 0
    while len(made) < octets:
        size = length or 60 + number * 97 % 1400
        frame = bytes([number & 255]) * size
        if blocks:
            made += block(6, struct.pack("=5I", 0, 0, number, size, size) + frame)
        else:
            made += struct.pack("=4I", 1, number, size, size) + frame
        number += 1
    return bytes(made)


def block(kind: int, body: bytes) -> bytes:
    """Return a block of pcapng."""
    body += bytes(-len(body) % 4)
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


def head(*, blocks: bool) -> bytes:
    """Return what an nsecpcap or pcapng file of Ethernet frames begins with."""
    if not blocks:
        return struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    section = block(0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1))
    return section + block(1, struct.pack("=HHI", 1, 0, 65535))


@contextlib.contextmanager
def capture(mib: int, length: int = 0, *, blocks: bool = False) -> Iterator[Path]:
    """Write a capture file of so many MiB of such records, which is removed afterwards."""
    free = {where: os.statvfs(where).f_bavail * os.statvfs(where).f_frsize for where in PLACES}
    where = next((each for each in PLACES if free[each] > (mib + 256) << 20), None)
    if not where:
        raise BenchError(f"{mib} MiB of room are needed in {' or '.join(PLACES)}")
    some = records(1 << 20, length, blocks=blocks)
    with place("large.pcap", where) as path, path.open("wb") as file:
        file.write(head(blocks=blocks))
        for _ in range(mib):
            file.write(some)
        file.flush()
        yield path


def replay(path: Path, *words: str) -> list[str]:
    """Return the command that plays a file to nowhere."""
    ours = [sys.executable, "-m", "uspnet", "pktgen", "null:", "--replay", str(path), "--topspeed"]
    return [*ours, *words, "--quiet"]


def start_ms(path: Path) -> float:
    """Milliseconds from start to end of a run that sends the first packet alone."""
    taken = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        done = subprocess.run(replay(path, "-c", "1"), cwd=ROOT, check=False, capture_output=True)
        taken.append((time.perf_counter() - begin) * 1000)
        if done.returncode:
            raise BenchError(done.stderr.decode())
    return statistics.median(taken)


def family(pid: int) -> list[int]:
    """Return a process, its children, and theirs."""
    found = [pid]
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/task").iterdir():
            for child in (each / "children").read_text().split():
                found += family(int(child))
    return found


def peak_mib(path: Path) -> float:
    """MiB that the processes of a whole replay have in memory at most, each at its own peak."""
    peaks: dict[int, int] = {}
    with subprocess.Popen(replay(path), cwd=ROOT) as run:
        while run.poll() is None:
            for pid in family(run.pid):
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    if peak := re.search(r"VmHWM:\s+(\d+)", status):
                        peaks[pid] = int(peak[1])
            time.sleep(LOOK_S)
    if run.returncode:
        raise BenchError("the replay failed")
    return sum(peaks.values()) / 1024
