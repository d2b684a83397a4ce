# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture --dedup`, by the rules of editcap, which is asked what is right."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.support.captures import write_pcap
from tests.support.identity import answer

START_NS, MS = 1_700_000_000 * 10**9, 10**6
COUNT = 1000
KINDS = [
    IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=9) / bytes(70),
    Dot1Q(vlan=7) / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(dport=80) / bytes(1300),
    Dot1Q(type=0x88A8) / Dot1Q() / IPv6(dst="fd00::1") / UDP() / bytes(10),
    ARP(pdst="10.0.0.1"),
]


def changed(frame, macs=b"", hops=None):
    """The frame with other MAC addresses, or behind another number of hops."""
    data, at = bytearray(frame), 12
    data[: len(macs)] = macs
    while data[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    kind, header = bytes(data[at : at + 2]), at + 2
    if hops is not None and kind == b"\x08\x00":
        data[header + 8], data[header + 10 : header + 12] = hops, struct.pack("!H", 7 * hops)
    elif hops is not None and kind == b"\x86\xdd":
        data[header + 7] = hops
    return bytes(data)


@pytest.fixture(scope="module")
def load():
    """Frames that come again after more or less time, some of them changed; and their times."""
    dice, frames, now, times = random.Random(3), [], START_NS, []
    made = [bytes(Ether(src="02::1", dst="02::2") / each) for each in KINDS]
    made += [frame[:-1] + bytes([n]) for frame in made for n in range(1, 6)]
    made += [bytes(range(1, length)) for length in (15, 16, 17, 30)]
    for _ in range(COUNT):
        frame = dice.choice(made)
        macs = dice.choice([b"", b"", dice.randbytes(6), bytes(11), bytes(12)])
        frames.append(changed(frame, macs, dice.choice([None, None, 1, 64])))
        now += dice.choice([1, 1000, MS, 10 * MS, 50 * MS])
        times.append(now)
    return frames, times


def kept(path):
    """The times of a nsecpcap file's packets, which no two share."""
    data, at, times = path.read_bytes(), 24, []
    while at < len(data):
        times.append(struct.unpack_from("=II", data, at))
        at += 16 + struct.unpack_from("=I", data, at + 8)[0]
    return times


@pytest.mark.parametrize(
    ("ignore", "same", "skip"),
    [
        ("", lambda frame: frame, 0),
        (",ignore=mac", lambda frame: frame, 12),
        (",ignore=ttl", lambda frame: changed(frame, hops=0), 0),
        (",ignore=ttl,mac", lambda frame: changed(frame, hops=0), 12),
    ],
)
def test_what_is_left_out_are_editcaps_duplicates(uspnet, load, tmp_path, ignore, same, skip):
    frames, times = load
    write_pcap(tmp_path / "in", frames, times)
    write_pcap(tmp_path / "same", [same(frame) for frame in frames], times)
    many = set()
    for window in (1, 50):
        words = ["-w", f"{window / 1000}", *(["-I", str(skip)] if skip else [])]
        command = ["editcap", "-F", "nsecpcap", *words, tmp_path / "same", tmp_path / "theirs"]
        subprocess.run(command, check=True, capture_output=True)
        theirs = kept(tmp_path / "theirs")
        words = [
            "-F",
            "nsecpcap",
            "-w",
            tmp_path / "ours",
            "--dedup",
            f"{window}ms{ignore}",
            "--json",
        ]
        found = answer(uspnet("capture", f"pcap:{tmp_path / 'in'}", *words).stdout)
        assert kept(tmp_path / "ours") == theirs
        left_out = COUNT - len(theirs)
        assert found["drops"] == {"duplicate": left_out}
        assert (found["deduplicated"]["packets"], found["written"]) == (left_out, len(theirs))
        many.add(left_out)
    assert len(many) == 2
    assert min(many) > 0


def test_several_ports_a_count_and_flows_see_what_is_left(uspnet, load, tmp_path):
    frames, _ = load
    unlike = [frame + struct.pack("!H", n) for n, frame in enumerate(frames)]
    write_pcap(tmp_path / "a", unlike, [START_NS + 100 * n for n in range(COUNT)])
    write_pcap(tmp_path / "b", unlike, [START_NS + 100 * n - 70 for n in range(COUNT)])
    ports = [f"pcap:{tmp_path / name}" for name in "ab"]
    found = answer(uspnet("capture", *ports, "--dedup", "1s", "--json").stdout)
    assert (found["discarded"], found["drops"]) == (COUNT, {"duplicate": COUNT})
    words = ["--dedup", "1s", "-c", 400, "--json"]
    found = answer(uspnet("capture", *ports, *words).stdout)
    assert (found["discarded"], found["ended"]) == (400, "count")
    words = ["--dedup", "1s", "--first", "1/flow", "-w", tmp_path / "x", "--fail-on-loss"]
    done = uspnet("capture", *ports, *words)
    assert f"duplicates within 1000ms {COUNT:,}, " in done.stdout
    assert "left out: packets with the same bytes as one within 1000 ms" in str(
        (tmp_path / "x").read_bytes()
    )
    assert done.returncode == 0
    words = ["--dedup", "1s,packets=1", "--json"]
    found = answer(uspnet("capture", ports[0], *words).stdout)
    assert found["deduplicated"]["forgotten"] == COUNT - 8, "all that there was a place for"
