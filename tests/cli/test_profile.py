# SPDX-License-Identifier: Apache-2.0
"""`pktgen --profile`: a file of streams, and what is said about a wrong one."""

from __future__ import annotations

from collections import Counter

import pytest
import typer
from scapy.layers.all import IP, TCP, UDP, Ether
from scapy.utils import RawPcapNgReader, wrpcap

from tests.support.identity import answer
from uspnet.cli import app
from uspnet.cli.profile import Profiles, read_streams
from uspnet.errors import Refused, Usage
from uspnet.system import kept

PROFILE = """
streams:
  web:
    packet: "Ether()/IP(dst='10.0.0.1')/TCP(dport=80)/('x'*30)"
    vary: [ip.src=10.1.0.0/16, "tcp.sport=random"]
    flows: 7
    size: 100
    rate: 10k
    stop: 300ms
  voice:
    size: 60,200
    rate: 100
    start: 100ms
    count: 20
    port: null:queues=2
  hex:
    packet: [HEX, "3:HEX"]
    start: 0.2s
    duration: 0.1s
    rate: 5k
  file:
    pcap: FILE
    count: 30
    sequence: no
"""
GROUP = typer.main.get_command(app)
FRAME = bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP() / UDP() / ("h" * 30))


@pytest.fixture
def profile(tmp_path):
    """A file of the four streams."""
    wrpcap(str(tmp_path / "x.pcap"), [FRAME[:-1] + b"1", FRAME[:-1] + b"2"], linktype=1)
    text = PROFILE.replace("HEX", "hex:" + FRAME.hex()).replace("FILE", str(tmp_path / "x.pcap"))
    text = text.replace("null:queues=2", '"null:queues=2"')
    (tmp_path / "x.yaml").write_text(text)
    return str(tmp_path / "x.yaml")


def test_its_streams_are_sent_to_their_ports(uspnet, profile):
    result = uspnet("pktgen", "null:", "--profile", profile, "--json")
    assert result.returncode == 0, result.stderr
    found = answer(result.stdout)
    sent = {each["name"]: (each["port"], each["sent"]) for each in found["streams"]}
    assert sent == {"web": ("null:", 3000), "voice": ("null:queues=2", 20), "hex": ("null:", 500),
                    "file": ("null:", 30)}  # fmt: skip
    assert (found["ended"], found["asked"]["profile"]) == ("source", profile)
    assert [row["tx_packets"] for row in found["ports"]] == [3530, 20]


def test_its_summary_has_a_line_for_each(uspnet, profile):
    result = uspnet("pktgen", "null:", "--profile", profile)
    assert (result.returncode, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    assert "stream web, sent 3,000 of 3,000, unsent 0, asked for 10.00 kpps" in text
    assert "stream file, sent 30 of 30, unsent 0 null:" in text


def test_a_dry_run_merges_them_and_needs_no_port(uspnet, profile, tmp_path):
    out = tmp_path / "dry.pcapng"
    result = uspnet("pktgen", "--profile", profile, "--dry-run", "-w", str(out), "--json")
    assert result.returncode == 0, result.stderr
    with RawPcapNgReader(str(out)) as reader:
        rows = [((meta.tshigh << 32) | meta.tslow, frame) for frame, meta in reader]
    assert [at for at, _ in rows] == sorted(at for at, _ in rows)
    web = [(at, Ether(frame)) for at, frame in rows if frame[23] == 6]
    assert [at for at, _ in web] == [10**5 * n for n in range(1, 3001)]
    assert len({(each[IP].src, each[TCP].sport) for _, each in web}) == 7
    assert {len(each) for _, each in web} == {100}
    others = Counter(frame for _, frame in rows if frame[23] != 6)
    assert others[FRAME] == 500
    assert others[FRAME[:-1] + b"1"] == others[FRAME[:-1] + b"2"] == 15
    voice = [len(frame) for at, frame in rows if frame[37] == 9]
    assert voice == [60, 200] * 10
    assert len(rows) == 3550


def test_a_dry_run_has_no_stream_that_starts_after_the_end(uspnet, tmp_path):
    file, out = tmp_path / "x.yaml", tmp_path / "dry.pcapng"
    file.write_text("streams: {a: {rate: 1k}, late: {count: 10, start: 5s}}")
    words = ["--profile", str(file), "--duration", "0.1", "--dry-run", "-w", str(out), "--json"]
    result = uspnet("pktgen", *words)
    assert {each["name"]: each["sent"] for each in answer(result.stdout)["streams"]} == {
        "a": 100, "late": 0}  # fmt: skip


def test_what_a_run_has_left_is_no_streams_own_limit(tmp_path, monkeypatch):
    """Another version goes on with the run: what its former has left is for the whole of it."""
    former = kept.State(duration=3.0, count=None)
    monkeypatch.setattr(kept, "former", lambda: former)
    one, two = read(tmp_path, "streams: {a: {count: 7}, b: {start: 1, duration: 5}}")
    assert (one.count, two.seconds) == (7, 5.0)


def read(tmp_path, text, port="null:"):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    return read_streams(str(file), port, GROUP)


def test_streams_of_one_port_share_it(tmp_path):
    text = 'streams: {a: {size: 60}, b: {port: "null:"}, c: {port: "null:queues=2"}}'
    one, same, other = read(tmp_path, text)
    assert one.port is same.port
    assert other.port is not one.port
    assert [each.port.name for each in (one, other)] == ["null:", "null:queues=2"]


def test_times_are_those_of_the_file(tmp_path):
    text = "streams: {a: {start: 2s, stop: 1m}, b: {start: 1, duration: 5}, c: {ramp: 10:30:10/5s}}"
    made = read(tmp_path, text)
    assert [(each.start, each.seconds) for each in made] == [(2.0, 58.0), (1.0, 5.0), (0.0, 15.0)]


WRONG = [
    ("streams:\n  a:\n    ratee: 5\n", "x.yaml:3: a: a stream has no 'ratee'", "mean rate?"),
    ("streams:\n  a:\n    starts: 5\n", "x.yaml:3: a: a stream has no 'starts'", "mean start?"),
    ("streams:\n  a:\n    rx-port: x\n", "x.yaml:3: a: a stream has no 'rx-port'", ""),
    ("streams:\n  a:\n    size: 60\n    rate: 10Q\n", "x.yaml:4: a: --rate '10Q': not a rate", ""),
    ("streams:\n  a:\n    start: 3s\n    stop: 2s\n", "x.yaml:4: a: stop: is not after start", ""),
    ("streams:\n  a:\n    stop: 3s\n    duration: 2s\n", "stop and duration say the same", ""),
    ("streams:\n  a:\n    start: soon\n", "x.yaml:3: a: start: 'soon'", "10s"),
    ("streams:\n  a:\n    packet: Ether()/IPP()\n", "x.yaml:3: a: --packet: Scapy has no", "IP()"),
    ("streams:\n  a:\n    vary: [ip.src=10.0.0.0/8, ip.sr=3]\n", "x.yaml:3: a: --vary ip.sr", ""),
    ("streams:\n  a:\n    packet: '-'\n", "x.yaml:3: a: --packet -: in a file", "hex:"),
    ("streams:\n  a:\n    port: pcapp:x\n", "x.yaml:3: a: pcapp:x: there is no port", "pcap:"),
    ("streams:\n  a:\n    port: pcap:x\n", "x.yaml:3: a: pcap:x: nothing can be sent", ""),
    ("streams:\n  a:\n    size: 60\n  a:\n    size: 70\n", "x.yaml:4: 'a' is there twice", ""),
    ("streams:\n  'a b':\n    size: 60\n", "x.yaml:2: 'a b' can't be a stream's name", ""),
    ("streams:\n  a:\n", "x.yaml:2: a: has no keys", "--example profile"),
    ("streams:\n  a: 5\n", "x.yaml:2: a: is no mapping of keys", ""),
    ("streams:\n", "x.yaml:1: streams: names no stream", ""),
    ("stream:\n  a:\n", "x.yaml:1: unknown key 'stream'", "mean streams?"),
    ("- a\n", "x.yaml:1: not a mapping of keys", "streams:"),
    ('streams:\n  a:\n    port: "null:queues=2"\n', "none is sent to null:", "drop PORT"),
    ("streams:\n" + "".join(f"  s{n}: {{size: 60}}\n" for n in range(257)), "more than 256", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told", "hint"), WRONG)
def test_a_wrong_file_is_told_with_its_line(tmp_path, text, told, hint):
    with pytest.raises(Usage) as error:
        read(tmp_path, text)
    assert told in error.value.message
    assert hint in error.value.hint
    assert error.value.hint


def test_a_stream_needs_a_port(tmp_path):
    with pytest.raises(Usage, match=r"x\.yaml:2: a: has no port"):
        read(tmp_path, "streams:\n  a:\n    size: 60\n", port=None)


def test_a_file_that_anybody_may_change_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("streams: {a: {size: 60}}")
    (tmp_path / "x.yaml").chmod(0o666)
    with pytest.raises(Refused, match="every user may change it"):
        read_streams(str(tmp_path / "x.yaml"), "null:", GROUP)


OPTIONS = [("rate", "--rate"), ("only", "--filter"), ("vary", "--vary"), ("count", "--count"),
           ("replay", "--replay"), ("sequence", "--sequence"), ("answer", "--answer")]  # fmt: skip


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_options_that_belong_to_streams_are_refused_beside_it(name, option):
    with pytest.raises(Usage, match=f"{option} conflicts with --profile"):
        Profiles("x.yaml", "null:").check({"port", "profile", name})


MEASURED = [
    ("size: 60, sequence: no", "x.yaml:1: a: sequence: it can't be measured", "drop --rx-port"),
    ("size: 42", "x.yaml:1: a: 0 bytes of payload are too few", "--size"),
]


@pytest.mark.parametrize(("text", "told", "hint"), MEASURED)
def test_a_stream_that_can_have_no_numbers_is_not_measured(uspnet, tmp_path, text, told, hint):
    (tmp_path / "x.yaml").write_text(f"streams: {{a: {{{text}}}}}")
    result = uspnet("pktgen", "null:", "--profile", str(tmp_path / "x.yaml"), "--rx-port", "null:")
    assert result.returncode == 2
    first, second = result.stderr.splitlines()
    assert told in first
    assert hint in second


def test_streams_that_end_fill_no_disk(uspnet, tmp_path):
    (tmp_path / "x.yaml").write_text("streams: {a: {count: 20, rate: 1k}}")
    words = ["--profile", str(tmp_path / "x.yaml"), "--lost", str(tmp_path / "lost.pcapng")]
    result = uspnet("pktgen", "null:queues=2", *words, "--rx-port", "null:", "--poll", "sleep")
    assert (result.returncode, "disk" in result.stderr) == (0, False)
    assert "lost 20 (100.0 %)" in " ".join(result.stdout.split())


def test_without_a_profile_a_port_is_needed(uspnet):
    result = uspnet("pktgen", "--rate", "10")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "uspnet: PORT is missing\n  hint: see: uspnet pktgen --help\n"


FILES = [
    ("pcap: IN", (), ("--dry-run", "-w", "IN"), "pcap of x.yaml name one file"),
    ("pcap: IN, port: 'null:'", (), ("--rx-port", "null:", "--lost", "IN"), "name one file: IN"),
    ('port: "pcap:out=IN"', (), ("--rx-port", "null:", "--save", "IN"), "and --save name one file"),
    ('port: "pcap:out=IN"', ('port: "pcap:out=IN,buffer=1"',), (), "name one file: IN"),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "more", "words", "told"), FILES)
def test_no_file_is_lost_or_written_twice(uspnet, tmp_path, monkeypatch, stream, more, words, told):
    monkeypatch.chdir(tmp_path)
    wrpcap("IN", [FRAME], linktype=1)
    before = (tmp_path / "IN").read_bytes()
    text = "\n".join(f"  s{n}: {{{each}, count: 1}}" for n, each in enumerate((stream, *more)))
    (tmp_path / "x.yaml").write_text(f"streams:\n{text}\n")
    result = uspnet("pktgen", "--profile", "x.yaml", *words)
    assert result.returncode in {2, 3}
    assert told in " ".join(result.stderr.split())
    assert (tmp_path / "IN").read_bytes() == before
