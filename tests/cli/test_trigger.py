# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture --pre-trigger`: packets that memory holds until one comes that --on accepts."""

from __future__ import annotations

import random
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.blocks import EPB, ISB, blocks, statistics
from tests.support.captures import write_pcap
from tests.support.identity import answer
from tests.support.processes import kill
from tests.support.tiers import by_tier
from tests.support.waiting import until

START_NS = 1_700_000_000 * 10**9
KILLS = by_tier(1, 4, 100)
CHUNK = 262_144  # bytes, in which records are held


def frame(number, size=60):
    """An IPv4 frame whose source address is its number."""
    head = bytes(12) + b"\x08\0" + bytes.fromhex("4500002e00000000401100000a")
    return head + number.to_bytes(3) + bytes.fromhex("0a000001") + bytes(size - 34)


def address(number):
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def source(path, times_ns, numbers=None, size=60):
    """A capture file as a port, of numbered packets at these times after START_NS."""
    frames = [frame(n, size) for n in (numbers or range(len(times_ns)))]
    write_pcap(path, frames, [START_NS + ns for ns in times_ns])
    return f"pcap:{path}"


def number_of(packet):
    return int.from_bytes(packet[27:30])


def seen(*paths):
    """Numbers and times, in ns, of the packets in files."""
    found = []
    for path in paths:
        if path.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a":
            packets = [block.body for block in blocks(path) if block.kind == EPB]
            halves = [struct.unpack_from("=II", body, 4) for body in packets]
            times = [high << 32 | low for high, low in halves]
            found += [(number_of(body[20:]), ns) for body, ns in zip(packets, times, strict=True)]
            continue
        data, at = path.read_bytes(), 24
        unit = 1 if data[:4] == bytes.fromhex("4d3cb2a1") else 1000
        while at < len(data):
            seconds, part, length = struct.unpack_from("=III", data, at)
            found.append((number_of(data[at + 16 :]), seconds * 10**9 + part * unit))
            at += 16 + length
    return found


def seen_by_tshark(path):
    """The same as tshark finds it."""
    command = ["tshark", "-nr", path, "-Tfields", "-eip.src", "-eframe.time_epoch"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = []
    for ip, at in zip(told[::2], told[1::2], strict=True):
        _, one, two, three = map(int, ip.split("."))
        found.append((one << 16 | two << 8 | three, int(at.replace(".", ""))))
    return found


@pytest.mark.parametrize("kind", by_tier(["pcapng"], ["pcapng", "pcap", "nsecpcap"]))
def test_exactly_the_packets_around_the_trigger_are_written(uspnet, tmp_path, kind):
    chance = random.Random(kind)
    for turn in range(by_tier(2, 2, 40)):
        times = sorted(chance.randrange(2_000_000) * 1000 for _ in range(3000))
        chance.shuffle(times[1000:1100])  # devices have queues
        hits = sorted(chance.sample(range(3000), 2))
        before, after = chance.choice([0, 1, 300, 5000]), chance.choice([None, 0, 1, 250])
        ports = [[*range(0, 3000, 2)], [*range(1, 3000, 2)]][: 1 + (kind == "pcapng" and turn % 2)]
        ports = ports if len(ports) == 2 else [list(range(3000))]
        words = [
            source(tmp_path / f"{turn}{i}", [times[n] for n in numbers], numbers)
            for i, numbers in enumerate(ports)
        ]
        chosen = [n for n in hits if n in ports[0]] or hits
        hits = [f"src host {address(n)}" for n in chosen]
        words += ["-w", tmp_path / "out", "-F", kind, "--pre-trigger", f"{before}ms", "--json"]
        words += ["--after", f"{after}ms"] if after is not None else []
        found = answer(uspnet("capture", *words, "--on", " or ".join(hits)).stdout)
        first = START_NS + times[chosen[0]]
        end = first + after * 10**6 if after is not None else 2 * START_NS
        wanted = [
            (n, at)
            for numbers in ports
            for n in numbers
            if first - before * 10**6 <= (at := START_NS + times[n]) <= end
        ]
        told = seen(tmp_path / "out")
        assert turn or told == seen_by_tshark(tmp_path / "out")
        assert sorted(told) == sorted(wanted)
        assert len(ports) == 2 or told == wanted  # in their order
        assert (found["triggered_ns"], found["written"]) == (first, len(wanted))
        left = found["received"] - len(wanted)
        assert found["drops"] == ({"untriggered": left} if left else {})
        if kind == "pcapng":
            said = [block.text(1) for block in statistics(tmp_path / "out")]
            assert sum(f" by {' or '.join(hits)}" in text for text in said) == 1
            counts = [statistics(tmp_path / "out", i)[-1].counts() for i in range(len(ports))]
            assert sum(each["usrdeliv"] for each in counts) == len(wanted)
            assert {each["ifdrop"] for each in counts} == {0}


def test_no_more_is_held_than_there_is_memory_for(uspnet, tmp_path):
    record, hit = 1000 + 32, 9000
    port = source(tmp_path / "in", [n * 10**6 for n in range(10_000)], size=1000)
    on = ["--on", f"src host {address(hit)}", "-w", tmp_path / "out", "--json"]
    cases = [("30s,2MiB", True), ("100ms,1MiB", False), ("1MiB", False)]
    for held, told in by_tier(cases[:2], cases):
        done = uspnet("capture", port, "--pre-trigger", held, *on, "-B", 1)
        numbers = [number for number, _ in seen(tmp_path / "out")]
        assert numbers == list(range(numbers[0], 10_000))
        most = int(held[-4]) << 20
        if held == "100ms,1MiB":
            assert numbers[0] == hit - 100
        else:
            assert most - 2 * CHUNK <= (hit - numbers[0]) * record <= most
        found = answer(done.stdout)
        assert found["drops"] == {"untriggered": numbers[0]}
        begun = f"the last {(hit - numbers[0] + 1) / 1e3:.6f} s before the trigger were held"
        assert (begun in done.stderr) is told


def test_without_a_trigger_the_file_has_no_packets(uspnet, tmp_path):
    port = source(tmp_path / "in", range(1000))
    words = ["-w", tmp_path / "x", "--pre-trigger", "1s", "--on", "arp"]
    found = answer(uspnet("capture", port, *words, "--json").stdout)
    assert (found["written"], found["triggered_ns"]) == (0, None)
    assert found["drops"] == {"untriggered": 1000}
    assert seen(tmp_path / "x") == []
    assert statistics(tmp_path / "x")[-1].counts()["usrdeliv"] == 0
    told = uspnet("capture", port, *words, "--slice", "l4", "--fail-on-loss", "udp port 9").stderr
    assert "no trigger came" in told
    narrowed = "--on sees only what is captured, not what the filter rejects, nor what packets"
    assert narrowed in told


def test_files_of_a_ring_begin_with_the_trigger(uspnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    port = source(tmp_path / "in", [n * 10**6 for n in range(5000)])
    words = ["--pre-trigger", "1s", "--after", "1s", "--on", f"src host {address(2000)}"]
    words += ["-w", "x.pcapng", "-b", "packets:700", "--json"]
    found = answer(uspnet("capture", port, *words).stdout)
    assert [len(seen(tmp_path / path)) for path in found["files"]] == [700, 700, 601]
    assert [number for number, _ in seen(*map(Path, found["files"]))] == list(range(1000, 3001))
    words[words.index("x.pcapng")] = "y.pcapng"
    found = answer(uspnet("capture", port, *words, "-a", "files:2").stdout)
    assert [number for number, _ in seen(*map(Path, found["files"]))] == list(range(1000, 2400))


def test_files_that_are_far_apart_in_time_are_written_from_the_same_time_on(uspnet, tmp_path):
    """One is read to the trigger while the other has hardly begun."""
    few = source(tmp_path / "a", [n * 10**8 for n in range(100)])
    many = source(tmp_path / "b", [n * 2 * 10**5 for n in range(50_000)], range(100, 50_100))
    words = ["-w", tmp_path / "x", "--pre-trigger", "1s", "--on", f"src host {address(50)}"]
    found = answer(uspnet("capture", few, many, *words, "--json").stdout)
    numbers = sorted(number for number, _ in seen(tmp_path / "x"))
    assert numbers == [*range(40, 100), *range(20_100, 50_100)]
    assert found["drops"] == {"untriggered": 40 + 20_000}


def test_what_follows_in_a_file_is_told_by_its_own_time(uspnet, tmp_path):
    port = source(tmp_path / "in", [n * 10**7 for n in range(100)])
    words = ["-w", tmp_path / "x", "--pre-trigger", "50ms", "--after", "250ms"]
    words += ["--on", f"src host {address(10)}"]
    uspnet("capture", f"{port},timing=on,speed=0.3", *words)
    assert [number for number, _ in seen(tmp_path / "x")] == list(range(5, 36))


@pytest.mark.parametrize("words", [["-b", "packets:70"], ["--pre-trigger", "1s"]])
def test_statistics_end_what_is_written_of_a_pcapng_file(uspnet, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    uspnet("capture", source(tmp_path / "in", range(100)), "-w", "in.pcapng")
    words = [*words, "--on", f"src host {address(5)}"] if "-b" not in words else words
    found = answer(uspnet("capture", "pcap:in.pcapng", "-w", "x.pcapng", *words, "--json").stdout)
    paths = [Path(path) for path in found.get("files", ["x.pcapng"])]
    assert [blocks(path)[-1].kind for path in paths] == [ISB] * len(paths)
    assert statistics(paths[-1])[-1].counts()["usrdeliv"] == found["written"] == 100


@pytest.fixture
def paced(started, tmp_path):
    """A port to which numbered packets come, 20,000 a second."""
    port = f"memif:{tmp_path}/m.sock"
    words = [f"{port},role=server", "--rate", "20k", "--vary", "ip.src=10.0.0.0/8"]
    started("pktgen", *words)
    until((tmp_path / "m.sock").exists)
    return port


@pytest.mark.parametrize("how", by_tier(["signal"], ["packet", "signal"]))
def test_a_live_port_is_written_from_before_the_trigger_on(started, paced, tmp_path, how):
    path = tmp_path / "x.pcapng"
    words = [paced, "-w", path, "--pre-trigger", "250ms", "--after", "1s"]
    words += ["--on", f"src host {address(10_000)}"] if how == "packet" else []
    job = started("capture", *words)
    if how == "signal":
        until(lambda: job.count("rx_packets") > 10_000)
        assert {block.kind for block in blocks(path)}.isdisjoint({EPB})
        job.process.send_signal(signal.SIGUSR2)
    code, out, err = job.ends()
    found = answer(out)
    told = seen_by_tshark(path)
    assert (code, found["ended"], found["written"]) == (0, "source", len(told)), err
    assert [n for n, _ in told] == list(range(told[0][0], told[0][0] + len(told)))
    at = found["triggered_ns"]
    assert all(at - 250e6 <= ns <= at + 1e9 for _, ns in told)
    assert min(ns for _, ns in told) < at <= max(ns for _, ns in told)
    if how == "packet":
        assert (10_000, at) in told
    assert found["received"] == len(told) + found["drops"]["untriggered"]


def test_a_file_is_whole_whenever_the_command_is_killed(start, tmp_path):
    chance = random.Random(1)
    port = source(tmp_path / "in", [n * 10**6 for n in range(20_000)])
    for number in range(KILLS):
        path = tmp_path / f"{number}.pcapng"
        on = address(chance.choice([5000, 0xFFFFFF]))
        process = start("capture", f"{port},loop=on", "-w", path, "--pre-trigger", "1s,8MiB",
                        "--on", f"src host {on}")  # fmt: skip
        until(lambda: path.exists() and path.stat().st_size)  # noqa: B023 - called at once
        time.sleep(chance.uniform(0, 0.1))
        kill(process)
        told = subprocess.run(["capinfos", "-Mcm", path], capture_output=True, check=True)
        assert not told.stderr
        kinds = [block.kind for block in blocks(path)]
        assert (EPB in kinds) is (on == address(5000)) or EPB not in kinds
        path.unlink()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--on", "arp"], "--on needs --pre-trigger"),
        (["--after", "1s"], "--after needs --pre-trigger"),
        (["--pre-trigger", "1s"], "--pre-trigger needs -w FILE"),
        (["-w", "x", "--pre-trigger", "many"], "--pre-trigger 'many': not a time"),
        (["-w", "x", "--pre-trigger", "1kB"], "--pre-trigger '1kB': too small"),
        (["-w", "x", "--pre-trigger", "1s,2s"], "more than a time and a size"),
        (["-w", "x", "--pre-trigger", "1TiB"], "MiB to hold packets"),
        (["-w", "x", "--pre-trigger", "1s", "--on", "tcp prot"], "syntax error"),
    ],
)
def test_what_can_trigger_nothing_is_told(uspnet, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    done = uspnet("capture", "null:", "-c", 9, *words)
    assert text in done.stderr
    assert done.returncode in (1, 2)
    assert [*tmp_path.iterdir()] == []
