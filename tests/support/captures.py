# SPDX-License-Identifier: Apache-2.0
"""What a capture file holds, read without uspnet."""

from __future__ import annotations

import struct


def pcap_frames(path):
    """Every frame of a pcap file."""
    data, at, frames = path.read_bytes(), 24, []
    while at + 16 <= len(data):  # it may be written still
        length = struct.unpack_from("I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames
