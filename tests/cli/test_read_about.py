# SPDX-License-Identifier: Apache-2.0
"""`uspnet read --about`: what a capture says of itself, in both byte orders."""

from __future__ import annotations

import struct
import subprocess

import pytest

from tests.support.identity import answer
from uspnet.ports.pcap.about import About
from uspnet.ports.pcap.looking import Look

SECTION, INTERFACE, PACKET, STATISTICS = 0x0A0D0D0A, 1, 6, 5
START_S = 1_700_000_000


class Forge:
    """Writes blocks by the draft, not by uspnet."""

    def __init__(self, order):
        self.order = order

    def numbers(self, form, *values):
        return struct.pack(self.order + form, *values)

    def block(self, kind, body, options=()):
        for code, value in options:
            body += self.numbers("HH", code, len(value)) + value + bytes(-len(value) % 4)
        body += bytes(4) if options else b""
        length = self.numbers("I", len(body) + 12)
        return self.numbers("I", kind) + length + body + length

    def time(self, seconds, units=10**9):
        ticks = int((START_S + seconds) * units)
        return self.numbers("II", ticks >> 32, ticks & 0xFFFFFFFF)

    def statistics(self, interface, seconds, received, dropped, *more):
        options = [(4, self.numbers("Q", received)), (5, self.numbers("Q", dropped)), *more]
        return self.block(STATISTICS, self.numbers("I", interface) + self.time(seconds), options)

    def section(self):
        yield self.block(SECTION, self.numbers("IHHq", 0x1A2B3C4D, 1, 0, -1), [
            (1, b"made by hand"), (1, "grün\x1b[31m".encode()), (2, b"a machine"),
            (3, b"an OS"), (4, b"a program")])  # fmt: skip
        yield self.block(INTERFACE, self.numbers("HHI", 1, 0, 96), [
            (2, b"eth0"), (3, b"the first"), (4, bytes([10, 0, 0, 1, 255, 255, 255, 0])),
            (5, bytes(15) + b"\1\x40"), (6, b"\2\0\0\0\0\1"), (8, self.numbers("Q", 10**10)),
            (9, b"\x09"), (11, b"\0tcp port 443"), (12, b"its OS"), (15, b"a NIC"),
            (2988, self.numbers("I", 4711) + b"clock=tsc")])  # fmt: skip
        yield self.block(INTERFACE, self.numbers("HHI", 101, 0, 0))
        yield self.statistics(0, 1, 100, 3, (2, self.time(0)))
        body = self.numbers("I", 0) + self.time(1) + self.numbers("II", 60, 200) + bytes(60)
        yield self.block(PACKET, body)
        yield self.statistics(0, 2, 200, 7)
        yield self.statistics(0, 3, 300, 7)
        yield self.statistics(0, 4, 400, 9, (1, b"the end"), (2, self.time(0)), (3, self.time(4)),
                              (6, self.numbers("Q", 5)), (7, self.numbers("Q", 4)),
                              (8, self.numbers("Q", 3)))  # fmt: skip


@pytest.fixture
def capture(tmp_path):
    """A file of two sections, one in each byte order."""
    path = tmp_path / "in.pcapng"
    path.write_bytes(b"".join([*Forge("<").section(), *Forge(">").section()]))
    return path


def test_everything_that_a_file_says_is_told(uspnet, capture):
    capinfos = subprocess.run(
        ["capinfos", str(capture)], capture_output=True, text=True, check=True
    )
    assert "Capture application: a program" in capinfos.stdout
    done = uspnet("read", "--about", "--stats", "--json", capture)
    (found,) = answer(done.stdout)["files"]
    about, counted = found["about"], found["statistics"]["interfaces"]
    assert [each["byte_order"] for each in about["sections"]] == ["little", "big"]
    for section in about["sections"]:
        said = [section[name] for name in ("hardware", "os", "application", "comments")]
        assert said == ["a machine", "an OS", "a program", ["made by hand", "grün\x1b[31m"]]
    assert [(each["interface"], each["section"]) for each in about["interfaces"]] == [
        (0, 0), (1, 0), (2, 1), (3, 1),
    ]  # fmt: skip
    for first, second in (about["interfaces"][:2], about["interfaces"][2:]):
        assert first | {"interface": 0, "section": 0} == {
            "interface": 0, "section": 0, "link_type": 1, "link": "Ethernet", "snaplen": 96,
            "time_unit": "1 ns", "name": "eth0", "description": "the first", "hardware": "a NIC",
            "os": "its OS", "filter": "tcp port 443", "mac": "02:00:00:00:00:01",
            "addresses": ["10.0.0.1/255.255.255.0", "::1/64"], "speed_bps": 10**10,
            "comments": ["clock=tsc"],
        }  # fmt: skip
        assert (second["link"], second["snaplen"], second["time_unit"]) == ("raw IP", None, "1 µs")
    last = about["statistics"][-1]
    start = START_S * 10**9
    assert last == {
        "interface": 2, "time_ns": start + 4 * 10**9, "start_ns": start,
        "end_ns": start + 4 * 10**9, "received": 400, "dropped": 9, "accepted": 5,
        "os_dropped": 4, "delivered": 3, "comments": ["the end"],
    }  # fmt: skip
    rows = [(each["interface"], each["packets"], each["cut"], each["received"], each["dropped"])
            for each in counted]  # fmt: skip
    assert rows == [(0, 1, 1, 400, 9), (1, 0, 0, None, None), (2, 1, 1, 400, 9),
                    (3, 0, 0, None, None)]  # fmt: skip


def test_people_are_told_when_packets_were_lost(uspnet, capture):
    text = uspnet("read", "--about", "--stats", capture).stdout
    for words in ("written by: a program", "interface 0: eth0", "filter: tcp port 443",
                  "comment: grün\\x1b[31m", "clock=tsc", "speed: 10.00 Gbit/s",
                  "22:13:20.000000000 UTC to 2023-11-14 22:13:21.000000000 UTC: 3 lost",
                  "22:13:21.000000000 UTC to 2023-11-14 22:13:22.000000000 UTC: 4 lost",
                  "22:13:24.000000000 UTC: 2 lost", "lost: 9 (2.2 %), arrived: 400",
                  "interface 3: 0 packets, lost: the file does not say"):  # fmt: skip
        assert words in text, text
    assert "\x1b" not in text


def test_ours_tell_of_themselves(uspnet, tmp_path):
    path = tmp_path / "x.pcapng"
    uspnet("capture", "null:", "-c", "9", "-w", path, "--capture-comment", "mine")
    (found,) = answer(uspnet("read", "--about", path, "--json").stdout)["files"]
    (section,) = found["about"]["sections"]
    assert section["application"].startswith("uspnet ")
    assert section["comments"] == ["mine"]
    assert found["about"]["statistics"][-1]["received"] == 9
    pcap = tmp_path / "x.pcap"
    uspnet("capture", "null:", "-c", "9", "-w", pcap, "-F", "nsecpcap")
    (found,) = answer(uspnet("read", "--about", pcap, "--json").stdout)["files"]
    assert (found["format"], found["about"]["sections"]) == ("nsecpcap", [])
    assert found["about"]["interfaces"][0]["time_unit"] == "1 ns"


def test_a_file_of_nothing_but_blocks_takes_little_memory(tmp_path):
    forge = Forge("<")
    begin, *_, last = forge.section()
    path = tmp_path / "in.pcapng"
    path.write_bytes(begin * 7 + forge.block(INTERFACE, forge.numbers("HHI", 1, 0, 0)) + last * 9)
    about = About(most=5)
    with Look(str(path)) as look:
        look.on_block = about.add
        look.run()
    assert (len(about.sections), len(about.statistics), about.left_out) == (5, 5, 2 + 4)
    assert about.latest[0].received == 400


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_of_no_sense_are_told_or_left_out(uspnet, tmp_path, order):
    forge, path = Forge(order), tmp_path / "in.pcapng"
    begin, *_ = forge.section()
    numbers = [(8, bytes(range(200)) * 10), (14, forge.numbers("q", 2**63 - 1))]
    described = forge.block(INTERFACE, forge.numbers("HHI", 1, 0, 0), numbers)
    body = forge.numbers("I", 0) + forge.time(1, 10**6)
    counted = forge.block(STATISTICS, body, [(4, b"\xff" * 2000), (5, b"\xff" * 129), (7, b"1")])
    path.write_bytes(begin + described + counted)
    text = uspnet("read", "--about", "--stats", path)
    assert (text.returncode, text.stderr) == (0, "")
    assert f"counters at: {2**63 - 1 + START_S + 1}.000000000 s since 1970: none" in text.stdout
    (found,) = answer(uspnet("read", "--about", path, "--json").stdout)["files"]
    (row,) = found["about"]["statistics"]
    assert (row["received"], row["dropped"], row["os_dropped"]) == (None, None, None)
    assert found["about"]["interfaces"][0]["speed_bps"] is None


def test_each_section_has_its_interfaces_and_their_losses(uspnet, tmp_path):
    forge, path = Forge("<"), tmp_path / "in.pcapng"
    begin, first, second, *_ = forge.section()
    part = begin + first + second + forge.statistics(1, 1, 100, 3)
    path.write_bytes(part * 3)
    lines = [line.strip() for line in uspnet("read", "--about", path).stdout.splitlines()]
    named = [line.partition(":")[0] for line in lines if line.startswith(("section", "interface"))]
    assert named == [
        word
        for n in range(3)
        for word in (f"section {n}", f"interface {2 * n}", f"interface {2 * n + 1}")
    ]
    assert sum("lost: 3" in line for line in lines) == 3
