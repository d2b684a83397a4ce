# SPDX-License-Identifier: Apache-2.0
"""fwd --mode macswap, from file to file: also of packets that are too short to have addresses."""

from __future__ import annotations

import struct
import subprocess
import sys

from tests.support.captures import pcap_frames
from tests.support.waiting import scaled


def test_only_what_has_two_addresses_is_changed(tmp_path):
    frames = [bytes(range(size)) for size in (1, 5, 6, 11, 12, 13, 14, 60)]
    records = b"".join(struct.pack("<IIII", 1, 0, len(f), len(f)) + f for f in frames)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    (tmp_path / "in.pcap").write_bytes(head + records)
    command = [
        sys.executable,
        "-m",
        "uspnet",
        "fwd",
        f"pcap:{tmp_path}/in.pcap",
        f"pcap:out={tmp_path}/out.pcap,format=pcap",
        "--mode",
        "macswap",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=scaled(30))
    swapped = [f[6:12] + f[:6] + f[12:] if len(f) >= 12 else f for f in frames]
    assert pcap_frames(tmp_path / "out.pcap") == swapped
