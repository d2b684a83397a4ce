# SPDX-License-Identifier: Apache-2.0
"""`uspnet read`: the packets of capture files in lines and as JSON; tshark is the judge."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest
from scapy.layers.dot11 import Dot11, Dot11Beacon, RadioTap
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.utils import PcapNgWriter, wrpcap

from tests.support.identity import answer
from tests.support.waiting import scaled
from uspnet.packets.hexdump import read_hex

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
ENDS = {"src": "10.0.0.1", "dst": "10.0.0.2"}
FIELDS = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "ip.src", "ip.dst")


def packets():
    """Packets of every kind that the lines tell apart, a second from one to the next."""
    kinds = [
        Ether(**MACS) / IP(**ENDS) / UDP(sport=1000, dport=9) / bytes(20),
        Ether(**MACS) / IP(**ENDS) / TCP(sport=1024, dport=443, flags="SA", seq=7) / b"abc",
        Ether(**MACS) / ARP(psrc="10.0.0.1", pdst="10.0.0.9"),
        Ether(**MACS) / Dot1Q(vlan=5) / IP(**ENDS) / ICMP() / bytes(100),
        Ether(**MACS) / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(),
        Ether(**MACS, type=0x88B5) / b"\x1b[31m\r\n",
    ]
    made = [packet.copy() for packet in kinds * 12]
    for number, packet in enumerate(made):
        packet.time = 1_700_000_000 + number
    return made


def tshark(path, *words):
    """The fields of each packet, as tshark prints them."""
    each = [word for name in FIELDS for word in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *each, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def ours(uspnet, *words):
    """The same fields as uspnet prints them."""
    done = uspnet("read", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [answer(line) for line in done.stdout.splitlines()]
    return [
        [
            str(row["number"]),
            f"{row['time_ns'] // 10**9}.{row['time_ns'] % 10**9:09}",
            str(row["length"]),
            str(row["captured"]),
            *((row["source"], row["destination"]) if "." in row["source"] else ("", "")),
        ]
        for row in rows
    ]


@pytest.fixture
def capture(tmp_path):
    """The packets as pcap."""
    path = tmp_path / "in.pcap"
    wrpcap(str(path), packets())
    return path


@pytest.fixture
def forms(tmp_path, capture):
    """The same packets in other forms: cut to 60 bytes, with ns, compressed, without Ethernet."""
    cut, raw = tmp_path / "cut.pcapng", tmp_path / "raw.pcapng"
    subprocess.run(["editcap", "-s", "60", "-t", "0.123456789", capture, cut], check=True)
    with PcapNgWriter(str(raw)) as file:  # one interface for each link type
        for number, packet in enumerate(packets()):
            file.write(packet[IP] if number % 2 and IP in packet else packet)
    packed = tmp_path / "in.pcap.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    return [capture, cut, raw, packed]


def test_packets_are_those_that_tshark_reads(uspnet, forms):
    for path in forms:
        wanted = [row for row in tshark(path, "-Y", "!arp") if row]
        found = ours(uspnet, path, "not arp")
        assert found == wanted, path
        assert len(wanted) == 60
        wanted = tshark(path, "-Y", "tcp or ipv6")[:20]
        assert ours(uspnet, "-c", "20", path, "-f", "tcp or ip6") == wanted, path


def test_a_line_says_who_sends_what(uspnet, capture):
    done = uspnet("read", capture, "-c", "6")
    lines = done.stdout.splitlines()
    for line, words in zip(lines, [
        "1 0.000000000 10.0.0.1 > 10.0.0.2 UDP 62 1000 > 9 len=20",
        "2 1.000000000 10.0.0.1 > 10.0.0.2 TCP 57 1024 > 443 [SA] seq=7 ack=0 win=8192 len=3",
        "3 2.000000000 10.0.0.1 > 10.0.0.9 ARP 42 ARP who has 10.0.0.9 says 10.0.0.1",
        "4 3.000000000 10.0.0.1 > 10.0.0.2 ICMP 146 ICMP 10.0.0.1 > 10.0.0.2 echo-request 0",
        "5 4.000000000 fd00::1 > fd00::2 ICMPv6 62",
        "6 5.000000000 02:00:00:00:00:01 > 02:00:00:00:00:02 Ethernet 21",
    ], strict=True):  # fmt: skip
        assert " ".join(line.split()).startswith(words)
    times = [uspnet("read", capture, "-c", "2", "-t", kind).stdout.splitlines() for kind in "deu"]
    assert [rows[1].split()[1] for rows in times] == [
        "1.000000000", "1700000001.000000000", "22:13:21.000000000",
    ]  # fmt: skip


def test_a_dump_is_one_that_others_read(uspnet, capture):
    done = uspnet("read", "-x", capture, capture, "-c", "73")
    dumps = "\n".join(line for line in done.stdout.splitlines() if line[:8].isalnum() or not line)
    assert read_hex(dumps, "dump") == [bytes(each) for each in [*packets(), packets()[0]]]
    assert "\x1b" not in done.stdout


def test_a_file_that_is_cut_short_is_shown_up_to_there(uspnet, capture, tmp_path):
    whole = capture.read_bytes()
    at = 24 + 3 * 16 + 62 + 57 + 42
    for size, count in ((at, 3), (at + 1, 3), (at + 16, 3), (at + 100, 3)):
        (tmp_path / "cut.pcap").write_bytes(whole[:size])
        done = uspnet("read", tmp_path / "cut.pcap", capture, "-c", "5")
        assert done.returncode == (1 if size > at else 0)
        assert ("packet 4 at byte" in done.stderr) == (size > at), done.stderr
        titles = [f"{tmp_path / 'cut.pcap'}:", f"{capture}:"]
        rows = [line for line in done.stdout.splitlines() if line not in titles]
        assert [int(row.split()[0]) for row in rows] == [*range(1, count + 1), 1, 2]
    (tmp_path / "cut.pcap").write_bytes(whole[: at + 1])
    done = uspnet("read", tmp_path / "cut.pcap", "--json")
    *rows, error = map(json.loads, done.stdout.splitlines())
    assert (len(rows), error["error"], done.returncode) == (3, "Malformed", 1)
    done = uspnet("read", "-q", tmp_path / "cut.pcap", capture)
    assert (done.returncode, done.stdout, "packet 4" in done.stderr) == (1, "", True)


def test_a_folder_among_files_hides_none(uspnet, capture, tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-1])
    done = uspnet("read", cut, tmp_path, capture)
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) >= 2 * len(packets()) - 1, "the last one was read"
    assert "cut.pcap" in done.stderr
    assert f"{tmp_path}: Is a directory" in done.stderr


@pytest.mark.full
def test_a_reader_may_leave_and_a_writer_may_wait(start, capture):
    process = start("read", str(capture), through='"$@" | head -n 2')
    out, err = process.communicate(timeout=scaled(60))
    assert (len(out.splitlines()), err) == (2, "")
    through = f'(head -c 200 {capture}; sleep 0.3; tail -c +201 {capture}) | "$@"'
    process = start("read", "-", "tcp", through=through)
    out, err = process.communicate(timeout=scaled(60))
    assert (len(out.splitlines()), err, process.returncode) == (12, "", 0)


@pytest.mark.parametrize("head", [RadioTap(), None])
def test_a_filter_may_be_in_the_words_of_the_files_own_link_type(uspnet, tmp_path, head):
    frames = [Dot11(type=0, subtype=8) / Dot11Beacon(), Dot11(type=2), Dot11(type=0, subtype=4)] * 3
    path = tmp_path / "in.pcap"
    wrpcap(str(path), [head / frame if head else frame for frame in frames])
    words = ("--stats", "--json", "type", "mgt", "subtype", "beacon")
    (found,) = answer(uspnet("read", path, *words).stdout)["files"]
    assert found["statistics"]["packets"] == 3


WRONG = [
    ([], 2, "FILE... [FILTER] is missing"),
    (["/nowhere.pcap"], 1, "/nowhere.pcap: No such file"),
    (["CAPTURE", "/nowhere.pcapng"], 1, "No such file"),
    (["CAPTURE", "tcp prot 5"], 2, "syntax error"),
    (["CAPTURE", "type", "mgt"], 2, "802.11 link-layer types supported only on 802.11"),
    (["CAPTURE", "inbound"], 2, "only the kernel knows direction"),
    (["EMPTY", "inbound"], 2, "only the kernel knows direction"),
    (["EMPTY", "port", "70000"], 2, "illegal port number"),
    (["CAPTURE", "tcp", "-f", "udp"], 2, "two filters"),
    (["pcap:CAPTURE"], 2, "name the file"),
    (["/etc/hostname"], 1, "is not a pcap or pcapng file"),
    (["-", "CAPTURE", "-"], 2, "stdin can be read once"),
    (["CAPTURE", "-tttt"], 2, "tcpdump's -tttt, times with the date, is -t ad"),
    (["CAPTURE", "-w", "x"], 2, "uspnet capture pcap:FILE -w NEW"),
]


@pytest.mark.parametrize(("words", "code", "text"), WRONG)
def test_what_is_wrong_is_named(uspnet, capture, words, code, text):
    (empty := capture.with_name("empty.pcap")).write_bytes(capture.read_bytes()[:24])
    names = {"CAPTURE": str(capture), "pcap:CAPTURE": f"pcap:{capture}", "EMPTY": str(empty)}
    done = uspnet("read", *(names.get(word, word) for word in words), "-q")
    assert done.returncode == code, done.stdout + done.stderr
    assert text in " ".join(done.stderr.split())
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
