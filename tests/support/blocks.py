# SPDX-License-Identifier: Apache-2.0
"""The blocks of a pcapng file in this machine's byte order, read without uspnet."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass

SHB, IDB, ISB, EPB = 0x0A0D0D0A, 1, 5, 6
FIXED = {SHB: 16, IDB: 8, ISB: 12}  # bytes before the options
FIELDS = ["received", "dropped", "accepted_by_filter", "dropped_by_os", "delivered_to_user"]
NAMES = {4: "ifrecv", 5: "ifdrop", 6: "filteraccept", 7: "osdrop", 8: "usrdeliv"}


@dataclass
class Block:
    """One block, and the values of its options by their codes."""

    kind: int
    body: bytes
    options: dict[int, list[bytes]]

    def text(self, code):
        """The texts of an option, one a line."""
        return "\n".join(value.decode() for value in self.options.get(code, []))

    @property
    def interface(self):
        return struct.unpack_from("=I", self.body)[0]

    def times(self):
        """When a statistics block's interval begins and ends, in ns."""
        halves = (struct.unpack("=II", self.options[code][0]) for code in (2, 3))
        return tuple(high << 32 | low for high, low in halves)

    def counts(self):
        """The numbers of a statistics block."""
        return {n: struct.unpack("=Q", self.options[code][0])[0] for code, n in NAMES.items()}


def blocks(path):
    """Every block of a file that is whole: it may be written still."""
    data, at, found = path.read_bytes(), 0, []
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("=II", data, at)
        if at + length > len(data):
            break
        assert struct.unpack_from("=I", data, at + length - 4)[0] == length
        body = data[at + 8 : at + length - 4]
        found.append(Block(kind, body, _options(body[FIXED[kind] :] if kind in FIXED else b"")))
        at += length
    return found


def _options(data):
    found, at = {}, 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("=HH", data, at)
        if code == 0:
            break
        found.setdefault(code, []).append(data[at + 4 : at + 4 + length])
        at += 4 + length + -length % 4
    return found


def statistics(path, interface=0):
    """The statistics blocks of an interface."""
    return [b for b in blocks(path) if b.kind == ISB and b.interface == interface]


def seen_by_tshark(path):
    """The counts of every statistics block, as Wireshark reads them."""
    words = [f"-epcapng.options.option.data.interface.{name}" for name in FIELDS]
    command = ["tshark", "-r", path, "-X", "read_format:MIME Files Format", "-Tfields", *words]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    columns = [[int(number) for number in field.split(",")] for field in told.strip().split("\t")]
    return [dict(zip(NAMES.values(), row, strict=True)) for row in zip(*columns, strict=True)]
