# SPDX-License-Identifier: Apache-2.0
"""Capture files, read and written without uspnet."""

from __future__ import annotations

import json
import re
import struct
import subprocess

from tests.support.waiting import scaled


def pcap_frames(path):
    """Every frame of a pcap file."""
    data, at, frames = path.read_bytes(), 24, []
    while at + 16 <= len(data):  # it may be written still
        length = struct.unpack_from("I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def counted(*paths):
    """How many packets Wireshark finds in files that it finds nothing wrong with."""
    command = ["capinfos", "-Mc", *paths]
    run = subprocess.run(command, capture_output=True, text=True, timeout=scaled(120), check=False)
    assert (run.returncode, run.stderr) == (0, "")
    found = [int(number) for number in re.findall(r"packets: +(\d+)", run.stdout)]
    assert len(found) == len(paths)
    return sum(found)


def tshark_layers(path):
    """The layers of each packet, with their bytes, as tshark decodes them."""
    command = ["tshark", "-r", str(path), "-T", "json", "-x", "-j", "frame"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=True)
    assert "cut short" not in run.stderr, run.stderr
    return [entry["_source"]["layers"] for entry in json.loads(run.stdout)]


def write_pcap(path, frames, times_ns=None):
    """A pcap file of these frames, each at the time 0 or that in nanoseconds."""
    magic = "4d3cb2a1" if times_ns else "d4c3b2a1"
    head = bytes.fromhex(magic + "020004000000000000000000ffff000001000000")
    path.write_bytes(head + b"".join(
        struct.pack("<IIII", *divmod(ns, 10**9), len(frame), len(frame)) + frame
        for frame, ns in zip(frames, times_ns or [0] * len(frames), strict=True)
    ))  # fmt: skip
