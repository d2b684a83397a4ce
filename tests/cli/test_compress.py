# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture --compress`: files that other programs unpack, also when they were cut."""

from __future__ import annotations

import os
import random
import re
import subprocess

import lz4.frame
import pytest

from tests.support.captures import counted, pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.waiting import scaled
from uspnet.ports.pcap.output import STEP, Output
from uspnet.ports.pcap.packing import BUFFER, packed, packer

FRAMES = [n.to_bytes(4) * 15 + random.Random(n).randbytes(n % 40) for n in range(60_000)]
UNPACK = {"zstd": ["zstd", "-dc"], "gzip": ["gzip", "-dc"], "lz4": ["lz4", "-dc"]}


@pytest.fixture(autouse=True)
def _unpackers(needs):
    for program in ("zstd", "lz4"):
        needs(program)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "x.pcap"
    write_pcap(path, FRAMES)
    return f"pcap:{path}"


def unpacked(kind, data):
    done = subprocess.run(UNPACK[kind], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpacked_in_part(kind, data):
    """What is there of a file that was cut. lz4 1.10 writes none of its last 4 MiB then."""
    if kind != "lz4":
        return subprocess.run(UNPACK[kind], input=data, capture_output=True, check=False).stdout
    found = b""
    while data:
        frame = lz4.frame.LZ4FrameDecompressor()
        found += frame.decompress(data)
        data = frame.unused_data
    return found


@pytest.mark.parametrize("kind", UNPACK)
def test_other_programs_unpack_files_also_when_they_were_cut(uspnet, source, tmp_path, kind):
    path, plain = tmp_path / f"x.pcap.{kind}", tmp_path / "plain.pcap"
    done = uspnet("capture", source, "-w", path, "-F", "pcap", "--compress", kind, "--json")
    result = answer(done.stdout)
    assert (result["written"], done.stderr) == (len(FRAMES), "")
    data = path.read_bytes()
    plain.write_bytes(unpacked(kind, data))
    assert pcap_frames(plain) == FRAMES
    assert len(data) < len(plain.read_bytes()) * 0.9
    assert counted(path) == len(FRAMES)
    for part in (0.3, 0.7, 0.99):
        cut = unpacked_in_part(kind, data[: int(len(data) * part)])
        assert plain.read_bytes().startswith(cut)
        assert len(cut) > (part - 0.2) * plain.stat().st_size
    again = answer(uspnet("capture", f"pcap:{path}", "--json").stdout)
    assert again["received"] == len(FRAMES)


@pytest.mark.parametrize("kind", UNPACK)
def test_each_file_of_several_is_compressed_by_itself(uspnet, source, tmp_path, kind):
    words = ["-w", tmp_path / "x.pcapng.gz", "-b", "filesize:400", "--compress", kind, "--json"]
    result = answer(uspnet("capture", source, *words).stdout)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) > 3
    assert all(re.fullmatch(r"x_\d{5}_\d{14}\.pcapng\.gz", path.name) for path in paths)
    assert all(400_000 <= path.stat().st_size < 401_000 for path in paths[:-1])
    assert sum(map(counted, paths)) == result["written"] == len(FRAMES)


def test_a_pipe_and_a_file_that_is_appended_to_are_whole(uspnet, start, source, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for kind in UNPACK:
        with (tmp_path / "piped").open("wb") as out, subprocess.Popen(["cat", fifo], stdout=out):
            uspnet("capture", source, "-w", fifo, "--compress", kind)
        (tmp_path / kind).write_bytes(unpacked(kind, (tmp_path / "piped").read_bytes()))
        assert counted(tmp_path / kind) == len(FRAMES)
    out = tmp_path / "out"
    for through in (f'exec "$@" >> {out}', f'{{ "$@"; echo -n after; }} > {out}'):
        process = start("capture", source, "-w", "-", "--compress", "zstd", "-q", through=through)
        _, said = process.communicate(timeout=scaled(60))
        assert process.returncode == 0, said
        data = out.read_bytes().removeprefix(b"before").removesuffix(b"after")
        (tmp_path / "x").write_bytes(unpacked("zstd", data))
        assert counted(tmp_path / "x") == len(FRAMES)


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_no_frame_begins_across_two_buffers_of_wireshark(kind):
    make, chance = packer(kind), random.Random(1)
    for length in range(BUFFER - 40, BUFFER + 10):
        data = chance.randbytes(length)
        found = packed(make, data)
        assert len(found) % BUFFER <= BUFFER - 4
        assert unpacked(kind, found) == data


@pytest.mark.parametrize("kind", UNPACK)
def test_pieces_are_whole_when_the_disk_is_asked_to_write_behind_them(tmp_path, kind):
    """From the first piece on, and as long as a file of short packets has been written."""
    file = Output(os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT), packer(kind))
    piece = random.Random(3).randbytes(1 << 18)
    pieces = 2 * STEP // len(piece) + 3
    for _ in range(pieces):
        file.add(piece)
    file.close()
    assert unpacked(kind, (tmp_path / "x").read_bytes()) == piece * pieces
