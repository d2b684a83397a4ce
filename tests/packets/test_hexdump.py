# SPDX-License-Identifier: Apache-2.0
"""Hexadecimal text as real programs print packets, read back."""

from __future__ import annotations

import random
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.utils import PcapReader, wrpcap

from tests.support.waiting import scaled
from uspnet.errors import Usage
from uspnet.packets.hexdump import read_hex

FRAMES = [
    bytes(range(60)),
    b"\xff" * 6 + b"abcdefgh" + b"ab cd 61 62 || ..." * 3 + b"ab",
    random.Random(1).randbytes(333),
    b"0000  00 61 6a 6b " * 5,
]
DUMPS = [
    ["xxd"],
    ["xxd", "-p"],
    ["xxd", "-g1", "-c8"],
    ["xxd", "-u", "-g4"],
    ["hexdump", "-v", "-C"],
    ["od", "-v", "-Ax", "-tx1"],
    ["od", "-v", "-Ax", "-tx1z"],
]


def printed(command, frame):
    done = subprocess.run(command, input=frame, capture_output=True, check=True, timeout=scaled(60))
    return done.stdout.decode()


@pytest.mark.parametrize("command", DUMPS, ids=" ".join)
@pytest.mark.parametrize("between", ["\n", "\n \n# next\n"])
def test_what_programs_print(command, between, needs):
    needs(command[0])
    text = between.join(printed(command, frame) for frame in FRAMES)
    assert read_hex(text, "stdin") == FRAMES


@pytest.mark.parametrize("frame", FRAMES, ids=range(4))
def test_packets_in_dumps_begin_at_offset_0(frame, needs):
    needs("xxd")
    assert read_hex(printed(["xxd"], frame) * 3, "stdin") == [frame] * 3


@pytest.mark.parametrize("program", ["tshark -x -r", "tcpdump -xx -n -r", "tcpdump -XX -n -r"])
def test_what_wireshark_and_tcpdump_print(program, needs, tmp_path):
    command = program.split()
    needs(command[0])
    file = tmp_path / "x.pcap"
    wrpcap(str(file), FRAMES[:3], linktype=1)
    text = printed([*command, str(file)], b"")
    if command[0] == "tcpdump":  # of which a summary may have several lines
        text = "".join(line for line in text.splitlines(True) if line.startswith("\t0x"))
    assert read_hex(text, "stdin") == FRAMES[:3]


def test_text2pcap_reads_the_same(needs, tmp_path):
    needs("text2pcap")
    text = "".join(printed(["xxd", "-g1"], frame) for frame in FRAMES[:3])
    (tmp_path / "x.txt").write_text(text)
    subprocess.run(["text2pcap", "-F", "pcap", tmp_path / "x.txt", tmp_path / "x.pcap"],
                   capture_output=True, check=True, timeout=scaled(60))  # fmt: skip
    with PcapReader(str(tmp_path / "x.pcap")) as reader:
        assert read_hex(text, "stdin") == [bytes(packet) for packet in reader] == FRAMES[:3]


def test_plain_digits_in_any_groups():
    frame = FRAMES[0]
    for text in (frame.hex(), frame.hex(" "), frame.hex(":"), frame.hex(" ", 2).upper(),
                 "0x" + frame.hex(), ",".join(f"0x{byte:02x}" for byte in frame),
                 frame.hex()[:30] + "\n" + frame.hex()[30:]):  # fmt: skip
        assert read_hex(text, "stdin") == [frame], text
    assert read_hex(f"{frame.hex()}\n\n\n{frame.hex()}", "stdin") == [frame, frame]


@given(st.binary(min_size=14, max_size=120), st.sampled_from([8, 16, 32]))
@example(b"ab" * 16 + b"ab", 16)
@example(bytes(16) + b"  ", 16)
@example(b"........ab  cd  ef", 16)
def test_any_frame_survives_a_dump(frame, width):
    lines = []
    for at in range(0, len(frame), width):
        part = frame[at : at + width]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:04x}  {part.hex(' '):{3 * width}}  {shown}")
    assert read_hex("\n".join(lines), "stdin") == [frame]


WRONG = [
    ("", "stdin: no packet in it"),
    ("# nothing\n\n", "stdin: no packet in it"),
    ("00" * 20 + "\n" + "0g" * 20, "stdin:2: 'g' is no hex digit"),
    ("00" * 20 + "0", "stdin:1: 41 hex digits are no bytes"),
    ("\n" + "00" * 13, "stdin:2: a packet of 13 bytes"),
    ("00" * 13 + "\n\n" + "00" * 20, "stdin:2: a packet of 13 bytes"),
    ("0000: " + "00 " * 16 + "\n0020: " + "00 " * 16, "stdin:2: offset 0x0020 after 16 bytes"),
    ("0000: " + "00 " * 16 + "\n*\n0020: 00", "stdin:2: a line without offset"),
    ("00" * 9729, "stdin:1: a packet of more than 9,728 bytes"),
    (("00" * 14 + "\n\n") * 16385, "more than 16,384 packets"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_what_is_wrong_is_told_with_its_line(text, told):
    with pytest.raises(Usage) as error:
        read_hex(text, "stdin")
    assert told in error.value.message
    assert error.value.hint
