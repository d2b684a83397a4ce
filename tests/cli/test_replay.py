# SPDX-License-Identifier: Apache-2.0
"""`pktgen --replay` as its users meet it."""

from __future__ import annotations

import pytest
from scapy.all import IP, UDP, Dot1Q, Ether

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.pcap_rig import FRAMES, classic, enhanced, pcapng

ALL = len(FRAMES)


@pytest.fixture
def capture(tmp_path):
    """A capture file."""
    (tmp_path / "in.pcapng").write_bytes(pcapng())
    return str(tmp_path / "in.pcapng")


SPEEDS = [
    ([], 1.0),
    (["--speed", "1e3"], 1000.0),
    (["--topspeed"], None),
    (["--rate", "max"], None),
]


@pytest.mark.parametrize(("words", "speed"), SPEEDS)
def test_packets_leave_as_they_are(uspnet, capture, tmp_path, words, speed):
    out = f"pcap:out={tmp_path}/out.pcap,format=pcap"
    result = uspnet("pktgen", out, "--replay", capture, *words, "--json")
    assert result.returncode == 0, result.stderr
    told = answer(result.stdout)
    assert pcap_frames(tmp_path / "out.pcap") == FRAMES
    assert told["asked"]["replay"] == [capture]
    assert told["asked"]["speed"] == speed
    assert (told["sent"], told["replayed"][0]["packets"]) == (ALL, ALL)


def test_packets_are_rewritten_on_their_way(uspnet, tmp_path):
    frame = bytes(Ether() / IP(src="10.1.2.3", dst="9.9.9.9") / UDP(sport=80, dport=7) / "x")
    new = Ether(dst="02:00:00:00:00:0a") / Dot1Q(vlan=9) / IP(src="192.168.2.3", dst="9.9.9.9")
    write_pcap(tmp_path / "in", [frame])
    words = ["--map-ip", "10.0.0.0/8=192.168.0.0/16", "--map-port", "80=8080", "--vlan", "9",
             "--dst-mac", "02:00:00:00:00:0a"]  # fmt: skip
    out = f"pcap:out={tmp_path}/out,format=pcap"
    result = uspnet("pktgen", out, "--replay", f"{tmp_path}/in", *words, "--loop", "20")
    assert result.returncode == 0, result.stderr
    wanted = bytes(new / UDP(sport=8080, dport=7) / "x")
    assert [made[:6] + made[12:] for made in pcap_frames(tmp_path / "out")] == 20 * [
        wanted[:6] + wanted[12:]
    ]


def test_files_are_merged_by_time(uspnet, capture, tmp_path):
    out = f"pcap:out={tmp_path}/out,format=pcap"
    words = ("--replay", capture, "--replay", capture, "--merge", "--loop", "2", "--speed", "1e3")
    result = uspnet("pktgen", out, *words, "--json")
    assert result.returncode == 0, result.stderr
    assert pcap_frames(tmp_path / "out") == [frame for frame in FRAMES for _ in range(2)] * 2
    told = answer(result.stdout)
    assert told["asked"]["merge"] is True
    assert [each["packets"] for each in told["replayed"]] == [2 * ALL, 2 * ALL]


def test_a_summary_names_files_and_what_was_skipped(uspnet, capture, tmp_path):
    write_pcap(tmp_path / "b,pcap", [bytes(60), b"", bytes(60)])
    more = ("--replay", f"{tmp_path}/b,pcap", "--loop", "2", "--topspeed")
    result = uspnet("pktgen", "null:", "--replay", capture, *more)
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert f"sent {2 * (ALL + 2)} of {2 * (ALL + 2)} packets" in text
    assert f"file {capture}, {2 * ALL} packets, 720 bytes, begun 2 times" in text
    assert "b,pcap, 4 packets, 240 bytes, begun 2 times, skipped 2: too short 2" in text


@pytest.mark.parametrize(
    ("words", "became"),
    [
        ([], "sent as captured"),
        (["--truncated", "pad"], "padded with zeros"),
        (["--truncated", "skip"], "skipped"),
    ],
)
def test_packets_captured_in_part_are_told_and_no_loss(uspnet, tmp_path, words, became):
    cut = enhanced("<", 0, bytes(60), wire=90)
    (tmp_path / "x").write_bytes(pcapng() + cut + cut)
    replay = ("pktgen", "null:", "--replay", f"{tmp_path}/x", "--topspeed", "--fail-on-loss")
    result = uspnet(*replay, *words)
    assert result.returncode == 0, result.stderr
    assert f"truncated 2 ({became})" in " ".join(result.stdout.split())


def test_what_a_filter_rejects_is_told_and_no_loss(uspnet, capture, tmp_path):
    out = f"pcap:out={tmp_path}/out,format=pcap"
    words = ("pktgen", out, "--replay", capture, "--topspeed", "--filter", "greater 62")
    result = uspnet(*words, "--fail-on-loss")
    assert result.returncode == 0, result.stderr
    assert "skipped 3: filtered 3" in " ".join(result.stdout.split()), result.stdout
    wanted = [frame for frame in FRAMES if len(frame) >= 62]
    assert pcap_frames(tmp_path / "out") == wanted
    told = answer(uspnet(*words, "--json", "-c", "2").stdout)
    assert (told["sent"], told["asked"]["filter"]) == (2, "greater 62")


def test_skipped_packets_are_lost(uspnet, tmp_path):
    write_pcap(tmp_path / "x", [bytes(60), b"", bytes(60)])
    words = ("pktgen", "null:", "--replay", f"{tmp_path}/x", "--topspeed")
    assert uspnet(*words, "--fail-on-loss=50%").returncode == 0
    result = uspnet(*words, "--fail-on-loss")
    assert result.returncode == 4
    assert "1 of 3 packets did not arrive" in result.stderr


def test_packets_beyond_the_mtu_are_left_out_by_name(namespace, tmp_path):
    namespace.veth("a", "b")
    receiver = namespace.socket("b")
    write_pcap(tmp_path / "x", [bytes(60), bytes(1515), bytes(60)])
    run = namespace.uspnet("pktgen", "packet:a", "--replay", f"{tmp_path}/x", "--json")
    told = answer(run.stdout)
    assert (told["sent"], told["unsent"], told["drops"]) == (2, 1, {"too_long": 1})
    assert [len(receiver.recv(2048)) for _ in range(2)] == [60, 60]


def test_a_cut_file_is_played_as_far_as_it_is_whole(uspnet, tmp_path):
    (tmp_path / "x").write_bytes(classic()[:-1])
    result = uspnet("pktgen", "null:", "--replay", f"{tmp_path}/x", "--topspeed", "--json")
    assert result.returncode == 1
    told = answer(result.stdout)
    assert (told["error"], told["sent"]) == ("Malformed", ALL - 1)
    assert "packet 6 at byte" in told["message"]


def test_stdin_is_a_file(start, tmp_path):
    (tmp_path / "x").write_bytes(pcapng())
    through = f'cat {tmp_path}/x | "$@"'
    out, err = start("pktgen", "null:", "--replay", "-", "--json", through=through).communicate()
    assert answer(out)["sent"] == ALL, err


WRONG = [
    (["--packet", "Ether()"], "--packet conflicts with --replay", "drop --packet"),
    (["--vary", "ip.src=10.0.0.0/8"], "--vary conflicts with --replay", "drop --vary"),
    (["--size", "60"], "--size conflicts with --replay", "drop --size"),
    (["--flows", "7"], "--flows conflicts with --replay", "drop --flows"),
    (["--map-ip", "10.0.0.0/8"], "--map-ip 10.0.0.0/8: no second network", "192.168.0.0/16"),
    (["--map-port", "80=x"], "--map-port 80=x: not a whole number", "80=8080"),
    (["--vlan", "4095"], "too large", "write 0 to 4094, or none"),
    (["--src-mac", "02:00"], "is not a MAC address", "02:00:00:00:00:01"),
    (["--src-ip", "1.2.3.4"], "--src-ip conflicts with --replay", "--map-ip"),
    (["--rx-port", "null:"], "--rx-port conflicts with --replay", "drop --rx-port"),
    (["--lost", "x.pcapng"], "--lost conflicts with --replay", "no sequence numbers"),
    (["--speed", "2", "--rate", "1k"], "--rate conflicts with --speed", "keep one"),
    (["--topspeed", "--rate", "1k"], "--rate conflicts with --topspeed", "keep one"),
    (["--speed", "0"], "not a factor", "write 2 or 0.5"),
    (["--speed", "fast"], "not a factor", "write 2 or 0.5"),
    (["--loop", "0"], "too small", "write 10, or forever"),
    (["--loop", "often"], "not a whole number", "write 10, or forever"),
    (["--filter", "prot 80"], "filter 'prot 80'", "man pcap-filter"),
    (["--split-by", "ip"], "--split-by needs --second-port", "--second-port PORT"),
    (["--second-port", "null:"], "--second-port needs --split-by", "--split-by 'src net"),
    (["--split-by", "prot 80", "--second-port", "null:"], "filter 'prot 80'", "man pcap-filter"),
    (["--split-by", "ip", "--second-port", "pcap:x"], "nothing can be sent there", "to send to"),
    (["--filter", ""], "the filter is empty", "tcp port 80"),
    (["--truncated", "cut"], "none of send, pad, skip", "--help"),
    (["--replay", ""], "is empty", "--replay x.pcapng"),
    (["--replay", "--json"], "is an option", "--replay x.pcapng"),
    (["--replay", "pcap:x,speed=2"], "not with speed=", "use --speed"),
    (["--replay", "pcap:x,loop=on"], "not with loop=", "use --loop"),
    (
        ["--replay", "pcap:x,truncated=skip", "--truncated", "pad"],
        "not with truncated=",
        "drop one",
    ),
    (["--replay", "pcap:out=x"], "not with out=", "as the port"),
    (["--replay", "pcap:x,max-gap=1", "--merge"], "not with max-gap=", "with --merge"),
    (["--rate", "1e-9pps"], "--rate is 1e-09", "1.5Mpps"),
]


@pytest.mark.parametrize(("words", "message", "hint"), WRONG)
def test_what_makes_no_sense_is_refused(uspnet, capture, words, message, hint):
    result = uspnet("pktgen", "null:", "--replay", capture, *words, "--json")
    assert result.returncode == 2, result
    told = answer(result.stdout)
    assert message in told["message"]
    assert hint in told["hint"], told["hint"]


@pytest.mark.parametrize(
    "words",
    [
        ["--speed", "2"],
        ["--topspeed"],
        ["--loop", "forever"],
        ["--vlan", "7"],
        ["--merge"],
        ["--truncated", "pad"],
        ["--filter", "ip"],
        ["--split-by", "ip"],
        ["--second-port", "null:"],
        ["--map-port", "80=81"],
    ],
)
def test_options_of_a_replay_need_one(uspnet, words):
    result = uspnet("pktgen", "null:", *words, "--json")
    assert result.returncode == 2
    assert f"{words[0]} needs --replay" in answer(result.stdout)["message"]


@pytest.mark.parametrize("name", ["nothing.pcap", ""])
def test_files_that_are_not_there_or_no_captures_are_named(uspnet, tmp_path, name):
    result = uspnet("pktgen", "null:", "--replay", f"{tmp_path}/{name}", "--json")
    told = answer(result.stdout)
    assert result.returncode in {1, 2}
    assert str(tmp_path) in told["message"]


def test_a_hint_for_another_link_type_is_what_to_replay(uspnet, tmp_path):
    (tmp_path / "x").write_bytes(classic(link=101))
    words = ("pktgen", "null:", "--json", "--replay")
    told = answer(uspnet(*words, f"{tmp_path}/x").stdout)
    assert told["hint"].endswith(f": pcap:{tmp_path}/x,ethernet=add")
