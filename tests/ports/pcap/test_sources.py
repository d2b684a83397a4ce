# SPDX-License-Identifier: Apache-2.0
"""Capture files as people have them, by the command: pipes, compressed files, other link types,
and what goes on beside the bytes. Wireshark's tools judge what is written.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import zstandard

from tests.support.identity import answer
from tests.support.pcap_rig import (
    FRAMES,
    classic,
    enhanced,
    interface,
    option,
    pcapng,
    section,
)
from tests.support.waiting import scaled

MARGIN_S = 60
SAME_CLOCK = 0.99  # a wait is by one clock, elapsed_s by another
ALL = len(FRAMES)
tools = pytest.mark.skipif(
    not shutil.which("capinfos"), reason="capinfos is not installed: apt-get install tshark"
)


def start(*args: str, **more: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "uspnet", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def fwd(*args: str, data: bytes | None = None, code: int = 0) -> tuple[dict[str, Any], str]:
    """The result of a run, and what it said on stderr."""
    process = start("fwd", *args, "--json", stdin=subprocess.PIPE if data is not None else None)
    out, err = process.communicate(data, timeout=scaled(MARGIN_S))
    assert process.returncode == code, (out, err)
    assert b"Traceback" not in err
    return answer(out), err.decode()


def tshark(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-n", "-r", path, "-T", "fields", *(f"-e{field}" for field in fields)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=scaled(MARGIN_S), check=True
    )
    return [line.split("\t") for line in run.stdout.splitlines()]


@pytest.mark.parametrize("data", [pcapng(), classic(">")])
def test_stdin_and_fifos(tmp_path: Path, data: bytes) -> None:
    assert fwd("pcap:-", "null:", data=data)[0]["forwarded"] == ALL
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["tee", tmp_path / "pipe"], stdin=subprocess.PIPE, stdout=-3) as writer:
        assert writer.stdin
        writer.stdin.write(data)
        writer.stdin.close()
        assert fwd(f"pcap:{tmp_path}/pipe", "null:")[0]["forwarded"] == ALL


def test_a_pipe_that_ends_inside_a_packet_has_delivered_the_others() -> None:
    told, _ = fwd("pcap:-", "null:", data=pcapng()[:-20], code=1)
    assert told["forwarded"] == ALL - 1
    assert "the file ends inside it" in told["message"]


@pytest.mark.parametrize("fifo", [False, True])
def test_a_silent_pipe_stops_nobody(tmp_path: Path, fifo: bool) -> None:
    read, write = os.pipe()
    os.mkfifo(tmp_path / "pipe")
    name = f"pcap:{tmp_path}/pipe" if fifo else "pcap:-"
    try:
        process = start("fwd", name, "null:", "--duration", "0.2", "--json", stdin=read)
        assert answer(process.communicate(timeout=scaled(MARGIN_S))[0])["forwarded"] == 0
        process = start("fwd", name, "null:", "-v", stdin=read)
        assert process.stderr
        while b"bursts of" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=scaled(MARGIN_S))
        assert process.returncode == 0
    finally:
        os.close(read)
        os.close(write)


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_files(tmp_path: Path, kind: str) -> None:
    pack, data = PACKERS[kind], pcapng()
    path = tmp_path / "f"
    path.write_bytes(pack(data[:200]) + pack(data[200:]))
    assert fwd(f"pcap:{path}", "null:")[0]["forwarded"] == ALL
    whole = pack(os.urandom(3) + data)  # not a capture file inside
    assert "not a pcap" in fwd("pcap:-", "null:", data=whole, code=1)[0]["message"]
    told, _ = fwd("pcap:-", "null:", data=pack(data * 9)[:-12], code=1)
    assert "ends too early" in told["message"]


@pytest.mark.parametrize("kind", range(0x50, 0x60, 15))
def test_zstd_frames_that_are_to_be_skipped_come_first(kind: int) -> None:
    skip = struct.pack("<B3sI", kind, b"\x2a\x4d\x18", 4) + b"what"
    packed = skip + zstandard.compress(pcapng()[:99]) + skip + zstandard.compress(pcapng()[99:])
    assert fwd("pcap:-", "null:", data=packed)[0]["forwarded"] == ALL


def test_a_zstd_window_may_be_long_but_not_of_any_length() -> None:
    def packed(bits: int) -> bytes:
        how = zstandard.ZstdCompressionParameters(window_log=bits, hash_log=6, chain_log=6)
        compressor = zstandard.ZstdCompressor(compression_params=how).compressobj()
        return compressor.compress(pcapng()) + compressor.flush()

    assert fwd("pcap:-", "null:", data=packed(29))[0]["forwarded"] == ALL
    told, _ = fwd("pcap:-", "null:", data=packed(30), code=1)
    assert "more than 1 GiB" in told["message"]
    assert "zstd --long=31 -dc" in told["hint"]


@pytest.mark.parametrize("kind", ["bz2", "xz"])
def test_a_later_stream_that_is_damaged(tmp_path: Path, kind: str) -> None:
    pack, data = PACKERS[kind], pcapng()
    path = tmp_path / "f"
    later = bytearray(pack(data))
    later[2] ^= 1
    path.write_bytes(pack(data) + later)
    told, _ = fwd(f"pcap:{path}", "null:", code=1)
    assert "data is damaged" in told["message"]
    assert told["forwarded"] == ALL
    path.write_bytes(pack(data) + pack(data)[:5])
    assert "ends too early" in fwd(f"pcap:{path}", "null:", code=1)[0]["message"]
    path.write_bytes(pack(data) + bytes(8) + pack(data) + bytes(4))
    assert fwd(f"pcap:{path}", "null:")[0]["forwarded"] == 2 * ALL


@pytest.mark.parametrize(
    ("begin", "command"),
    [
        (b"\x1f\x9d\x90", "uncompress -c"),
        (b"PK\3\4", "unzip -p"),
        (b"7z\xbc\xaf\x27\x1c", "7z x"),
        (b"\x02\x21\x4c\x18", "lz4 -dc"),
    ],
)
def test_what_only_its_own_program_unpacks(tmp_path: Path, begin: bytes, command: str) -> None:
    (tmp_path / "f").write_bytes(begin + bytes(100))
    for told in (
        fwd(f"pcap:{tmp_path}/f", "null:", code=1)[0],
        fwd("pcap:-", "null:", data=begin + bytes(100), code=1)[0],
    ):
        assert "is compressed" in told["message"]
        assert command in told["hint"]


def test_bombs_are_unpacked_piece_by_piece() -> None:
    """1.2 GB of packets in a megabyte: nobody ever holds more than a window of them."""
    data = classic()[:24] + (struct.pack("<IIII", 1, 0, 60000, 60000) + bytes(60000)) * 20000
    packed = zstandard.compress(data, 1)
    del data
    process = start("fwd", "pcap:-", "null:", "--json", stdin=subprocess.PIPE)
    feeding = process.communicate(packed, timeout=scaled(MARGIN_S))
    assert answer(feeding[0])["forwarded"] == 20000


@pytest.mark.parametrize(
    ("data", "words", "hint"),
    [
        (b"\xac\x01\x00\x1c" + bytes(60), "IXIA", "editcap"),
        (b"snoop\0\0\0" + bytes(60), "snoop", "editcap"),
        (b"\x34\xcd\xb2\xa1" + bytes(60), "Red Hat", "editcap"),
        (classic()[:20], "20 of 24 bytes", "copy"),
        (classic()[:2], "2 of 24 bytes", "copy"),
        (b"hello", "not a pcap", "editcap"),
        (b"", "empty", ""),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, words: str, hint: str) -> None:
    (tmp_path / "f").write_bytes(data)
    for name in (f"pcap:{tmp_path}/f", "pcap:-"):
        told, _ = fwd(name, "null:", data=data, code=1)
        assert words in told["message"]
        assert hint in told["hint"]
        assert not told.get("dropped")


def test_names_with_commas_and_other_bytes(tmp_path: Path) -> None:
    for name in ("a,b.pcap", "-x", "x=y", "a b", "ü\n"):
        (tmp_path / name).write_bytes(classic())
        escaped = str(tmp_path / name).replace(",", "\\,")
        assert fwd(f"pcap:{escaped}", "null:")[0]["forwarded"] == ALL
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pcap")
    Path(odd).write_bytes(classic())
    process = start("fwd", f"pcap:{odd}", f"pcap:out={odd}2", "-q")
    assert process.communicate(timeout=scaled(MARGIN_S)) == (b"", b"")
    assert Path(odd + "2").stat().st_size
    told, _ = fwd(f"pcap:{tmp_path}/a,b.pcap", "null:", code=2)
    assert f"pcap:{tmp_path}/a\\,b.pcap" in told["hint"]


def mixed() -> bytes:
    data = section("<") + interface("<", link=113) + interface("<")
    return data + b"".join(enhanced("<", 1, FRAMES[0], number) for number in (0, 1, 0, 1))


def test_other_link_types(tmp_path: Path) -> None:
    path, out = tmp_path / "f", tmp_path / "out"
    path.write_bytes(mixed())
    told, err = fwd(f"pcap:{path}", f"pcap:out={out}")
    assert (told["forwarded"], told["drops"]) == (2, {"not_ethernet": 2})
    assert "2 packets not Ethernet left out" in err
    raw = section("<") + interface("<", link=101) + enhanced("<", 1, b"\x45" + bytes(27))
    path.write_bytes(raw)
    out.write_bytes(b"precious")
    for data in (None, raw):
        name = "pcap:-" if data else f"pcap:{path}"
        told, _ = fwd(name, f"pcap:out={out}" if not data else "null:", data=data, code=1)
        assert "link type 101 is not Ethernet but raw IP" in told["message"]
        assert told["hint"].endswith(f"{name},ethernet=add")
    assert out.read_bytes() == b"precious"
    assert fwd(f"pcap:{path},ethernet=add", f"pcap:out={out}")[0]["forwarded"] == 1
    assert fwd(f"pcap:{out}", "null:")[0]["forwarded"] == 1


def test_frames_longer_than_the_other_side_takes(tmp_path: Path) -> None:
    path, out = tmp_path / "f", tmp_path / "out"
    long = [bytes(length) for length in (60, 9728, 9729, 65535, 65536)]
    head = section("<") + interface("<")
    path.write_bytes(head + b"".join(enhanced("<", 1, frame) for frame in long))
    told, _ = fwd(f"pcap:{path}", f"pcap:out={out}")
    assert (told["forwarded"], told["drops"]) == (4, {"too_long": 1})
    path.write_bytes(head + enhanced("<", 1, long[-1]))
    told, _ = fwd(f"pcap:{path}", "null:", code=1)
    assert (told["received"], told["drops"]) == (1, {"too_long": 1})
    assert "none of 1 packets" in told["message"]


def test_the_files_own_timing(tmp_path: Path) -> None:
    """Never faster than it says; how much slower is the machine's business."""
    path = tmp_path / "f"
    times = [10**9, 10**9 + 3 * 10**8, 5, 6, 2 * 10**9]  # a step back in time takes none
    data = section("<") + interface("<")
    path.write_bytes(data + b"".join(enhanced("<", at, FRAMES[0]) for at in times))
    for more, least in (("", 2.29), (",speed=4", 0.57), (",max-gap=0.1", 0.2)):
        told, _ = fwd(f"pcap:{path},timing=on{more}", "null:")
        assert told["forwarded"] == 5
        assert told["elapsed_s"] > least * SAME_CLOCK
    path.write_bytes(data + enhanced("<", 0, FRAMES[0]) + enhanced("<", 2**63, FRAMES[0]))
    told, _ = fwd(f"pcap:{path},timing=on", "null:", "--duration", "1")
    assert told["forwarded"] == 1
    assert told["ended"] == "duration"
    told, _ = fwd(f"pcap:{path},timing=on,max-gap=0.05,loop=on", "null:", "--count", "7")
    assert told["elapsed_s"] > 0.15 * SAME_CLOCK


@pytest.mark.parametrize("more", [",speed=2", ",timing=on,speed=0", ",src=02:00:00:00:00:01"])
def test_options_that_make_no_sense(tmp_path: Path, more: str) -> None:
    (tmp_path / "f").write_bytes(classic())
    assert fwd(f"pcap:{tmp_path}/f{more}", "null:", code=2)[0]["hint"]


def test_what_can_be_read_once_does_not_loop(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(gzip.compress(classic()))
    told, _ = fwd(f"pcap:{tmp_path}/f,loop=on", "null:", code=1)
    assert "gzip -dc" in told["hint"]
    fwd("pcap:-,loop=on", "null:", data=classic(), code=1)


@tools
@pytest.mark.parametrize("kind", ["pcapng", "pcap"])
def test_lengths_on_the_wire_are_kept(tmp_path: Path, kind: str) -> None:
    path, out = tmp_path / "f", tmp_path / "out"
    path.write_bytes(section("<") + interface("<") + enhanced("<", 1, bytes(54), wire=1514))
    fwd(f"pcap:{path}", f"pcap:out={out},format={kind}")
    assert tshark(out, "frame.len", "frame.cap_len") == [["1514", "54"]]
    process = start("capture", f"pcap:{path}", "-s", "20", "-w", str(out), "-F", kind)
    process.communicate(timeout=scaled(MARGIN_S))
    assert tshark(out, "frame.len", "frame.cap_len") == [["1514", "20"]]


@tools
def test_times_that_few_formats_hold(tmp_path: Path) -> None:
    path, out = tmp_path / "f", tmp_path / "out"
    head = section("<") + interface("<", 0, -100) + interface("<", 0)
    path.write_bytes(
        head
        + enhanced("<", 10, FRAMES[0], 0)
        + enhanced("<", 20_000_000_000, FRAMES[0], 1)
        + enhanced("<", 100, FRAMES[0], 0)
    )
    _, err = fwd(f"pcap:{path}", f"pcap:out={out}")
    assert [row[0].partition(".")[0] for row in tshark(out, "frame.time_epoch")] == [
        "-90",
        "20000000000",
        "0",
    ]
    assert "packet 1 has no time, or one outside of 1970 to 2554 (and 1 more): kept" in err
    _, err = fwd(f"pcap:{path}", f"pcap:out={out},format=nsecpcap")
    assert "packet 1 has no time" in err
    assert "replaced" in err
    assert tshark(out, "frame.time_epoch")[2] == ["0.000000000"]
    path.write_bytes(head + enhanced("<", 2**32, FRAMES[0], 1))
    assert "later than a pcap file" in fwd(f"pcap:{path}", f"pcap:out={out},format=pcap")[1]


@tools
@pytest.mark.parametrize("piped", [False, True])
def test_interfaces_comments_and_directions_go_on(tmp_path: Path, piped: bool) -> None:
    data = section(">") + interface(">", options=option(">", 2, b"west"))
    data += interface(">", 6, options=option(">", 2, b"east"))
    more = option(">", 1, b"a comment") + option(">", 2, struct.pack(">I", 2))
    data += enhanced(">", 1, FRAMES[0], 1, options=more) + enhanced(">", 2, FRAMES[0], 0)
    (tmp_path / "f").write_bytes(data)
    out = tmp_path / "out"
    source = "pcap:-" if piped else f"pcap:{tmp_path}/f"
    fwd(f"pcap:out={out}", source, data=data if piped else None)
    fields = ("frame.interface_name", "frame.comment", "frame.packet_flags_direction")
    west, east = ["west", "", ""], ["east", "a comment", "0x00000002"]
    assert tshark(out, *fields) == [east, west]
    assert "Capture application: uspnet" in subprocess.check_output(["capinfos", out], text=True)


def test_a_pipe_without_a_packet_makes_a_whole_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fwd("pcap:-", f"pcap:out={out}", data=b"", code=1)
    assert fwd(f"pcap:{out}", "null:")[0]["received"] == 0
    fwd("pcap:-", f"pcap:out={out}", data=classic()[:24])
    assert fwd(f"pcap:{out}", "null:")[0]["received"] == 0
