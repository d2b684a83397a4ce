# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture --writing`: files that go past the page cache hold what others hold."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import signal
import struct
import time
from dataclasses import replace

import pytest

from tests.support.blocks import EPB, blocks
from tests.support.captures import counted, pcap_frames, write_pcap
from tests.support.disks import small_disk, small_ext4
from tests.support.identity import answer
from tests.support.processes import kill
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.cli.views.live import format_live
from uspnet.cli.views.ports import Rates
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.plan import Limits
from uspnet.jobs.result import FileBuffer
from uspnet.ports.pcap.fill import fill
from uspnet.ports.registry import make_port

FRAMES = [struct.pack("!14xI", n) + random.Random(n).randbytes(n % 1400) for n in range(3000)]
KILLS = by_tier(2, 6, 200)
SIZES = by_tier([6], [1, 5, 17], [*range(1, 65)])  # MiB
FORMATS = ("pcapng", "pcap", "nsecpcap")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "x.pcap"
    write_pcap(path, FRAMES)
    return f"pcap:{path}"


@pytest.fixture
def disk(tmp_path):
    """A folder whose file system writes past the page cache."""
    with (tmp_path / "probe").open("wb") as file:
        alignment = lib.file_direct_alignment(file.fileno())
    (tmp_path / "probe").unlink()
    if not alignment:
        pytest.skip("the folder of temporary files is on no disk: set TMPDIR")
    return tmp_path


def cached_share(path):
    """The share of a file that is in the page cache, by the kernel's own account."""
    libc = ctypes.CDLL(None)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pages = -(-len(mapped) // mmap.PAGESIZE)
        found, base = (ctypes.c_ubyte * pages)(), ctypes.c_char.from_buffer(mapped)
        assert libc.mincore(ctypes.byref(base), ctypes.c_size_t(len(mapped)), found) == 0
        del base
    return sum(each & 1 for each in found) / pages


@pytest.mark.parametrize("kind", by_tier(["pcapng"], FORMATS))
def test_a_file_is_the_same_whichever_way_it_went(uspnet, source, disk, kind):
    cached = {}
    for way in ("direct", "buffered"):
        words = ["-w", disk / way, "-F", kind, "--writing", way, "--json", "-B", 1]
        found = answer(uspnet("capture", f"{source},loop=on", "-c", 5 * len(FRAMES), *words).stdout)
        cached[way] = cached_share(disk / way)
        assert (found["writing"], found["dropped"]) == (way, 0)
        assert counted(disk / way) == found["written"] == 5 * len(FRAMES)
        assert found["files"] == [str(disk / way)]
    assert cached["direct"] < 0.1
    assert cached["buffered"] > 0.9
    if kind == "pcapng":
        one, two = (blocks(disk / way) for way in ("direct", "buffered"))
        assert [b.body for b in one if b.kind == EPB] == [b.body for b in two if b.kind == EPB]
        assert "written: past the page cache (O_DIRECT)" in one[1].text(1)
        assert "written: through the page cache" in two[1].text(1)
    else:
        assert pcap_frames(disk / "direct") == pcap_frames(disk / "buffered") == FRAMES * 5
    assert found["buffer"]["full"] == 0
    size = (disk / way).stat().st_size
    assert found["buffer"]["passed_bytes"] == pytest.approx(size, rel=0.01)
    assert "written direct" in uspnet("capture", source, "-w", disk / "x").stdout


def test_what_waits_for_the_file_is_shown(tmp_path):
    sink = make_sink(str(tmp_path / "x"), buffer_mib=1)
    with CaptureJob(make_port("null:"), Limits(count=1000), sink) as job:
        result = job.run()
        ring, half = sink.writer.rings[0], lib.PCAP_ROOM // 2
        at = ring.positions.published
        ring.positions.published = at + half  # as with records that nobody has written
        assert fill(sink)[0] == pytest.approx(0.5 / ring.n_chunks)
        ring.positions.published = at
    full = replace(result, buffer=FileBuffer(full=0.25, passed_bytes=1 << 30))
    text = "\n".join(line.plain for line in format_live(full, [Rates()], 80, 24, 512e6))
    assert "buffer 25.0 % full, to file 512.00 MB/s" in text


def test_records_do_not_wait_for_a_whole_block(started, disk, tmp_path):
    port, path = f"memif:{tmp_path}/m.sock", disk / "x.pcap"
    started("pktgen", f"{port},role=server", "--rate", "2k")
    until((tmp_path / "m.sock").exists)
    job = started("capture", port, "-w", path, "-F", "pcap", "--writing", "direct")
    until(lambda: path.exists() and len(path.read_bytes()) > 5 * 76)
    assert len(path.read_bytes()) < 1 << 20
    assert job.process.poll() is None
    job.process.send_signal(signal.SIGINT)
    code, out, _ = job.ends()
    assert (code, answer(out)["writing"]) == (0, "direct")
    assert counted(path) == answer(out)["written"]


def test_files_of_a_ring_go_past_the_page_cache_too(uspnet, source, disk, monkeypatch):
    (disk / "out").mkdir()
    monkeypatch.chdir(disk / "out")
    for condition in ("filesize:700", "packets:999"):
        words = ["-w", "x.pcap", "-F", "pcap", "-b", condition, "--writing", "direct", "--json"]
        done = uspnet("capture", f"{source},loop=on", "-c", 6000, *words)
        found = answer(done.stdout)
        paths = [disk / "out" / name for name in found["files"]]
        frames = [frame for path in paths for frame in pcap_frames(path)]
        assert frames == FRAMES * 2
        assert (found["writing"], len(paths) > 3) == ("direct", True)
        if condition == "filesize:700":
            assert all(700_000 <= path.stat().st_size < 702_000 for path in paths[:-1])
        for path in paths:
            path.unlink()


@pytest.mark.parametrize("number", range(KILLS))
def test_a_file_is_whole_whenever_the_command_is_killed(start, source, disk, number):
    path, kind = disk / "x", FORMATS[number % len(FORMATS)]
    process = start("capture", f"{source},loop=on", "-w", path, "-F", kind, "-B", "2", "-q",
                    "--writing", "direct")  # fmt: skip
    until(lambda: path.exists() and path.stat().st_size)
    time.sleep(random.Random(number).uniform(0, 0.2))
    kill(process)
    counted(path)  # fails for a file that is cut
    if kind != "pcapng":
        frames = pcap_frames(path)
        assert all(frame == FRAMES[n % len(FRAMES)] for n, frame in enumerate(frames))


@pytest.mark.parametrize("size", SIZES)
def test_a_disk_that_fills_up_has_what_the_result_says(uspnet, source, tmp_path, size):
    kind = FORMATS[size % len(FORMATS)]
    with small_ext4(tmp_path / "disk", size) as disk:
        words = ["-w", disk / "x", "-F", kind, "-B", 4, "--writing", "direct", "--json"]
        done = uspnet("capture", f"{source},loop=on", *words)
        result = answer(done.stdout)
        assert (done.returncode, result["error"]) == (1, "DeviceFault")
        assert "No space left" in result["message"]
        assert counted(disk / "x") == result["written"] > 100
        assert result["received"] == result["written"] + sum(result["drops"].values())
        assert result["drops"].keys() <= {"no_room"}
        assert os.statvfs(disk).f_bavail <= 4  # of 1 KiB: all that fits is there


def test_what_can_not_go_past_the_page_cache_is_told(uspnet, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    direct = ["--writing", "direct"]
    with small_disk(tmp_path / "disk", "1m") as disk:
        for words, code, text, hint in [
            (["-w", disk / "x"], 1, "its file system writes only through", "to a disk: ext4"),
            (["-w", "x", "--compress", "zstd"], 2, "compressed files are", "drop --writing direct"),
            (["-w", "/dev/null"], 2, "/dev/null can't be written past", "name a file"),
            ([], 2, "--writing needs -w FILE", "add -w FILE"),
        ]:
            done = uspnet("capture", source, *words, *direct)
            assert text in done.stderr
            assert hint in done.stderr
            assert done.returncode == code
            assert not (disk / "x").exists()
        found = answer(uspnet("capture", source, "-w", disk / "y", "-c", 9, "--json").stdout)
        assert found["writing"] == "buffered"
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    assert answer(uspnet("capture", source, "--json").stdout)["writing"] is None
