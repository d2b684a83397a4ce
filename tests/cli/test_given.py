# SPDX-License-Identifier: Apache-2.0
"""`pktgen --packet -`, `--packet hex:…` and `--pcap`: packets that exist already."""

from __future__ import annotations

import gzip
import random
import subprocess
from collections import Counter

import pytest
from scapy.layers.all import ARP, IP, TCP, UDP, Ether
from scapy.utils import wrpcap, wrpcapng

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.waiting import scaled

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
IPV4 = Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2")
FRAMES = [
    bytes(IPV4 / UDP(sport=1024, dport=9) / ("x" * 30)),
    bytes(IPV4 / TCP(sport=5, dport=6) / ("y" * 500)),
    bytes(IPV4 / UDP(sport=7, dport=8) / random.Random(1).randbytes(90)),
]


@pytest.fixture
def capture(tmp_path):
    """A file of FRAMES."""
    file = tmp_path / "given.pcap"
    wrpcap(str(file), FRAMES, linktype=1)
    return file


@pytest.fixture
def sent(uspnet, tmp_path):
    """Runs pktgen into a file; its frames, and what was told on stderr."""

    def run(*words, **more):
        file = tmp_path / "sent.pcap"
        result = uspnet("pktgen", f"pcap:out={file},format=pcap", *words, **more)
        assert result.returncode == 0, result.stderr
        return pcap_frames(file), result.stderr

    return run


def hexed(frames, form):
    if form == "plain":
        return "\n\n".join(frame.hex() for frame in frames)
    return "\n".join(
        subprocess.run(
            ["xxd"], input=frame, capture_output=True, check=True, timeout=scaled(60)
        ).stdout.decode()
        for frame in frames
    )


@pytest.mark.parametrize("form", ["plain", "xxd"])
def test_hex_on_stdin_is_sent_in_turn(sent, needs, form):
    if form != "plain":
        needs(form)
    frames, told = sent("--packet", "-", "-c", "7", text=hexed(FRAMES, form))
    assert frames == [*FRAMES, *FRAMES, FRAMES[0]]
    assert not told


def test_hex_on_the_command_line_has_a_weight(sent):
    words = ["--packet", f"3:hex:{FRAMES[0].hex()}", "--packet", f"hex:{FRAMES[1].hex(':')}"]
    frames, _ = sent("-c", "40", *words)
    assert Counter(frames) == {FRAMES[0]: 30, FRAMES[1]: 10}


def as_pcapng(path, frames):
    wrpcapng(str(path), [Ether(frame) for frame in frames])


def as_gzip(path, frames):
    wrpcap(str(path) + ".raw", frames, linktype=1)
    with open(str(path) + ".raw", "rb") as raw:
        path.write_bytes(gzip.compress(raw.read()))


@pytest.mark.parametrize("write", [as_pcapng, as_gzip])
def test_the_packets_of_any_capture_are_sent_in_turn(sent, tmp_path, write):
    write(tmp_path / "x", FRAMES)
    frames, told = sent("--pcap", str(tmp_path / "x"), "-c", "6")
    assert frames == FRAMES * 2
    assert not told


def test_they_vary_and_their_checksums_stay_right(sent, capture):
    words = ["--vary", "ip.src=10.1.0.0/16", "--vary", "ip.dst=list:10.2.0.1,10.2.0.2"]
    pair = [FRAMES[0], FRAMES[2]]
    wrpcap(str(capture), pair, linktype=1)
    frames, _ = sent("--pcap", str(capture), "-c", "30", *words)
    for number, frame in enumerate(frames):
        read = Ether(pair[number % 2])
        read[IP].src, read[IP].dst = f"10.1.0.{number}", f"10.2.0.{number % 2 + 1}"
        del read[IP].chksum, read[UDP].chksum
        assert bytes(read) == frame


def test_they_are_made_longer(sent, capture, needs):
    needs("tshark")
    frames, _ = sent("--pcap", str(capture), "--size", "600", "-c", "3")
    assert [len(frame) for frame in frames] == [600] * 3
    wrpcap(str(capture), frames, linktype=1)
    checks = [word for name in ("ip", "udp", "tcp") for word in
              ("-o", f"{name}.check_checksum:TRUE")]  # fmt: skip
    found = subprocess.run(
        ["tshark", "-r", capture, *checks, "-Y", "ip.len == 586 && ip.checksum.status == 1 && "
         "(udp.checksum.status == 1 || tcp.checksum.status == 1)"],
        capture_output=True, text=True, check=True, timeout=scaled(60),
    )  # fmt: skip
    assert len(found.stdout.splitlines()) == 3


def test_they_carry_sequence_numbers(uspnet, capture):
    wrpcap(str(capture), [FRAMES[0], FRAMES[0][:-1] + b"z"], linktype=1)
    result = uspnet("pktgen", "null:", "--pcap", str(capture), "--sequence", "-c", "10", "--json")
    assert (result.returncode, answer(result.stdout)["sent"]) == (0, 10), result.stderr


def test_what_a_file_has_beyond_the_limit_is_told(sent, capture):
    wrpcap(str(capture), [FRAMES[0]] * 16_384 + [FRAMES[2]] * 3, linktype=1)
    frames, told = sent("--pcap", str(capture), "-c", "16386")
    assert frames == [FRAMES[0]] * 16_386
    assert f"{capture}: it has more packets than the first 16,384" in " ".join(told.split())


def test_packets_of_a_file_that_can_not_be_sent_are_told(sent, capture):
    write_pcap(capture, [FRAMES[0], b"", FRAMES[1], b""])
    frames, told = sent("--pcap", str(capture), "-c", "4")
    assert frames == FRAMES[:2] * 2
    assert f"{capture}: without packets that can't be sent: too short 2" in " ".join(told.split())


def test_of_a_file_that_was_cut_what_is_whole_is_sent(sent, capture):
    data = capture.read_bytes()
    capture.write_bytes(data[:-5])
    frames, told = sent("--pcap", str(capture), "-c", "4")
    assert frames == FRAMES[:2] * 2
    assert "packet 3 at byte" in " ".join(told.split())
    assert "the file ends inside it" in " ".join(told.split())


WRONG = [
    (["--packet", "-"], "", "stdin: no packet in it"),
    (["--packet", "-"], "00" * 14 + "\nxyz", "stdin:2: 'x' is no hex digit"),
    (["--packet", "-", "--packet", "-"], "00" * 14, "stdin can be read once"),
    (["--packet", "hex:00ff"], "", "--packet hex:00ff: a packet of 2 bytes is shorter"),
    (["--packet", "hex:1"], "", "--packet hex:1: 1 hex digit is no byte: two make one hint: write"),
    (["--packet", "hex::1"], "", "--packet hex::1: 1 hex digit is no byte"),
    (["--packet", "hex:"], "", "--packet hex:: no packet in it"),
    (["--packet", "hex:" + "0" * 99], "", "hex:0000000000000000000…: 99 hex digits are no bytes"),
    (["--packet", "hex:" + "0" * 28 + "\n0g"], "", "…:2: 'g' is no hex digit"),
    (["--pcap", ""], "", "--pcap needs a file name: '' is empty"),
    (["--pcap", "FILE", "--src-ip", "10.0.0.1"], "", "--src-ip conflicts with --pcap"),
    (["--pcap", "FILE", "--size", "100"], "", "packet 2 makes 554 bytes, more than --size 100"),
    (["--pcap", "FILE", "--vary", "udp.sport=random"], "", "the packet Ether/IP/TCP"),
    (["--pcap", "FILE", "--replay", "FILE"], "", "--pcap conflicts with --replay"),
    (["--pcap", "pcap:FILE,timing=on"], "", "not with timing="),
    (["--pcap", "FILE", "--dry-run", "-w", "FILE"], "", "-w and --pcap name one file"),
    (["--pcap", "pcap:FILE", "--rx-port", "null:", "--lost", "FILE"], "", "--lost and --pcap name"),
    (["--rx-port", "null:", "--lost", "FILE", "--save", "FILE"], "", "--save and --lost name one"),
    (["--rx-port", "null:", "--lost", "FILE", "--plot", "FILE"], "", "--plot and --lost name one"),
    (["--pcap", "pcap:FILE,loop=off", "--dry-run", "-w", "FILE"], "", "name one file"),
    (["--replay", "FILE", "--filter", "tcp", "--filter", "udp"], "", "--filter is given twice"),
    (["--size", "60", "--size=imix"], "", "--size is given twice hint: write several sizes as one"),
    (["--profile", "a", "--profile", "b"], "", "--profile is given twice hint: write the streams"),
    (["-w", "a.pcapng", "--write=b.pcapng"], "", "--write is given twice hint: keep one of them"),
    (["--rx-port", "null:", "--no-sequence", "--plot", "-"], "", "with sequence numbers return"),
    (["--profile", "FILE", "--break", "fcs"], "", "--break conflicts with --profile"),
    (["--merge"], "", "--merge needs --replay hint: add --replay FILE, or drop it"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text", "told"), WRONG)
def test_what_makes_no_sense_is_refused(uspnet, capture, words, text, told):
    words = [word.replace("FILE", str(capture)) for word in words]
    before = capture.read_bytes()
    result = uspnet("pktgen", "null:", "-c", "5", *words, text=text)
    assert (result.returncode, result.stdout) == (2, "")
    assert capture.read_bytes() == before
    assert told in " ".join(result.stderr.split())
    assert "hint: " in result.stderr


CLOSED = {
    ("pktgen", "null:", "--packet", "-"): (2, "no packet in it"),
    ("pktgen", "null:", "--profile", "-"): (2, "not a mapping of keys"),
    ("plot", "-"): (1, "there is no histogram in it"),
}


@pytest.mark.parametrize("words", CLOSED)
def test_a_stdin_that_is_closed_is_an_empty_one(start, words):
    process = start(*words, through='exec "$@" <&-')
    code, text = CLOSED[words]
    _, err = process.communicate(timeout=scaled(60))
    assert process.returncode == code
    assert text in " ".join(err.split())
    assert "Traceback" not in err


def test_a_port_is_not_the_file_whose_packets_it_gets(uspnet, capture):
    before = capture.read_bytes()
    result = uspnet("pktgen", f"pcap:out={capture}", "-c", "9", "--pcap", str(capture))
    assert (result.returncode, capture.read_bytes()) == (2, before)
    assert "PORT and --pcap name one file" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"", "is empty"), (b"x" * 100, "is not a pcap or pcapng file"), (None, "No such file")],
)
def test_a_file_that_is_no_capture_is_named(uspnet, tmp_path, data, told):
    if data is not None:
        (tmp_path / "x").write_bytes(data)
    result = uspnet("pktgen", "null:", "-c", "5", "--pcap", str(tmp_path / "x"))
    assert result.returncode == 1
    assert str(tmp_path / "x") in result.stderr
    assert told in " ".join(result.stderr.split())


def test_a_file_without_packets_is_refused(uspnet, capture):
    capture.write_bytes(capture.read_bytes()[:24])
    result = uspnet("pktgen", "null:", "-c", "5", "--pcap", str(capture))
    assert (result.returncode, "no packet in it" in result.stderr) == (1, True)


def test_arp_varies_in_what_was_captured(sent, capture):
    frame = bytes(Ether(**MACS) / ARP(psrc="10.0.0.1", hwsrc=MACS["src"], pdst="10.0.0.2"))
    wrpcap(str(capture), [frame + bytes(18)], linktype=1)
    frames, _ = sent("--pcap", str(capture), "--vary", "arp.pdst=10.0.0.7-10.0.0.9", "-c", "3")
    assert [Ether(each)[ARP].pdst for each in frames] == [f"10.0.0.{n}" for n in (7, 8, 9)]
    assert {len(each) for each in frames} == {60}
