# SPDX-License-Identifier: Apache-2.0
"""The columns that C makes of packets, and the Parquet file that they become; tshark is the
judge.
"""

from __future__ import annotations

import ipaddress
import random
import subprocess
import sys

import pytest

from tests.support.captures import write_pcap
from tests.support.mixture import mixture, times
from tests.support.waiting import scaled
from uspnet.errors import Malformed, NotSupported, Usage
from uspnet.fastpath import ffi
from uspnet.jobs.reading import export
from uspnet.jobs.reading.export import COLUMNS, Export
from uspnet.ports.pcap.looking import Look

PACKETS = 70_000  # more than C has room for at a time
FIELDS = ["frame.number", "frame.len", "frame.cap_len", "vlan.id", "ip.src", "ipv6.src",
          "ip.dst", "ipv6.dst", "ip.proto", "tcp.srcport", "udp.srcport", "sctp.srcport",
          "tcp.dstport", "udp.dstport", "sctp.dstport", "tcp.flags"]  # fmt: skip


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Packets, the last of which is cut, and their times."""
    dice = random.Random(9)
    some, stamps = mixture(dice, 700), times(dice, PACKETS)
    frames = [dice.choice(some)[:80] for _ in range(PACKETS)]
    path = tmp_path_factory.mktemp("columns") / "in.pcap"
    write_pcap(path, frames, stamps)
    return path, frames, stamps


def address(text):
    """An address as the columns have it."""
    found = ipaddress.ip_address(text)
    return found.packed if found.version == 6 else bytes(10) + b"\xff\xff" + found.packed


def expected(path, count):
    """The first packets' columns, as tshark decodes them."""
    each = [word for name in FIELDS for word in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-c", str(count), "-T", "fields", *each]
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(120), check=True)
    for line in done.stdout.splitlines():
        number, wire, kept, vlan, *rest = line.split("\t")
        src, dst, proto = "".join(rest[:2]), "".join(rest[2:4]), rest[4]
        sport, dport, flags = "".join(rest[5:8]), "".join(rest[8:11]), rest[11]
        yield {
            "number": int(number), "len": int(wire), "cap_len": int(kept),
            "vlan": int(vlan.split(",")[0]) if vlan else None,
            "ip_version": (6 if ":" in src else 4) if src else None,
            "src": address(src) if src else None, "dst": address(dst) if dst else None,
            "proto": int(proto) if proto else None,
            "sport": int(sport) if sport else None, "dport": int(dport) if dport else None,
            "tcp_flags": int(flags, 16) if flags else None,
        }  # fmt: skip


class Arrow:
    """What stands in for pyarrow: the columns as Python has them."""

    def __init__(self, columns):
        self.rows = [
            {name: self.value(columns, n, *how) for name, how in COLUMNS.items()}
            for n in range(columns.n)
        ]

    def value(self, columns, n, name, kind, where):
        if where and not getattr(columns, where)[n // 8] >> n % 8 & 1:
            return None
        column = getattr(columns, name)
        return bytes(ffi.buffer(column + 16 * n, 16)) if kind == "address" else int(column[n])


def test_columns_are_what_tshark_decodes(capture):
    path, _, stamps = capture
    columns = ffi.new("struct pcap_columns *")
    with Look(str(path), None, 700) as look:
        look.c.columns = columns
        look.run()
    rows = Arrow(columns).rows
    wanted = [*expected(path, 700)]
    assert [row["ts_ns"] for row in rows] == stamps[:700]
    for row, want in zip(rows, wanted, strict=True):
        want["proto"] = want["proto"] if want["ip_version"] == 4 else row["proto"]
        assert {name: row[name] for name in want} == want
    data = path.read_bytes()
    for row, frame in zip(rows, capture[1], strict=False):
        assert data[row["offset"] + 16 : row["offset"] + 16 + len(frame)] == frame


def test_a_table_has_every_packet_of_every_file(capture, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    path, frames, stamps = capture
    monkeypatch.setattr(export, "GROUP", 1 << 16)
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(path.read_bytes()[:-1])
    table = Export(str(tmp_path / "x.parquet"), [str(path), str(cut)])
    with Look(str(path)) as look:
        table.add(look)
    with Look(str(cut), "tcp") as look, pytest.raises(Malformed):
        table.add(look)
    table.close()
    made = parquet.read_table(tmp_path / "x.parquet")
    rows = made.to_pylist()
    first = [row for row in rows if row["file"] == str(path)]
    assert [(row["ts_ns"], row["len"]) for row in first] == [
        *zip(stamps, map(len, frames), strict=True)
    ]
    ours = [{name: row[name] for name in ("src", "dst", "sport", "dport")} for row in first[:700]]
    assert ours == [{name: row[name] for name in ours[0]} for row in expected(path, 700)]
    rest = rows[len(first) :]
    assert {row["file"] for row in rest} == {str(cut)}
    assert len(rows) == table.packets
    flags = [row["tcp_flags"] for row in first[:-1] if row["proto"] == 6]
    assert [row["tcp_flags"] for row in rest] == flags


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(Usage, match="not a parquet file"):
        Export(str(tmp_path / "x.csv"), [])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotSupported, match="needs pyarrow"):
        Export(str(tmp_path / "x.parquet"), [])
    assert [*tmp_path.iterdir()] == []
