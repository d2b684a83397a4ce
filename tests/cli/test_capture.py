# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture` with the habits of dumpcap and tcpdump, which are asked what is right."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scapy.all import IP, TCP, UDP, Ether

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.pcap_rig import enhanced, interface, section

FRAMES = [
    bytes(Ether() / IP(src=f"10.0.{n % 3}.{n}") / (UDP if n % 2 else TCP)(dport=n) / bytes(n))
    for n in range(100)
]
FILTERS = ["udp", "tcp dst portrange 10-20", "not (udp or src net 10.0.1.0/24)", "greater 100"]


@pytest.fixture
def source(tmp_path):
    """A capture file as a port: UDP and TCP in turn."""
    write_pcap(tmp_path / "in.pcap", FRAMES)
    return tmp_path / "in.pcap"


def asked(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_chooses_what_tcpdump_would(uspnet, source, tmp_path, text):
    asked("tcpdump", "-r", source, "-w", tmp_path / "theirs", text)
    theirs = pcap_frames(tmp_path / "theirs")
    words = ["-F", "pcap", "-w", tmp_path / "ours", "--burst", len(text) % 7 + 1, "--json"]
    found = answer(uspnet("capture", f"pcap:{source}", *words, *text.split()).stdout)
    assert pcap_frames(tmp_path / "ours") == theirs
    assert (found["written"], found["filtered"]) == (len(theirs), 100 - len(theirs))
    assert (found["received"], found["asked"]["filter"]) == (100, text)
    counted = answer(uspnet("capture", f"pcap:{source}", "-f", text, "--json").stdout)
    assert (counted["discarded"], counted["filtered"]) == (len(theirs), 100 - len(theirs))
    told = uspnet("capture", "-d", *text.split())  # as tcpdump, without a port
    assert told.stdout == asked("tcpdump", "-y", "EN10MB", "-d", text)
    told = uspnet("capture", "-d", f"pcap:{source},filter={text}", "--json")
    program = answer(told.stdout)["program"]
    numbers = "\n".join(" ".join(map(str, each.values())) for each in program)
    assert f"{len(program)}\n{numbers}\n" == asked("tcpdump", "-y", "EN10MB", "-ddd", text)


def test_a_count_is_of_what_the_filter_accepts(uspnet, source, tmp_path):
    words = ["-c", 7, "-F", "pcap", "-w", tmp_path / "out", "--json", "udp"]
    found = answer(uspnet("capture", f"pcap:{source}", *words).stdout)
    assert (found["written"], found["ended"]) == (7, "count")
    assert pcap_frames(tmp_path / "out") == FRAMES[1:14:2]


def test_a_filter_may_want_nothing_of_a_file_with_another_link_type(uspnet, tmp_path):
    data = section("<") + interface("<", link=113) + interface("<")
    data += b"".join(enhanced("<", 1, FRAMES[0], number) for number in (0, 1))
    (tmp_path / "in.pcapng").write_bytes(data)
    done = uspnet("capture", f"pcap:{tmp_path}/in.pcapng", "udp port 9", "--json")
    found = answer(done.stdout)
    assert (done.returncode, found["filtered"], found["drops"]) == (0, 1, {"not_ethernet": 1})


def test_between_pcapng_files_what_a_filter_leaves_keeps_its_comments(uspnet, source, tmp_path):
    given = tmp_path / "in.pcapng"
    asked("editcap", "-a", "3:third", "-a", "4:fourth", source, given)
    words = ["-w", tmp_path / "out", "-q", "--slice", "l4", "--capture-comment", "mine", "tcp"]
    assert uspnet("capture", f"pcap:{given}", *words).returncode == 0
    fields = ("-T", "fields", "-e", "tcp.dstport", "-e", "frame.comment")
    wanted = asked("tshark", "-r", given, *fields, "-Y", "tcp")
    assert "2\tthird" in wanted
    assert asked("tshark", "-r", tmp_path / "out", *fields) == wanted
    said = asked("capinfos", "-k", tmp_path / "out")
    for words in (
        "mine",
        "command: uspnet capture ",
        "filter: tcp\n",
        "left out: what packets carry",
    ):
        assert words in said, "what was done to the packets since"


@pytest.mark.parametrize(
    ("text", "why", "mark"),
    [
        ("tcp prot 80", "can't parse filter expression: syntax error", "prot"),
        ("udp port 9 or or arp", "can't parse filter expression: syntax error", "or"),
        ("(tcp or udp", "can't parse filter expression: syntax error", ""),
        ("tcp port nosuch", "unknown port 'nosuch'", "nosuch"),
        ("tcp and port 70000", "illegal port number 70000 > 65535", "70000"),
    ],
)
def test_a_wrong_filter_is_marked_where_it_is_wrong(uspnet, tmp_path, text, why, mark):
    done = uspnet("capture", "null:", "-w", tmp_path / "x", *text.split())
    first, second, third, _ = done.stderr.splitlines()
    assert (first, second) == (f"uspnet: filter {text!r}: {why}", f"    {text}")
    assert second[third.index("^") :].startswith(mark)
    assert third.strip() == "^" + "~" * (len(mark) - 1)
    assert third.index("^") == 4 + (text.rindex(mark) if mark else len(text))
    assert (done.returncode, (tmp_path / "x").exists()) == (2, False)


def test_a_file_has_the_comments_and_the_mode_that_are_asked_for(uspnet, source, tmp_path):
    given, out = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    asked("editcap", "--capture-comment", "theirs", source, given)
    words = ["-w", out, "-g", "-a", "packets:10", "-a", "duration:1m", "--update-interval", 10]
    said = ["--capture-comment", "one, two", "--capture-comment", "drei"]
    for port, comments in (("null:", []), (f"pcap:{given}", ["theirs"])):
        found = answer(uspnet("capture", port, *words, *said, "--json").stdout)
        assert (found["written"], found["ended"]) == (10, "count")
        told = asked("capinfos", out)
        assert "Number of packets:   10\n" in told
        lines = [line for line in told.splitlines() if line.startswith("Capture comment:")]
        texts = [line.partition(": ")[2].strip() for line in lines]
        ours = [text for text in texts if not text.startswith("command: ")]
        assert (ours, len(texts) - len(ours)) == ([*comments, "one, two", "drei"], len(comments))
        assert out.stat().st_mode & 0o777 == 0o640
        out.chmod(0o604)  # only a new file gets another
        uspnet("capture", port, "-w", out, "-g", "-c", 1)
        assert out.stat().st_mode & 0o777 == 0o604
        out.unlink()


@pytest.mark.parametrize("kind", ["pcapng", "pcap", "nothing"])
def test_long_comments_are_whole(source, tmp_path, kind):
    """Also those of a file whose description is copied, and of a stream that has none."""
    given, out = tmp_path / "given", tmp_path / "out.pcapng"
    given.write_bytes(source.read_bytes() if kind == "pcap" else b"")
    theirs = ["theirs"] if kind == "pcapng" else []
    if theirs:
        asked("editcap", "--capture-comment", *theirs, source, given)
    said = ["x" * 60_000, "y" * 30_000]
    words = [word for text in said for word in ("--capture-comment", text)]
    command = [sys.executable, "-m", "uspnet", "capture", "pcap:-", "-q", "-w", out, *words]
    done = subprocess.run(command, check=False, input=given.read_bytes(), capture_output=True)
    assert done.returncode == (kind == "nothing"), done.stderr  # which is told
    told = asked("capinfos", out).splitlines()
    comments = [line for line in told if line.startswith("Capture comment:")]
    texts = [line.partition(": ")[2].strip() for line in comments]
    assert [text for text in texts if not text.startswith("command: ")] == [*theirs, *said]
    assert f"Number of packets:   {0 if kind == 'nothing' else 100}" in told


def test_statistics_are_reported_every_second(uspnet):
    done = uspnet("capture", "null:", "-S", "-a", "duration:2500ms", "--json")
    told = [answer(line) for line in done.stdout.splitlines()]
    assert {each["asked"]["duration_s"] for each in told} == {2.5}
    assert 2 <= len(told) <= told[-1]["elapsed_s"] + 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-a", "packets:x"], "-a 'packets:x': not a whole number"),
        (["-a", "duration:1", "-a", "duration:2"], "-a duration: is given twice"),
        (["-a", "packets:1", "-c", "1"], "-a packets: is given twice"),
        (["-a", "size:1"], "-a 'size:1': no such condition"),
        (["-g"], "--group-read needs -w FILE"),
        (["--capture-comment", "x"], "--capture-comment needs -w FILE"),
        (["-w", "x", "-F", "pcap", "--capture-comment", "x"], "pcap files have no comments"),
        (["-w", "x", "--capture-comment", "x" * 65536], "--capture-comment: too long"),
        (["-w", "x", *["--capture-comment", "x" * 50_000] * 2], "--capture-comment: the comments"),
    ],
)
def test_what_makes_no_sense_is_told(uspnet, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    done = uspnet("capture", "null:", *words)
    assert done.stderr.startswith(f"uspnet: {text}")
    assert (done.returncode, [*tmp_path.iterdir()]) == (2, [])


def test_words_that_are_no_filter(uspnet):
    for words, text in [
        (["-f", "udp", "tcp"], "two filters"),
        (["tcp", "memif:/run/a.sock"], "unexpected argument 'memif:/run/a.sock'"),
        (["-d"], "none is given"),
        (["-d", "null:,filter=udp", "tcp"], "-d prints one filter"),
        (["-f", ""], "the filter is empty"),
    ]:
        done = uspnet("capture", "null:", *words, "--json")
        told = answer(done.stdout)
        assert (done.returncode, told["error"]) == (2, "Usage")
        assert text in told["message"]


def test_an_interface_may_stand_behind_the_filter(uspnet):
    done = uspnet("capture", "udp", "port", "9", "-i", "none0", "-c", "1")
    assert "uspnet: there is no interface none0\n" in done.stderr
