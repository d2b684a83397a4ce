# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd --set` and `--trace` on the command line."""

from __future__ import annotations

import subprocess

import pytest
from scapy.all import ARP, IP, TCP, UDP, Ether

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.waiting import scaled

MACS = {"src": "02:00:00:00:00:11", "dst": "02:00:00:00:00:12"}
STACKS = [
    IP(src="10.1.2.3", dst="10.9.9.9") / UDP(sport=80, dport=53) / "hello",
    IP(src="10.1.2.3", dst="8.8.8.8", ttl=1) / TCP(sport=1024, dport=80, flags="S"),
    ARP(psrc="10.1.2.3", pdst="10.9.9.9"),
]
FRAMES = [bytes(Ether(**MACS) / each) for each in STACKS]


@pytest.fixture
def ports(tmp_path):
    """A file of packets, and one that they go to."""
    write_pcap(tmp_path / "in.pcap", FRAMES)
    return f"pcap:{tmp_path}/in.pcap", f"pcap:out={tmp_path}/out.pcap,format=pcap"


def lengths(path):
    """What a file says of its packets: how long they were, and how much of it is there."""
    words = ["tshark", "-r", path, "-Tfields", "-eframe.len", "-eframe.cap_len"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=scaled(60))
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


def test_it_writes_what_tcprewrite_makes_of_the_same_file(uspnet, ports, tmp_path):
    words = ["--set", "mac.dst=02:aa:00:00:00:02", "--set", "vlan=9", "--set", "ip.ttl=7"]
    maps = ["--map-ip", "10.0.0.0/8=192.168.0.0/16", "--map-port", "80=8080"]
    done = uspnet("fwd", *ports, *words, *maps, "--json")
    assert [
        (each["set"], each["packets"], each["without"]) for each in answer(done.stdout)["set"]
    ] == [
        ("vlan=9", 3, 0),
        ("mac.dst=02:aa:00:00:00:02", 3, 0),
        ("ip.ttl=7", 2, 1),
    ]
    theirs = [
        *("--enet-dmac=02:aa:00:00:00:02", "--enet-vlan=add", "--enet-vlan-tag=9", "--ttl=7"),
        *("--enet-vlan-cfi=0", "--enet-vlan-pri=0", "--pnat=10.0.0.0/8:192.168.0.0/16"),
        "--portmap=80:8080",
    ]
    files = [f"--infile={tmp_path}/in.pcap", f"--outfile={tmp_path}/theirs.pcap"]
    subprocess.run(["tcprewrite", *theirs, *files], check=True, timeout=scaled(60))
    assert pcap_frames(tmp_path / "out.pcap") == pcap_frames(tmp_path / "theirs.pcap")
    assert lengths(tmp_path / "out.pcap") == lengths(tmp_path / "theirs.pcap")


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
@pytest.mark.parametrize("words", [["--set", "vlan=9"], ["--mode", "impair", "--delay", "1ms"]])
def test_files_say_how_long_packets_are_now(uspnet, ports, tmp_path, form, words):
    more = 4 if "vlan=9" in words else 0
    uspnet("fwd", ports[0], f"pcap:out={tmp_path}/out,format={form}", *words)
    assert lengths(tmp_path / "out") == [(len(frame) + more,) * 2 for frame in FRAMES]


def test_the_summary_and_a_trace_say_what_was_rewritten(uspnet, ports):
    done = uspnet("fwd", *ports, "--set", "udp.dport=67", "--trace", "udp", "-c", "1")
    assert "set udp.dport=67, 1 packets, 2 without the field" in done.stdout
    assert "packet 1, 47 bytes" in done.stdout
    assert "bytes from 37 on, 35" in done.stdout
    assert ": sent" in done.stdout


def test_a_trace_follows_as_many_packets_as_are_asked_for(uspnet, ports):
    result = answer(uspnet("fwd", *ports, "--trace", "ip", "-c", "9", "--json").stdout)
    assert [bytes.fromhex(each["data"]) for each in result["traced"]] == FRAMES[:2]
    assert "set" not in result or not result["set"]


@pytest.mark.parametrize(("words", "what", "hint"), [
    (["--set", "ip.dts=1"], "--set ip.dts=1: there is no field 'ip.dts'", "fields are: vlan, "),
    (["--map-ip", "10.0.0.0/8"], "no second network", "10.0.0.0/8=192.168.0.0/16"),
    (["--set", "vlan=9", "--mode", "impair"], "the loop impair has no --set", "switch"),
    (["--trace", "tcp prot 80"], "tcp prot 80", "man pcap-filter"),
    (["--trace", "tcp", "-c", "1001"], "1,001 packets to trace", "1,000"),
])  # fmt: skip
def test_what_is_wrong_is_named(uspnet, ports, words, what, hint):
    done = uspnet("fwd", *ports, *words)
    assert done.returncode in {1, 2}
    assert what in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
