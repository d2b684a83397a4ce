# SPDX-License-Identifier: Apache-2.0
"""Captures whose disk fills up, whose process is killed, or whose reader leaves: what is in the
files is whole, in order, and as much as the result says.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
import subprocess
import time

import pytest

from tests.support.blocks import EPB, blocks
from tests.support.captures import counted, pcap_frames, write_pcap
from tests.support.disks import small_disk
from tests.support.identity import answer
from tests.support.processes import kill
from tests.support.tiers import by_tier
from tests.support.waiting import until

PERIOD = 3000
FRAMES = [struct.pack("!14xI", n) + random.Random(n).randbytes(n % 1400) for n in range(PERIOD)]
WAYS = [
    [],
    ["-F", "pcap"],
    ["--compress", "zstd"],
    ["--compress", "gzip"],
    ["--compress", "lz4"],
    ["-b", "packets:1000"],
    ["-b", "filesize:1500", "--compress", "zstd"],
]
SIZES = by_tier([1, 6, 16], [*range(1, 65, 9)], [*range(1, 65)])  # MiB
KILLS = by_tier(2, 4, 200)


@pytest.fixture(autouse=True)
def _unpackers(needs):
    for program in ("zstd", "lz4"):
        needs(program)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Numbered packets without end, which wait until they are taken."""
    path = tmp_path_factory.mktemp("in") / "x.pcap"
    write_pcap(path, FRAMES)
    return f"pcap:{path},loop=on"


def numbers(path):
    """The numbers of the packets in a file."""
    magic, plain = path.read_bytes()[:4], path
    for begin, tool in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip"), (b"\x04\x22", "lz4")):
        if magic.startswith(begin):
            plain = path.parent.parent / "plain"
            with plain.open("wb") as out:
                subprocess.run([tool, "-dc", path], stdout=out, check=True)
    if plain.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a":
        frames = [block.body[20:] for block in blocks(plain) if block.kind == EPB]
    else:
        frames = pcap_frames(plain)
    return [struct.unpack_from("!14xI", frame)[0] for frame in frames]


def in_order(paths):
    """How many packets there are in the files: each once, and in the order of the source."""
    found = list(itertools.chain.from_iterable(map(numbers, paths)))
    assert all((one + 1) % PERIOD == two for one, two in itertools.pairwise(found))
    assert found[:1] in ([], [0])
    return len(found)


@pytest.mark.parametrize("size", SIZES)
def test_a_disk_that_fills_up_has_what_the_result_says(uspnet, source, tmp_path, size):
    way = WAYS[size % len(WAYS)]
    with small_disk(tmp_path / "disk", f"{size}m") as disk:
        done = uspnet("capture", source, "-w", disk / "x", "-B", 4, "--json", *way)
        result, paths = answer(done.stdout), sorted(disk.iterdir())
        assert (done.returncode, result["error"]) == (1, "DeviceFault")
        assert "No space left" in result["message"]
        assert counted(*paths) == in_order(paths) == result["written"] > 100
        assert result["received"] == result["written"] + sum(result["drops"].values())
        assert result["drops"].keys() <= {"no_room"}
        used = sum(path.stat().st_size for path in paths)
        assert used > (size << 20) - (600 << 10)  # a piece that did not fit as a whole


def test_a_reader_that_leaves_ends_the_capture(uspnet, source, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for way in WAYS[:3]:
        with subprocess.Popen(["head", "-c", "300000", fifo], stdout=subprocess.DEVNULL):
            done = uspnet("capture", source, "-w", fifo, "-B", 4, "--json", *way)
        result = answer(done.stdout)
        assert (done.returncode, result["ended"]) == (0, "source")
        assert result["received"] == result["written"] + sum(result["drops"].values())
        assert result["drops"].keys() <= {"peer_left", "no_room"}  # in the buffer, and behind it


@pytest.mark.parametrize("number", range(KILLS))
def test_files_are_whole_and_in_order_whenever_it_is_killed(start, source, tmp_path, number):
    way = WAYS[1:][(number * 5 + 5) % (len(WAYS) - 1)]
    folder = tmp_path / "out"
    folder.mkdir()
    process = start("capture", source, "-w", str(folder / "x"), "-B", "2", "-q", *way)
    until(lambda: [*folder.iterdir()])
    time.sleep(random.Random(number).uniform(0, 0.3))
    kill(process)
    paths = sorted(folder.iterdir())
    assert counted(*paths) == in_order(paths)
