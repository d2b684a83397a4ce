# SPDX-License-Identifier: Apache-2.0
"""`uspnet read --stats` and `--burst`: equal to what capinfos and tshark count, and to sums over
all windows made the slow way.
"""

from __future__ import annotations

import csv
import random
import re
import subprocess
from collections import Counter

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.support.captures import write_pcap
from tests.support.identity import answer
from tests.support.mixture import MACS, START_NS, mixture, times
from tests.support.waiting import scaled
from uspnet.errors import UspnetError
from uspnet.jobs.reading import counting
from uspnet.jobs.reading.export import Export

FIELDS = ["ip.src", "ipv6.src", "tcp.srcport", "udp.srcport", "sctp.srcport", "ip.dst", "ipv6.dst",
          "tcp.dstport", "udp.dstport", "sctp.dstport", "frame.len"]  # fmt: skip
CONVERSATION = re.compile(r"^(\S+):(\d+) +<-> (\S+):(\d+) +(\d+) [\d,]+ \w+ +(\d+) ", re.MULTILINE)
WINDOWS_NS = [10**n for n in range(4, 10)]
LINK = 100_000_000


@pytest.fixture
def capture(tmp_path):
    """1,000 packets: the path, the frames and their times."""
    dice = random.Random(5)
    path, frames, stamps = tmp_path / "in.pcap", mixture(dice, 1000), times(dice, 1000)
    write_pcap(path, frames, stamps)
    return path, frames, stamps


def said(uspnet, *words):
    """The one file of the answer."""
    done = uspnet("read", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = answer(done.stdout)["files"]
    assert found["whole"]
    return found


def output(*words):
    run = subprocess.run(words, capture_output=True, text=True, timeout=scaled(60), check=True)
    return run.stdout


def test_sums_are_those_of_capinfos(uspnet, capture):
    path, frames, _ = capture
    (row,) = csv.DictReader(
        output("capinfos", "-T", "-M", "-S", str(path)).splitlines(), dialect="excel-tab"
    )
    found = said(uspnet, "--stats", path)["statistics"]
    assert found["packets"] == int(row["Number of packets"]) == 1000
    assert found["bytes"] == int(row["Data size (bytes)"]) == sum(map(len, frames))
    assert f"{found['duration_s']:.9f}" == row["Capture duration (seconds)"]
    seconds = [f"{ns // 10**9}.{ns % 10**9:09}" for ns in (found["first_ns"], found["last_ns"])]
    assert seconds == [row["Start time"], row["End time"]]
    assert found["bps"] == pytest.approx(float(row["Data bit rate (bits/sec)"]), rel=1e-6)
    assert found["pps"] == pytest.approx(float(row["Average packet rate (packets/sec)"]), rel=1e-3)
    assert (found["disordered"] > 0) == (row["Strict time order"] == "False")
    assert sum(each["packets"] for each in found["rates"]) == 1000
    assert sum(each["bytes"] for each in found["rates"]) == found["bytes"]
    lengths = re.findall(r"^ (\d+)[-\d a-z]+? {2,}(\d+) ", output(
        "tshark", "-r", str(path), "-q", "-z", "plen,tree"), re.MULTILINE)  # fmt: skip
    assert [each["packets"] for each in found["sizes"]] == [int(count) for _, count in lengths]


def test_flows_are_those_of_tshark(uspnet, capture):
    path, *_ = capture
    each = [word for name in FIELDS for word in ("-e", name)]
    text = output("tshark", "-n", "-r", str(path), "-T", "fields", *each)
    packets, octets = Counter(), Counter()
    for line in text.splitlines():
        *ends, length = line.split("\t")
        key = ("".join(ends[:2]), "".join(ends[2:5]), "".join(ends[5:7]), "".join(ends[7:]))
        if key[0]:
            packets[key] += 1
            octets[key] += int(length)
    found = said(uspnet, "--stats", "--top", "1000", path)["statistics"]
    ours, our_octets = Counter(), Counter()
    for flow in found["top"]:
        there = [flow["source"], str(flow["source_port"] or "")]
        back = [flow["destination"], str(flow["destination_port"] or "")]
        if flow["protocol"] != "arp":
            ours[*there, *back] += flow["packets"]
            ours[*back, *there] += flow["back_packets"]
            our_octets[*there, *back] += flow["bytes"]
            our_octets[*back, *there] += flow["back_bytes"]
    assert (+ours, +our_octets) == (packets, octets)
    assert len(found["top"]) == found["flows"]
    weights = [each["bytes"] + each["back_bytes"] for each in found["top"]]
    assert weights == sorted(weights, reverse=True)
    conversations = output("tshark", "-n", "-r", str(path), "-q", "-z", "conv,udp")
    theirs = {(a, x, b, y): (int(back), int(there))
              for a, x, b, y, back, there in CONVERSATION.findall(conversations)}  # fmt: skip
    assert theirs == {
        (each["source"], str(each["source_port"]), each["destination"],
         str(each["destination_port"])): (each["back_packets"], each["packets"])
        for each in found["top"] if each["protocol"] == "udp"
    }  # fmt: skip


def slow_bursts(frames, stamps):
    """The peaks, the longest run, and the queue, by the definition of each."""
    latest, now = 0, []
    for ns in stamps:
        latest = max(latest, ns)
        now.append(latest)
    sizes = [max(len(frame) + 24, 84) for frame in frames]
    peaks = []
    for window in WINDOWS_NS:
        best = (0, 0, 0, 0)
        most = 0
        for last, end in enumerate(now):
            first = next(n for n in range(last + 1) if end - now[n] < window)
            most = max(most, last - first + 1)
            best = max(best, (sum(sizes[first : last + 1]), -last, first + 1, last + 1))
        peaks.append((most * 10**9 / window, 8 * best[0] * 10**9 / window, *best[2:]))
    runs, at = [], 0
    for n in range(1, len(now) + 1):
        if n == len(now) or now[n] - now[n - 1] > 10_000:
            runs.append((n - at, -at, sum(sizes[at:n])))
            at = n
    wait = longest = number = 0
    for n, size in enumerate(sizes):
        wait = max(wait - (now[n] - now[n - 1]) * 1000, 0) if n else 0
        wait += size * 8 * 10**12 // LINK
        if wait > longest:
            longest, number = wait, n + 1
    return peaks, max(runs), (longest * LINK // (8 * 10**12), number)


def test_bursts_are_those_that_are_there(uspnet, capture):
    path, frames, stamps = capture
    peaks, run, queue = slow_bursts(frames, stamps)
    found = said(uspnet, "--burst", "--link", "100M", path)["bursts"]
    names = ("pps", "bps", "first", "last")
    assert [tuple(each[name] for name in names) for each in found["windows"]] == [
        pytest.approx(peak) for peak in peaks
    ]
    longest = found["longest"]
    assert (longest["packets"], 1 - longest["first"], longest["bytes"]) == run
    assert (found["queue"]["bytes"], found["queue"]["number"]) == queue
    every = said(uspnet, "--burst", "--top", "1000", path)["bursts"]["windows"]
    for each, ten in zip(every, found["windows"], strict=True):
        inside = sum(map(len, frames[each["first"] - 1 : each["last"]]))
        assert sum(flow["bytes"] + flow["back_bytes"] for flow in each["top"]) == inside
        assert (each["bytes"], ten["bytes"]) == (inside, inside), "whatever --top names"


def test_memory_grows_with_flows_and_packets(uspnet, tmp_path, monkeypatch):
    count = 30_000  # of which each is a flow, all within a second
    frame = bytes(Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=9))
    frames = [frame[:34] + number.to_bytes(2, "big") + frame[36:] for number in range(1, count + 1)]
    path = tmp_path / "many.pcap"
    write_pcap(path, frames, [START_NS + 10_000 * number for number in range(count)])
    found = said(uspnet, "--stats", "--burst", "--top", "1000", path)
    assert found["statistics"]["flows"] == found["statistics"]["packets"] == count
    assert {each["packets"] for each in found["statistics"]["top"]} == {1}
    peaks = [each["pps"] * each["seconds"] for each in found["bursts"]["windows"]]
    assert peaks == pytest.approx([1, 10, 100, 1000, 10_000, count])
    assert len(found["bursts"]["windows"][3]["top"]) == 1000
    assert counting.FLOWS < count > counting.ARRIVALS, "so that both have grown"


def test_text_has_the_same_numbers(uspnet, capture):
    path, frames, _ = capture
    done = uspnet("read", "--stats", "--burst", "--link", "10G", path)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    for words in (f"1,000 packets, {sum(map(len, frames)):,} bytes", "flows", "longest burst:",
                  "queue before 10.00 Gbit/s", "10.0 µs", "1.00 s"):  # fmt: skip
        assert words in text, done.stdout
    piped = uspnet("read", "--stats", "/dev/stdin", "--json", text="")
    assert (piped.returncode, answer(piped.stdout)["error"]) == (1, "Malformed")


def test_what_is_whole_is_counted(uspnet, capture):
    path, frames, _ = capture
    path.write_bytes(path.read_bytes()[:-1])
    done = uspnet("read", "--stats", "--burst", "--json", path)
    found = answer(done.stdout)
    assert (done.returncode, found["error"], len(found["files"])) == (1, "Malformed", 1)
    assert found["files"][0]["statistics"]["bytes"] == sum(map(len, frames[:-1]))
    assert not found["files"][0]["whole"]
    found = said(uspnet, "--stats", path, "-c", "10", "tcp or udp")["statistics"]
    assert found["packets"] == 10
    for words, told in ((["--link", "1G"], "--link needs --burst"), (["--top", "3"], "--top needs"),
                        (["--stats", "-x"], "-x is for lines")):  # fmt: skip
        done = uspnet("read", path, *words)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_a_table_is_written_and_no_capture_overwritten(uspnet, capture, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path, *_ = capture
    table, other = tmp_path / "x.parquet", tmp_path / "capture.parquet"
    found = answer(uspnet("read", path, path, "udp", "--export", table, "--json").stdout)
    packets = 2 * said(uspnet, "--stats", path, "udp")["statistics"]["packets"]
    assert (found["written"], found["packets"]) == (str(table), packets)
    assert uspnet("read", path, "--export", table).stdout == f"wrote {table}: 1,000 packets\n"
    other.write_bytes(path.read_bytes())
    for words, told in ((["--export", other], "is read, too"), (["--stats"], "conflicts with"),
                        (["--about"], "--about conflicts with")):  # fmt: skip
        done = uspnet("read", other, "--export", table, *words)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert other.read_bytes() == path.read_bytes()


def test_a_table_may_be_empty(uspnet, capture, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    path, *_ = capture
    words = ["ether", "src", "6:6:6:6:6:6", "--export", tmp_path / "x.parquet"]
    assert uspnet("read", path, *words).stdout == f"wrote {words[-1]}: 0 packets\n"
    assert parquet.read_metadata(words[-1]).num_rows == 0
    other = tmp_path / "y.parquet"
    assert uspnet("read", tmp_path / "none.pcap", "--export", other).returncode == 1
    assert not other.exists()
    before = words[-1].read_bytes()
    assert uspnet("read", tmp_path / "none.pcap", "--export", words[-1]).returncode == 1
    assert words[-1].read_bytes() == before, "what was there stays until there is something else"


@pytest.mark.parametrize("buffered", [False, True], ids=["at once", "at the end"])
def test_a_table_that_finds_no_room_is_none(tmp_path, buffered):
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    path = tmp_path / "x.parquet"
    table = Export(str(path), [])
    full = open("/dev/full", "wb", buffering=-1 if buffered else 0)  # noqa: SIM115 - closed by it
    with (
        table.out,
        full as table.out,
        pytest.raises(UspnetError, match=f"{path}: No space left"),
    ):
        table.close()
    assert not path.exists()


def test_what_is_no_ethernet_has_no_type(uspnet, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    table = tmp_path / "x.parquet"
    frames = [
        b"\2" * 12 + b"\0\x2e" + bytes(46),
        bytes(Ether(**MACS) / IP() / UDP()),
    ]
    write_pcap(tmp_path / "802.3.pcap", frames, [START_NS] * 2)
    assert uspnet("read", tmp_path / "802.3.pcap", "--export", table).returncode == 0
    assert parquet.read_table(table)["eth_type"].to_pylist() == [None, 0x800]


def test_the_last_bar_is_for_the_time_up_to_the_last_packet(uspnet, tmp_path):
    """Not for all of its own, of which the file may end early."""
    path = tmp_path / "steady.pcap"
    write_pcap(path, [bytes(60)] * 1973, [START_NS + 10**6 * number for number in range(1973)])
    text = uspnet("read", "--stats", path).stdout
    last = [line for line in text.splitlines() if "from " in line][-1]
    assert "1.97 s" in last
    assert float(re.search(r"([\d.]+) kpps", last)[1]) == pytest.approx(1, rel=0.2), text
