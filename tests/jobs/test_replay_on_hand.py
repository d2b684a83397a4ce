# SPDX-License-Identifier: Apache-2.0
"""Every capture file that the programs on hand ship leaves byte by byte as Wireshark reads it:
those of Debian packages and of Python packages, and those in the folders of $USPNET_CAPTURES.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.captures import tshark_layers
from tests.support.waiting import scaled
from tests.support.wire import Wire
from uspnet.errors import Malformed, NotSupported
from uspnet.jobs.plan import Limits
from uspnet.jobs.replay import ReplayJob
from uspnet.pool import LONGEST
from uspnet.ports.pcap.port import Pcap

CAPTURE = re.compile(r".*\.(pcap|pcapng|cap|ntar)(\.(gz|zst|lz4|xz|bz2))?", re.IGNORECASE)
DPKG = Path("/var/lib/dpkg/info")
INTERFACE, PACKET, ETHERNET = 1, 6, 1
NONE = "capture files: no package on this machine ships one; USPNET_CAPTURES=DIR:DIR names folders"


def on_hand():
    """Paths of the files, each once."""
    shipped = [line for each in DPKG.glob("*.list") for line in each.read_text().splitlines()]
    folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    folders += filter(None, os.environ.get("USPNET_CAPTURES", "").split(":"))
    shipped += [str(path) for folder in folders for path in Path(folder).rglob("*.*")]
    found = {path for path in shipped if CAPTURE.fullmatch(path)}
    return sorted(path for path in found if os.path.isfile(path) and os.path.getsize(path))


def blocks(data):
    """The types and bodies of a pcapng file's blocks, in this machine's byte order."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("=II", data, at)
        yield kind, data[at + 8 : at + length - 4]
        at += length


def as_wireshark_reads(path, copy):
    """The Ethernet frames of a file, as far as it is whole."""
    command = ["editcap", "-F", "pcapng", path, copy]
    run = subprocess.run(command, capture_output=True, check=False, timeout=scaled(30), text=True)
    if "can't be written" in run.stderr:  # as custom blocks, which tshark counts as packets
        found = [(each["frame_raw"][0], each["frame"]) for each in tshark_layers(path)]
        ours = [text for text, told in found if told.get("frame.encap_type") == str(ETHERNET)]
        return [bytes.fromhex(text) for text in ours]
    links, frames = [], []
    for kind, body in blocks(copy.read_bytes() if copy.exists() else b""):
        if kind == INTERFACE:
            links += struct.unpack_from("=H", body)
        elif kind == PACKET:
            number, _, _, length = struct.unpack_from("=IIII", body)
            frames += [body[20 : 20 + length]] if links[number] == ETHERNET else []
    return frames


@pytest.mark.parametrize("path", on_hand() or [None])
def test_captures_on_hand_leave_as_they_are(needs, path, tmp_path):
    if not path:
        pytest.skip(NONE)
    needs("editcap")
    needs("tshark")
    wanted = as_wireshark_reads(path, tmp_path / "x")
    wire, told = Wire(), {}
    wire.takes = LONGEST
    try:
        with ReplayJob(wire, Limits(), [Pcap.make(path)]) as job:
            told = job.run().skipped
    except (Malformed, NotSupported) as error:
        told = (error.partial or {}).get("skipped", {})
    assert wire.taken == [frame for frame in wanted if 0 < len(frame) <= LONGEST]
    assert told.get("too_long", 0) == sum(len(frame) > LONGEST for frame in wanted)
