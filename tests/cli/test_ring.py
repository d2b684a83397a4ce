# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture -b` and `-a filesize`: several files, of which each is complete by itself."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import time

import pytest

from tests.support.blocks import statistics
from tests.support.captures import counted, pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.processes import kill
from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until

FRAMES = [n.to_bytes(4) * 15 + bytes(n % 50) for n in range(5000)]
NAME = re.compile(r"x_(\d{5})_(\d{14})\.(pcapng|pcap)")
KILLS, ENDS = by_tier(4, 8, 200), by_tier(1, 6, 100)


@pytest.fixture
def source(tmp_path):
    """A capture file as a port, of numbered packets."""
    (tmp_path / "in").mkdir()
    write_pcap(tmp_path / "in" / "x.pcap", FRAMES)
    return f"pcap:{tmp_path / 'in' / 'x.pcap'}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return tmp_path / "out"


def frames_of(path):
    if path.suffix == ".pcap":
        return pcap_frames(path)
    command = ["editcap", "-F", "pcap", path, path.with_suffix(".tmp")]
    subprocess.run(command, check=True, capture_output=True)
    found = pcap_frames(path.with_suffix(".tmp"))
    path.with_suffix(".tmp").unlink()
    return found


@pytest.mark.parametrize("kind", ["pcapng", "pcap"])
@pytest.mark.parametrize(
    ("condition", "files"), [("packets:777", 7), ("packets:1000", 5), ("filesize:100", None)]
)
def test_files_have_every_packet_once_and_in_order(uspnet, source, folder, condition, files, kind):
    words = ["-w", f"x.{kind}", "-F", kind, "-b", condition, "-b", "printname:names", "--json"]
    found = answer(uspnet("capture", source, *words).stdout)
    paths = sorted(folder.glob("x_*"))
    numbers = [int(NAME.fullmatch(path.name)[1]) for path in paths]
    assert numbers == list(range(1, len(paths) + 1))
    assert found["files"] == [path.name for path in paths]
    assert (folder / "names").read_text().split() == found["files"]
    parts = [frames_of(path) for path in paths]
    assert list(itertools.chain.from_iterable(parts)) == FRAMES
    assert (found["written"], found["deleted_files"]) == (len(FRAMES), 0)
    if files:
        assert {len(part) for part in parts[:-1]} == {int(condition.partition(":")[2])}
        assert len(parts) == files
    else:  # the packet that reaches the size is the last one; then there are statistics
        assert len(parts) > 3
        assert all(100_000 <= path.stat().st_size < 100_400 for path in paths[:-1])
    assert sum(map(counted, paths)) == len(FRAMES)


def test_the_last_files_are_kept(uspnet, source, folder):
    words = ["-w", "x.pcap", "-F", "pcap", "-b", "packets:600", "-b", "files:3", "--json"]
    found = answer(uspnet("capture", source, *words, "-b", "nametimenum:2").stdout)
    paths = sorted(folder.iterdir(), key=lambda path: path.stem[-5:])
    assert [path.name for path in paths] == found["files"]
    assert [path.stem[-5:] for path in paths] == ["00007", "00008", "00009"]
    assert [frame for path in paths for frame in pcap_frames(path)] == FRAMES[3600:]
    assert (found["written"], found["deleted_files"], found["deleted_packets"]) == (5000, 6, 3600)


def taken(found):
    """Packets that the file's writer had room for, also on a busy machine."""
    return found["received"] - found["dropped"]


@pytest.mark.parametrize("port", ["null:", "source"])
def test_a_capture_ends_after_its_last_file(uspnet, source, folder, port):
    port = source if port == "source" else port
    words = ["-w", "x.pcapng", "-b", "packets:100", "-a", "files:3", "--json"]
    found = answer(uspnet("capture", port, *words).stdout)
    paths = sorted(folder.iterdir())
    assert [counted(path) for path in paths] == [100] * 3
    assert (taken(found), found["written"], found["ended"]) == (300, 300, "source")
    last = statistics(paths[-1])[-1].counts()  # all of a file is read before the last one is full
    assert (last["ifrecv"] - last["ifdrop"], last["usrdeliv"]) == (300, 300)
    words = ["-w", "one.pcapng", "-a", "filesize:50", "--json"]
    found = answer(uspnet("capture", port, *words).stdout)
    assert 50_000 <= (folder / "one.pcapng").stat().st_size < 52_000  # statistics each second
    assert counted(folder / "one.pcapng") == found["written"] == taken(found) > 300


@pytest.mark.parametrize("conditions", [("packets:1", "files:3"), (None, "filesize:1")])
def test_a_slow_source_ends_its_files_at_once(started, folder, tmp_path, conditions):
    """Neither the next packet nor the next time that the file is written is waited for."""
    port, (turns, ends) = f"memif:{tmp_path}/m.sock", conditions
    started("pktgen", f"{port},role=server", "--rate", "20")
    until((tmp_path / "m.sock").exists)
    words = ["-w", folder / "x.pcap", "-F", "pcap", "--update-interval", "60000", "-a", ends]
    words += ["-b", turns] if turns else []
    code, out, _ = started("capture", port, *words).ends()
    found = answer(out)
    counts = [counted(folder / name) for name in found["files"]]
    assert (code, found["ended"]) == (0, "source")
    assert counts == ([1] * 3 if turns else [13])  # 24 + 13 * 76 bytes
    assert found["written"] == sum(counts)


def test_files_end_with_time_even_when_nothing_comes(uspnet, folder):
    words = ["null:", "udp port 9", "-a", "duration:1500ms", "-w", "x.pcapng", "--json"]
    found = answer(uspnet("capture", *words, "-b", "duration:300ms").stdout)
    # and one more: the first file begins before the loops do, whose time `elapsed_s` is
    assert 2 <= len(found["files"]) <= found["elapsed_s"] / 0.3 + 2
    assert {counted(path) for path in folder.iterdir()} == {0}
    found = answer(uspnet("capture", *words, "-b", "interval:1").stdout)
    assert 2 <= len(found["files"]) <= found["elapsed_s"] + 2


def test_no_file_that_exists_is_written_to(uspnet, source, folder):
    now = time.time()
    for second in range(60):
        text = time.strftime("%Y%m%d%H%M%S", time.localtime(now + second))
        (folder / f"x_00002_{text}.pcap").write_bytes(b"theirs")
    words = ["-w", "x.pcap", "-F", "pcap", "-b", "packets:600", "--json"]
    done = uspnet("capture", source, *words)
    found = answer(done.stdout)
    assert (done.returncode, found["error"]) == (3, "Refused")
    (path,) = folder.glob("x_00001_*")
    assert len(pcap_frames(path)) == found["written"] == found["received"]
    assert {path.read_bytes() for path in folder.glob("x_00002*")} == {b"theirs"}


def test_files_are_whole_whenever_the_command_is_killed(start, folder):
    chance = random.Random(1)
    for number in range(KILLS):
        process = start("capture", "null:", "-w", f"{number}.pcapng", "-b", "filesize:500",
                        "-b", "files:4", "-B", "1")  # fmt: skip
        until(lambda: [*folder.glob(f"{number}_*")])  # noqa: B023 - called at once
        time.sleep(chance.uniform(0, 0.3))
        kill(process)
        paths = sorted(folder.glob(f"{number}_*"))
        assert 1 <= len(paths) <= 5
        assert all(counted(path) > 0 for path in paths[:-1])
        assert counted(paths[-1]) >= 0
        for path in paths:
            path.unlink()


def test_files_are_whole_whenever_the_command_is_ended(start, folder):
    """As by Ctrl-C, which all processes of a terminal get, over each second's statistics."""
    chance = random.Random(2)
    for number in range(ENDS):
        process = start("capture", "null:", "-w", f"{number}.pcapng", "-b", "filesize:100",
                        "-b", "files:2", "--json", through='exec setsid "$@"')  # fmt: skip
        until(lambda: [*folder.glob(f"{number}_*")])  # noqa: B023 - called at once
        time.sleep(chance.uniform(0.8, 1.8))
        os.killpg(process.pid, chance.choice([signal.SIGINT, signal.SIGTERM]))
        out, err = process.communicate(timeout=scaled(60))
        found = answer(out)
        assert (process.returncode, found["ended"]) == (0, "signal"), err
        assert sorted(path.name for path in folder.iterdir()) == found["files"]
        kept = sum(counted(folder / name) for name in found["files"])
        assert kept == found["written"] - found["deleted_packets"]
        for name in found["files"]:
            (folder / name).unlink()


def test_each_file_has_a_packet_even_if_its_header_is_longer(uspnet, folder, tmp_path):
    ports = [f"pcap:{tmp_path}/{number}" for number in range(20)]
    for number in range(20):
        write_pcap(tmp_path / f"{number}", FRAMES[number : number + 1])
    words = ["-w", "x.pcapng", "-b", "filesize:1", "--json"]
    found = answer(uspnet("capture", *ports, *words).stdout)
    assert found["written"] == 20
    assert all((folder / name).stat().st_size > 2000 for name in found["files"])
    assert [counted(folder / name) for name in found["files"]] == [1] * 20


def test_files_go_on_where_names_can_not_be_told(uspnet, source, folder):
    words = ["-w", "x.pcap", "-F", "pcap", "-b", "packets:600", "-b", "files:3"]
    for names, count in (("/dev/full", 1), ("/dev/null", 0)):
        done = uspnet("capture", source, *words, "-b", f"printname:{names}")
        assert done.returncode == 0
        assert done.stderr.count("its name was not told: No space left on device") == count
        assert sum(map(counted, folder.iterdir())) == 5000 - 6 * 600
        for path in folder.iterdir():
            path.unlink()


def test_names_go_to_a_reader_and_replace_a_file_only_in_a_capture(uspnet, source, folder):
    words = ["-w", "x.pcap", "-F", "pcap", "-b", "packets:3000", "-b", "printname:names"]
    (folder / "names").write_text("old")
    assert uspnet("capture", source, *words, "-g", "-s", "x").returncode == 2
    assert uspnet("capture", "pcap:none", *words).returncode == 1
    assert (folder / "names").read_text() == "old"
    (folder / "names").unlink()
    os.mkfifo(folder / "names")
    assert "names: nobody reads this FIFO" in uspnet("capture", source, *words).stderr
    reader = os.open(folder / "names", os.O_RDONLY | os.O_NONBLOCK)
    found = answer(uspnet("capture", source, *words, "--json").stdout)
    assert os.read(reader, 1000).decode().split() == found["files"]
    os.close(reader)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-b", "packets:1"], "--ring-buffer needs -w FILE"),
        (["-a", "filesize:3"], "-a filesize needs -w FILE"),
        (["-w", "x", "-b", "files:3"], "-b does not say when a file ends"),
        (["-w", "x", "-a", "files:3"], "-a files needs -b"),
        (["-w", "x", "-b", "packets:3", "-a", "filesize:3"], "-a filesize ends a single file"),
        (["-w", "-", "-b", "packets:3"], "-b writes several files"),
        (["-w", "no/x", "-b", "packets:3"], "no/x: No such file or directory"),
        (["-w", "no/x", "-b", "packets:3", "-b", "printname:names"], "no/x: No such file"),
        (["-w", "x", "-b", "packets:3", "-b", "printname:no/names"], "no/names: No such file"),
        (["-w", "x", "-b", "packets:3", "-b", "printname:names", "-s", "x"], "'x'"),
        (["-w", "x", "-b", "packets:3", "-b", "printname:-", "--json"], "names and --json"),
    ],
)
def test_what_makes_no_ring_is_told(uspnet, folder, words, text):
    done = uspnet("capture", "null:", "-c", "9", *words)
    assert text in done.stderr + done.stdout
    assert done.returncode in (1, 2)
    assert [*folder.iterdir()] == []
