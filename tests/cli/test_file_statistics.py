# SPDX-License-Identifier: Apache-2.0
"""What a capture file says of itself: what was lost in which second, and how it was made."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import time

import pytest

from tests.support.blocks import ISB, blocks, seen_by_tshark, statistics
from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.waiting import until
from uspnet.ports.pcap.statistics import Watch


def capinfos(path):
    done = subprocess.run(["capinfos", "-M", path], capture_output=True, text=True, check=True)
    return dict(re.findall(r"^ *([^:=\n]+?) *[:=] *(.*)$", done.stdout, re.MULTILINE))


@pytest.fixture
def paced(started, tmp_path):
    """paced(rate, seconds) sends numbered packets to the port that it returns."""

    def start(rate, seconds):
        port = f"memif:{tmp_path}/m.sock"
        started("pktgen", f"{port},role=server", "--rate", str(rate), "--duration", str(seconds))
        until((tmp_path / "m.sock").exists)
        return port

    return start


def ends(last, result):
    """The last block says what the result says."""
    assert last == {
        "ifrecv": result["received"] + (result["missed"] or 0),
        "ifdrop": result["dropped"] + (result["missed"] or 0),
        "filteraccept": result["received"] - result["filtered"],
        "osdrop": result["dropped"],
        "usrdeliv": result["written"],
    }


def test_a_writer_that_stalled_shows_its_drops_in_those_seconds(started, paced, tmp_path):
    path = tmp_path / "x.pcapng"
    job = started("capture", paced(40_000, 30), "-w", path, "-B", "1", "greater 0")
    (writer,) = until(lambda: children_named(job.process.pid, "writer"))
    until(lambda: path.exists() and statistics(path))
    os.kill(writer, signal.SIGSTOP)
    until(lambda: job.count("tx_dropped"))
    begin = time.time_ns()
    time.sleep(3.4)  # three seconds of the capture's, whenever they begin
    os.kill(writer, signal.SIGCONT)
    end = time.time_ns()
    until(lambda: statistics(path)[-1].times()[1] > begin + 2e9)
    result = job.end()
    found = statistics(path)
    for one, two in itertools.pairwise(found):
        assert one.times()[0] == two.times()[0] < one.times()[1] < two.times()[1]
        assert all(two.counts()[name] >= number for name, number in one.counts().items())
    lost = [
        (two.counts()["osdrop"] - one.counts()["osdrop"], one.times()[1], two.times()[1])
        for one, two in itertools.pairwise(found)
    ]
    assert any(n for n, since, until_ns in lost if begin < since < until_ns < end)
    assert sum(n for n, since, until_ns in lost if until_ns > begin and since < end) > 10_000
    ends(found[-1].counts(), result)
    assert result["drops"] == {"no_room": result["dropped"]}
    assert found[-1].text(1) == f"dropped: no room {result['dropped']:,}"
    told = capinfos(path)
    assert int(told["Number of packets"]) == result["written"]
    assert int(told["Number of stat entries"]) == len(found)


@pytest.mark.full
def test_every_file_and_a_pipe_have_statistics_of_their_own(uspnet, paced, tmp_path):
    port = paced(2000, 60)
    words = ["-w", tmp_path / "x.pcapng", "-b", "packets:4600", "-a", "files:2", "--json"]
    result = answer(uspnet("capture", port, *words, "udp").stdout)
    last = {"ifrecv": 0, "usrdeliv": 0}
    for path in map(str, sorted(tmp_path.glob("x_*"))):
        found = [each.counts() for each in statistics(tmp_path / path)]
        assert len(found) > 1  # a file takes more than a second
        assert blocks(tmp_path / path)[-1].kind == ISB
        assert seen_by_tshark(path) == found
        rows = [last, *found]
        assert all(two["ifrecv"] >= one["ifrecv"] for one, two in itertools.pairwise(rows))
        last = found[-1]
    ends(last, result)
    assert result["received"] == 9200
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "piped").open("wb") as out:
        reader = subprocess.Popen(["cat", tmp_path / "fifo"], stdout=out)
        uspnet("capture", port, "-w", tmp_path / "fifo", "-a", "duration:2500ms")
        assert reader.wait() == 0
    piped = [each.counts() for each in statistics(tmp_path / "piped")]
    assert len(piped) > 1
    assert capinfos(tmp_path / "piped")["Number of packets"] == str(piped[-1]["usrdeliv"])


def test_a_file_says_how_it_was_made(uspnet, tmp_path):
    path, port = tmp_path / "x.pcapng", "null:,size=100"
    words = ["-w", path, "-c", 9, "-s", 64, "--burst", 7, "udp or greater 5"]
    secret = f"memif:{tmp_path}/m,role=server,secret=hush"
    assert uspnet("capture", port, *words, "--capture-comment", "a b").returncode == 0
    section, described, *_ = blocks(path)
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    assert section.text(2) == f"{names[0]} ({os.uname().machine})"
    assert section.text(3) == f"Linux {os.uname().release}"
    assert section.text(1) == "a b"
    assert described.text(2) == port
    assert described.text(3) == "driver null; size=100 queues=1"
    assert described.text(11) == "\0udp or greater 5"
    command, written, times = described.text(1).split("\n")
    assert command == (
        f"command: uspnet capture {port} -w {path} -c 9 -s 64 --burst 7 'udp or greater 5'"
        " --capture-comment 'a b'"
    )
    assert re.fullmatch(r"written: (past|through) the page cache( \(O_DIRECT\))?", written)
    assert "CLOCK_REALTIME, read once for each burst of up to 7 packets" in times
    assert re.search(r"clock source \S+, (not synchronized|synchronized within \d+\.\d+ s)$", times)
    told = capinfos(path)
    assert told["Filter string"] == "udp or greater 5"
    assert told["Description"] == described.text(3)
    for word in (secret, f"-i{secret}", f"--interface={secret}"):
        done = uspnet("capture", word, "-w", path, "-a", "duration:100ms")
        assert (done.returncode, done.stderr.count("hush")) == (0, 0)
        assert b"hush" not in path.read_bytes()
        assert path.read_bytes().count(b"secret=***") > 1  # in the command, and in the port


def test_a_clock_that_is_set_is_told():
    looks = [(5, 100), (5 + 9000, 100), (5 + 19_001, 100), (0, 30_000), (-(10**9), 30_000)]
    watch = Watch(lambda: looks.pop(0))
    assert [watch.look() for _ in range(4)] == [
        [],
        ["the clock was set on by 0.000010 s"],
        [],
        ["the clock was set back by 1.000000 s"],
    ]
    watch = Watch()
    assert all(watch.look() == [] for _ in range(100))
