# SPDX-License-Identifier: Apache-2.0
"""Compares uspnet with Wireshark's editcap on every capture file in some folders.

Both write each file as pcapng; then number, times, lengths on the wire and bytes of the Ethernet
packets must be the same. What either refuses is listed with its reason.

    python tools/compare_captures.py DIR...
"""

from __future__ import annotations

import collections
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

SUFFIXES = (".pcap", ".pcapng", ".cap", ".ntar", ".dump", ".dmp", ".enc", ".erf", ".snoop")
PACKED = (".gz", ".zst", ".lz4", ".xz", ".bz2")
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
TSRESOL, TSOFFSET = 9, 14
ETHERNET = 1
LONGEST = 65535  # bytes of a packet that uspnet can handle
SECONDS = 120
USPNET = [sys.executable, "-m", "uspnet", "fwd"]
Packet = tuple[int, int, bytes]


def files(folders: list[str]) -> Iterator[Path]:
    """Every file whose name says that it is a capture."""
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            name = path.name.lower()
            for packed in PACKED:
                name = name.removesuffix(packed)
            if path.is_file() and name.endswith(SUFFIXES):
                yield path


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command; decode its output as text, whatever bytes it holds."""
    return subprocess.run(  # noqa: S603 - tools that the user has installed
        args, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=SECONDS
    )


def interface(body: bytes) -> tuple[int, Fraction, int]:
    """Link type, units of a second and offset of an Interface Description Block."""
    unit, offset, at = Fraction(1, 10**6), 0, 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from("=HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == TSRESOL:
            unit = Fraction(1, (2 if value[0] & 128 else 10) ** (value[0] & 127))
        if code == TSOFFSET:
            (offset,) = struct.unpack("=q", value)
        at += 4 + -(-size // 4) * 4
    return struct.unpack_from("=H", body)[0], unit, offset


def packets(path: Path) -> list[Packet]:
    """Yield the packets of a pcapng file in our byte order: ns, wire length, bytes."""
    data = path.read_bytes() if path.exists() else b""
    found, links, at = [], [], 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("=II", data, at)
        body = data[at + 8 : at + length - 4]
        if kind == SECTION:
            links = []
        elif kind == INTERFACE:
            links.append(interface(body))
        elif kind == PACKET:
            number, high, low, caplen, wire = struct.unpack_from("=5I", body)
            link, unit, offset = links[number]
            ns = ((high << 32 | low) * unit + offset) * 10**9
            if link == ETHERNET and caplen:
                # What editcap writes of times before 1970 has lost its sign.
                found.append((math.floor(ns) % 2**64, wire, body[20 : 20 + caplen]))
        at += length
    return found


def wraps(ns: int, theirs: int) -> bool:
    """Is that what editcap makes of a time whose fraction is a second or more? It keeps the
    fraction's nanoseconds in 32 bits with a sign, and scales them in 64 bits without one.
    """
    for unit, ticks in ((1000, 10**6), (1, 10**9)):  # a pcap file in us, in ns
        for fraction in range(ns % 10**9 // unit + ticks, 2**32, ticks):
            kept = (fraction * unit + 2**31) % 2**32 - 2**31
            scaled = kept % 2**64 * ticks % 2**64 // 10**9
            if ((ns // unit - fraction + scaled) * unit - theirs) % 2**64 == 0:
                return True
    return False


def explained(want: list[Packet], got: list[Packet]) -> bool:
    """Do the lists differ in nothing but times that editcap wraps?"""
    return len(got) == len(want) and all(
        ours[1:] == theirs[1:] and (ours[0] == theirs[0] or wraps(ours[0], theirs[0]))
        for ours, theirs in zip(got, want, strict=True)
    )


def verdict(want: list[Packet], got: list[Packet], why: str, *, they_failed: bool) -> str:
    """How the two lists compare."""
    if got == want:
        return "refused" if why and not got else "same"
    if got == want[: len(got)] and why:
        return "refused alone" if not got else "ended early"
    if they_failed and want == got[: len(want)]:
        return "editcap ended early"
    if explained(want, got):
        return "same but for fractions of a second and more, which editcap wraps"
    return "different"


def compare(path: Path) -> dict[str, Any]:
    """Compare what both read from one file."""
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder) / "theirs.pcapng", Path(folder) / "ours.pcapng"
        target = os.path.abspath(path).replace(",", "\\,")
        try:
            they = run("editcap", "-F", "pcapng", path, theirs)
            we = run(*USPNET, f"pcap:{target}", f"pcap:out={ours}", "--json")
        except subprocess.TimeoutExpired:
            return {"verdict": "time", "path": path, "why": "too slow"}
        want, got = packets(theirs), packets(ours)
    try:
        result = json.loads(we.stdout)
    except ValueError:
        return {"verdict": "crash", "path": path, "why": we.stderr[-300:]}
    long = result.get("drops", {}).get("too_long", 0)
    short = [packet for packet in want if len(packet[2]) <= LONGEST]
    why = result.get("message", "").replace(os.path.abspath(path), "FILE")
    row = {"path": path, "want": len(want), "got": len(got), "why": why, "long": long}
    if long and len(want) == len(short) + long:
        want = short
    if they.returncode:
        row["theirs"] = " ".join(they.stderr.split()).replace(str(path), "FILE")
    return {**row, "verdict": verdict(want, got, why, they_failed=bool(they.returncode))}


def main(folders: list[str]) -> int:
    """Print the verdicts, and each file that differs."""
    found = list(files(folders))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(compare, found))
    for row in rows:
        if row["verdict"] not in ("same", "refused"):
            print(row["verdict"], row["path"], row.get("want"), row.get("got"), row["why"])
            if "theirs" in row:
                print("    editcap:", row["theirs"])
    reasons = collections.Counter(row["why"] for row in rows if row["verdict"] == "refused")
    for why, count in reasons.most_common():
        print(f"refused {count:5}  {why}")
    for what, count in collections.Counter(row["verdict"] for row in rows).most_common():
        print(f"{count:6} files {what}")
    for name, text in (("got", "compared"), ("long", "too long")):
        print(f"{sum(row.get(name, 0) for row in rows):6} packets {text}")
    return any(row["verdict"] in ("different", "crash") for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
