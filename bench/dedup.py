# SPDX-License-Identifier: Apache-2.0
"""What `capture --dedup` costs a packet when none is a duplicate, so that each is remembered."""

from __future__ import annotations

import statistics
import struct

import tool
from lab import place

PACKETS, RUNS = 800_000, 5  # a file that is looked through whole for its longest packet
HEADER = bytes.fromhex("020000000002 020000000001 88b5")
SPREAD = 0x9E3779B97F4A7C15  # odd, so that multiples of it differ
WAYS = {"no --dedup": (), "--dedup 50ms": ("--dedup", "50ms")}


def different() -> bytes:
    """Return an nsecpcap file of different frames of 60 bytes, a microsecond apart."""
    made = bytearray(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1514, 1))
    for number in range(PACKETS):
        made += struct.pack("=4I", number // 10**6, number % 10**6 * 1000, 60, 60) + HEADER
        made += (number * SPREAD % 2**64).to_bytes(8, "little") + bytes(38)
    return bytes(made)


def costs() -> dict[str, float]:
    """Return the median of nanoseconds a packet, by how it is captured; in turns."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with place("x.pcap", "/dev/shm") as file:
        file.write_bytes(different())
        for _ in range(RUNS):
            for way, words in WAYS.items():
                with tool.Uspnet("capture", f"pcap:{file}", *words, core=0) as command:
                    result = command.result(0.0)
                found[way].append(result["elapsed_s"] / result["received"] * 1e9)
    return {way: statistics.median(each) for way, each in found.items()}
