# SPDX-License-Identifier: Apache-2.0
"""`pktgen --vary` as its users meet it: what leaves, checked by tshark, and what is refused."""

from __future__ import annotations

import os
import subprocess

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

from tests.support.captures import pcap_frames
from tests.support.identity import answer
from tests.support.tiers import by_tier, full
from tests.support.waiting import scaled

CHECKS = [word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
V4, V6 = "IP(src='192.0.2.1',dst='192.0.2.2')", "IPv6(src='2001:db8::1',dst='2001:db8::2')"
SUMS = ("ip", "tcp", "udp", "icmp", "icmpv6")
RIGHT = "||".join(f"{name}.checksum.status==1" for name in SUMS)
WRONG = RIGHT.replace("==1", "==0")
SENT = [
    (f"{V4}/UDP(sport=7,dport=9)/('x'*33)", ["ip.src=10.0.0.0/16", "udp.sport=2000-60000:random"]),
    (f"{V4}/TCP(dport=9)/('x'*33)", ["ip.dst=10.0.0.0/16:random", "tcp.sport", "tcp.seq"]),
    (f"Dot1Q(vlan=1)/{V6}/TCP(dport=9)/('x'*33)", ["ip6.src=2001:db8::/64", "vlan=1-99"]),
    (f"{V4}/ICMP()/('x'*33)", ["icmp.seq=0-65535", "ip.ttl=1-255"]),
    (f"{V6}/ICMPv6EchoRequest()/('x'*33)", ["icmp6.seq=0-65535", "ip6.dst=2001:db8::/48"]),
    (f"Dot1AD(vlan=3)/Dot1Q(vlan=4)/{V4}/UDP(sport=7,dport=9)/('x'*33)", ["ip.src", "seq32@52"]),
    (f"MPLS(label=16,s=1)/{V4}/UDP(sport=7,dport=9)/('x'*33)", ["mpls.label=16-999", "ip.src"]),
    (f"{V4}/GRE()/{V6}/UDP(sport=7,dport=9)/('x'*33)", ["ip.src", "ip6.src", "udp.sport"]),
    (f"{V4}/UDP(sport=7,dport=4789)/VXLAN(vni=3)/Ether()/{V4}/TCP(dport=9)/('x'*33)",
     ["vxlan=1-999", "ip#2.src=10.0.0.0/8:random", "tcp.sport", "ip.dst"]),
]  # fmt: skip


def varied(texts):
    """The options; fields without values get random ones."""
    texts = [text if "=" in text or "@" in text else f"{text}=random" for text in texts]
    return [word for text in texts for word in ("--vary", text)]


@pytest.mark.parametrize("sequence", ["--sequence", *full("--no-sequence")])
@pytest.mark.parametrize(("text", "texts"), SENT)
def test_tshark_finds_every_checksum_right(uspnet, needs, tmp_path, text, texts, sequence):
    needs("tshark")
    path = tmp_path / "sent.pcap"
    words = [f"pcap:out={path},format=pcap", "-c", 200, "--packet", f"Ether()/{text}", sequence]
    result = uspnet("pktgen", *map(str, words), *varied(texts), "--json")
    assert result.returncode == 0, result.stderr
    assert answer(result.stdout)["sent"] == 200
    frames = pcap_frames(path)
    assert len({frame[:-18] for frame in frames}) > 98
    command = ["tshark", "-r", path, *CHECKS, "-Y", f"({RIGHT}) && !({WRONG})"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(60))
    assert len(done.stdout.splitlines()) == 200


def test_workers_send_disjoint_parts_of_a_sequence(namespace):
    namespace.veth("a", "b")
    receiver = namespace.socket("b")
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    run = namespace.uspnet("pktgen", "packet:a,queues=2", "--rate", "2k", "--duration", "0.1",
                           "--cores", cores, "--vary", "ip.src=10.0.0.0/16", "--json")  # fmt: skip
    sent = answer(run.stdout)["sent"]
    assert sent == 200
    got = [int.from_bytes(receiver.recv(2048)[28:30], "big") for _ in range(sent)]
    assert len(set(got)) == sent


def test_packets_that_vary_come_back(uspnet, qemu):
    port = "qemu:e1000e,loop=on"
    words = ("-c", "200", "--rx-port", port, "--size", "80", "--rate", "20k", "--fail-on-loss")
    result = uspnet("pktgen", port, *words, "--vary", "ip.src=10.0.0.0/24:random", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    found = answer(result.stdout)
    assert (found["received"], found["lost"], found["foreign"]) == (200, 0, 0)


@pytest.mark.parametrize("sequence", ["--sequence", "--no-sequence"])
def test_lengths_and_checksums_are_right_at_every_size(uspnet, needs, tmp_path, sequence):
    needs("tshark")
    path = tmp_path / "sent.pcap"
    words = ["--size", "imix:aaabbg", "--vary", "ip.src=10.0.0.0/16", "--vary", "udp.sport=1-9"]
    result = uspnet("pktgen", f"pcap:out={path},format=pcap", "-c", "600", *words, sequence)
    assert result.returncode == 0, result.stderr
    assert "sizes imix:aaabbg" in result.stdout
    frames = pcap_frames(path)
    assert [len(frame) for frame in frames] == [60, 60, 60, 124, 124, 1514] * 100
    assert [int.from_bytes(frame[28:30], "big") for frame in frames] == list(range(600))
    assert all(int.from_bytes(frame[16:18], "big") == len(frame) - 14 for frame in frames)
    assert all(int.from_bytes(frame[38:40], "big") == len(frame) - 34 for frame in frames)
    right = "ip.checksum.status==1 && udp.checksum.status==1"
    done = subprocess.run(["tshark", "-r", path, *CHECKS, "-Y", right], capture_output=True,
                          text=True, check=True, timeout=scaled(60))  # fmt: skip
    assert len(done.stdout.splitlines()) == 600


def test_what_an_expression_draws_is_drawn_for_each_packet(uspnet, tmp_path):
    path = tmp_path / "sent.pcap"
    text = "Ether(src=RandMAC())/IP(src=RandIP('10.0.0.0/8'),dst='192.0.2.2')/UDP(sport=7,dport=9)"
    text += f"/VXLAN()/Ether()/{V4}/UDP(sport=RandShort(),dport=RandNum(5,6))/('x'*20)"
    port = f"pcap:out={path},format=pcap"
    result = uspnet("pktgen", port, "-c", "100", "--packet", text, "--json")
    assert answer(result.stdout)["asked"]["vary"] == [
        "ether#1.src=random", "ip#1.src=10.0.0.0/8:random", "udp#2.sport=0-65535:random",
        "udp#2.dport=5-6:random"]  # fmt: skip
    frames = pcap_frames(path)
    assert {frame[26] for frame in frames} == {10}
    assert {frame[87] for frame in frames} == {5, 6}
    assert min(len({f[a:b] for f in frames}) for a, b in ((6, 12), (26, 30), (84, 86))) > 98
    words = ("--packet", f"Ether()/{V4}/UDP(sport=RandShort())/('x'*20)", "--flows", "5")
    result = uspnet("pktgen", port, "-c", "100", *words)
    assert result.returncode == 0, result.stderr
    assert len(set(pcap_frames(path))) == 5


def test_flows_are_those_that_were_asked_for(uspnet, tmp_path):
    path = tmp_path / "sent.pcap"
    words = ["--vary", "ip.src=10.0.0.0/8", "--vary", "udp.sport=random", "--flows", "40"]
    result = uspnet("pktgen", f"pcap:out={path},format=pcap", "-c", "400", *words, "--json")
    asked = answer(result.stdout)["asked"]
    assert (asked["flows"], asked["zipf"], asked["seed"]) == (40, None, 1)
    assert asked["vary"] == ["ip.src=10.0.0.0/8", "udp.sport=random"]
    frames = pcap_frames(path)
    assert len({frame[26:30] + frame[34:36] for frame in frames}) == 40
    assert frames[:40] * 10 == frames
    result = uspnet("pktgen", f"pcap:out={path},format=pcap", "-c", "400", *words, "--zipf", "1.2")
    assert result.returncode == 0, result.stderr
    assert set(pcap_frames(path)) < set(frames)


def test_sizes_and_packets_take_turns(uspnet, tmp_path):
    path = tmp_path / "sent.pcap"
    text = f"Ether()/{V4}/UDP(sport=7,dport=[1,2])"
    words = ["--size", "60:2,100:1", "--packet", text, "--json"]
    result = uspnet("pktgen", f"pcap:out={path},format=pcap", "-c", "12", *words)
    assert answer(result.stdout)["asked"]["size"] == "60:2,100:1"
    got = [(len(frame), frame[37]) for frame in pcap_frames(path)]
    cycle = [(60, 1), (60, 2), (100, 1), (100, 2), (60, 1), (60, 2)]
    assert got == cycle * 2


def test_a_rate_in_bits_counts_the_mean_size(uspnet):
    words = ("--size", "60:3,1000:1", "--rate", "23600bps", "--duration", "0.1", "--json")
    assert answer(uspnet("pktgen", "null:", *words).stdout)["asked"]["rate_pps"] == 10


@pytest.mark.parametrize(("words", "message", "hint"), [
    (["--vary", f"ip#{'9' * 5000}.src=1"], "not the name of a field", "mac, ip, udp"),
    (["--vary", f"u8@{'9' * 5000}"], "not the name of a field", "mac, ip, udp"),
    (["--vary", "tcp.sport=1"], "has no layer tcp", "mac, ip, udp"),
    (["--vary", "udp.sport=1-70000"], "70000 does not fit into 16 bits", "0 to 65,535"),
    (["--vary", "u32@45", "--sequence"], "bytes 42 to 60 are for the sequence", "--no-sequence"),
    (["--vary", "ip.id=1", "--rx-port", "null:", "--no-sequence"], "can't be told", "drop"),
    (["--flows", "3"], "--flows: nothing varies", "--vary"),
    (["--vary", "seq32@50", "--flows", "3"], "no field of a header varies", "--vary"),
    (["--vary", "ip.tos=1-5", "--zipf", "1"], "there are none", "--flows"),
    (["--vary", "ip.tos=1-5", "--flows", "6"], "make only 5 flows", "--flows to 5"),
    (["--vary", "ip.tos=1", "--flows", "6"], "make only 1 flow", "--flows to 1"),
    (["--size", "1514,60", "--vary", "u16@1000=1-9"], "bytes 1000 to 1002", "bytes 42 to 60"),
    (["--packet", f"Ether()/{V4}/UDP()/Raw(load=['x'*200,'y'*20])", "--vary", "u16@100=random"],
     "bytes 100 to 102", "bytes 42 to 62"),
    (["--packet", f"Ether()/{V4}/UDP(chksum=[0,None])/('x'*18)", "--vary", "udp.sport=1-5"],
     "at the same place", "vary other fields"),
    (["--vary", "ip.tos=1-5", "--flows", "5", "--zipf", "11"], "--zipf 11", "up to 10"),
    (["--vary", "ip.id=1", "--src-mac", "x"], "is not a MAC address", "02:00:00:00:00:01"),
    (["--vary", "ip.id=1", "--size", "41"], "42 to 9728 bytes, not 41", "--size of 42"),
    (["--size", "imix:xyz"], "not a mix", "a 64, b 128"),
    (["--size", "imix:i,", "--packet", "Ether()"], "not a mix", "a 64, b 128"),
])  # fmt: skip
def test_mistakes_are_named_with_their_remedy(uspnet, words, message, hint):
    result = uspnet("pktgen", "null:", "-c", "1", *words)
    assert result.returncode == 2, result.stdout + result.stderr
    told = " ".join(result.stderr.split())
    assert message in told
    assert hint in told
    assert "Traceback" not in told


def test_a_range_of_sizes_varies_with_right_checksums(uspnet, tmp_path):
    out = tmp_path / "x.pcapng"
    words = ["--packet", "Ether()/IP()/UDP(sport=7,dport=9)/'x'",
             "--packet", "2:Ether()/IP()/TCP(sport=7,dport=9)/'y'", "--size", "80-180",
             "--vary", "ip.src=10.0.0.0/8:random", "--sequence", "-c", "303"]  # fmt: skip
    result = uspnet("pktgen", "null:", *words, "--dry-run", "-w", str(out))
    assert result.returncode == 0, result.stderr
    with RawPcapNgReader(str(out)) as reader:
        frames = [frame for frame, _ in reader]
    assert sorted(map(len, frames)) == sorted([*range(80, 181)] * 3)
    for frame in frames:
        assert made_again(frame) == frame


def made_again(frame):
    """Return the frame with lengths and checksums as Scapy computes them."""
    packet = Ether(frame)
    assert IP in packet
    for layer in packet.iterpayloads():
        for name in ("chksum", "len"):
            layer.fields.pop(name, None)
    packet.clear_cache()
    return bytes(packet)


MIXED = [
    ["--size", "imix"],
    ["--size", "random:60-700", "--src-port", "7"],
    ["--packet", "Ether()/IP()/UDP(sport=7,dport=9)/('abc'*7)", "--size", "65,900,64,300,66"],
    ["--packet", "Ether()/IP()/UDP(sport=7,dport=9)/('x'*30)",
     "--packet", "Ether()/IP()/TCP(sport=7,dport=9)", "--size", "99,500"],
    ["--packet", "Ether()/IP()/UDP(sport=7,dport=9)/('x'*30)", "--packet", "hex:" + "ab" * 70],
]  # fmt: skip


@pytest.mark.parametrize("words", MIXED, ids=lambda words: words[-1][:20])
@pytest.mark.parametrize("numbered", ["--no-sequence", "--sequence"])
def test_what_a_buffer_had_before_is_in_no_packet(uspnet, tmp_path, words, numbered):
    """Frames of several sizes and kinds, of which only a part is written each time."""
    if "hex:" in words[-1]:  # which has no payload
        numbered = "--no-sequence"
    out = tmp_path / "x.pcapng"
    count, burst = by_tier(400, 1000, 9000), ["--burst", "7"]
    options = [*words, numbered, *burst, "-c", str(count)]
    result = uspnet("pktgen", "null:", *options, "--dry-run", "-w", str(out))
    assert result.returncode == 0, result.stderr
    with RawPcapNgReader(str(out)) as reader:
        frames = [frame for frame, _ in reader]
    assert len(frames) == count
    at = min(map(len, frames)) - 18
    clean = set()
    for frame in frames:
        if numbered == "--sequence":
            assert made_again(frame) == frame
            frame = made_again(frame[:at] + bytes(18) + frame[at + 18 :])  # noqa: PLW2901
        clean.add(frame)
    kinds = 2 if words.count("--packet") > 1 else 1
    assert len(clean) == len({len(frame) for frame in frames}) * (kinds if "99" in words[-1] else 1)
