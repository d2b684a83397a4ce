# SPDX-License-Identifier: Apache-2.0
"""A replay that rewrites packets writes what tcprewrite makes of the same file."""

from __future__ import annotations

import subprocess

import pytest
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.waiting import scaled

MACS = {"src": "02:00:00:00:00:11", "dst": "02:00:00:00:00:12"}
STACKS = [
    IP(src="10.1.2.3", dst="10.9.9.9") / UDP(sport=80, dport=53) / "hello",
    IP(src="10.9.9.9", dst="10.1.2.3") / UDP(sport=53, dport=80, chksum=0) / "odd",
    IP(src="10.1.2.3", dst="8.8.8.8", ttl=1) / TCP(sport=1024, dport=80, flags="S"),
    IP(src="8.8.8.8", dst="10.1.2.3") / TCP(sport=80, dport=1024) / ("x" * 999),
    IP(src="10.1.2.3", dst="10.200.0.1") / ICMP() / b"ping",
    ARP(psrc="10.1.2.3", pdst="10.9.9.9"),
]
FRAMES = [bytes(Ether(**MACS) / each) for each in STACKS]
TAGGED = [bytes(Ether(**MACS) / Dot1Q(vlan=5) / each) for each in STACKS]
NETS = ["--map-ip", "10.0.0.0/8=192.168.0.0/16"]
PNAT = ["--pnat=10.0.0.0/8:192.168.0.0/16"]
ADD = ["--enet-vlan=add", "--enet-vlan-tag=9", "--enet-vlan-cfi=0", "--enet-vlan-pri=0"]
WAYS = {
    "addresses": (FRAMES, NETS, PNAT),
    "addresses behind a tag": (TAGGED, NETS, PNAT),
    "each prefix": (FRAMES, ["--map-ip", "10.1.0.0/16=172.16.5.0/24", *NETS],
                    ["--pnat=10.1.0.0/16:172.16.5.0/24,10.0.0.0/8:192.168.0.0/16"]),
    "MAC addresses": (FRAMES, ["--src-mac", "02:aa:00:00:00:01", "--dst-mac", "02:aa:00:00:00:02"],
                      ["--enet-smac=02:aa:00:00:00:01", "--enet-dmac=02:aa:00:00:00:02"]),
    "ports": (FRAMES, ["--map-port", "80=8080", "--map-port", "53=5353"],
              ["--portmap=80:8080,53:5353"]),
    "a new tag": (FRAMES, ["--vlan", "9"], ADD),
    "no tag": (TAGGED, ["--vlan", "none"], ["--enet-vlan=del"]),
    "all at once": (FRAMES, [*NETS, "--map-port", "80=8080", "--vlan", "9",
                             "--dst-mac", "02:aa:00:00:00:02"],
                    [*PNAT, "--portmap=80:8080", *ADD, "--enet-dmac=02:aa:00:00:00:02"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_a_rewritten_file_is_what_tcprewrite_writes(needs, uspnet, tmp_path, name):
    needs("tcprewrite")
    frames, ours, theirs = WAYS[name]
    write_pcap(tmp_path / "in", frames)
    command = ["tcprewrite", "-i", tmp_path / "in", "-o", tmp_path / "theirs", *theirs]
    subprocess.run(command, check=True, capture_output=True, timeout=scaled(60))
    out = f"pcap:out={tmp_path}/ours,format=pcap"
    run = uspnet("pktgen", out, "--replay", f"{tmp_path}/in", "--topspeed", *ours, "--json")
    assert answer(run.stdout)["sent"] == len(frames), run.stderr
    made = pcap_frames(tmp_path / "ours")
    assert made == pcap_frames(tmp_path / "theirs")
    assert made != frames
