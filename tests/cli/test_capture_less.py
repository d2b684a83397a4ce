# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture` that leaves out a part on purpose, and says how much."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections import Counter, defaultdict

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from tests.support.blocks import IDB, blocks, statistics
from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.mixture import MACS, mixture
from uspnet.cli.less import less_of
from uspnet.errors import Usage

FIELDS = (
    *("tcp.stream", "udp.stream", "ip.proto", "ipv6.nxt", "ip.src", "ip.dst"),
    *("ipv6.src", "ipv6.dst", "eth.src", "eth.dst"),
)


def sessions():
    """TCP connections one after the other, between the same ports."""
    ends = {"sport": 5000, "dport": 80}, {"sport": 80, "dport": 5000}
    there, back = IP(src="10.9.0.1", dst="10.9.0.2"), IP(src="10.9.0.2", dst="10.9.0.1")
    for seq in (1000, 700_000, 3_000_000):
        yield there / TCP(**ends[0], flags="S", seq=seq)
        yield back / TCP(**ends[1], flags="SA", seq=seq + 77, ack=seq + 1)
        for n in range(6):
            yield there / TCP(**ends[0], flags="A", seq=seq + 1 + n, ack=seq + 78) / b"x"
        yield back / TCP(**ends[1], flags="FA", seq=seq + 78, ack=seq + 7)
        yield there / TCP(**ends[0], flags="FA", seq=seq + 7, ack=seq + 79)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """A capture of flows of all kinds, its frames, and tshark's conversation of each."""
    path = tmp_path_factory.mktemp("load") / "in.pcap"
    frames = mixture(random.Random(1), 900) + [bytes(Ether(**MACS) / each) for each in sessions()]
    write_pcap(path, frames)
    words = [word for name in FIELDS for word in ("-e", name)]
    command = ["tshark", "-r", path, "-Tfields", "-Eoccurrence=f", *words]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    flows = []
    for line in told.splitlines():
        tcp, udp, proto, following, *addresses = line.split("\t")
        ends = addresses[:2] if addresses[0] else addresses[2:4]
        ends = ends if ends[0] else addresses[4:]
        ports = f"tcp {tcp}" if tcp else f"udp {udp}" if udp else ""
        flows.append(ports or (proto, following, *sorted(ends)))
    return path, frames, flows


def first(frames, flows, limit, size):
    """The frames that come before `limit` of their flow is reached; each counts `size` of it."""
    taken, kept = Counter(), []
    for frame, flow in zip(frames, flows, strict=True):
        if taken[flow] < limit:
            taken[flow] += size(frame)
            kept.append(frame)
    return kept


@pytest.mark.parametrize(
    ("asked", "limit", "size"),
    [("1/flow", 1, lambda _: 1), ("7/flow,idle=0", 7, lambda _: 1), ("3kB/flow", 3000, len)],
)
def test_the_first_of_a_flow_are_those_of_tsharks_conversations(
    uspnet, load, tmp_path, asked, limit, size
):
    path, frames, flows = load
    wanted = first(frames, flows, limit, size)
    words = [
        "-F",
        "pcap",
        "-w",
        tmp_path / "x",
        "--first",
        asked,
        "--json",
        "--burst",
        1 + limit % 9,
    ]
    found = answer(uspnet("capture", f"pcap:{path}", *words).stdout)
    assert pcap_frames(tmp_path / "x") == wanted
    lost = len(frames) - len(wanted)
    assert (found["written"], found["drops"]) == (len(wanted), {"beyond_first": lost})
    of = defaultdict(list)
    for frame, flow in zip(frames, flows, strict=True):
        of[flow].append(frame)
    cut = [
        each for each in of.values() if len(first(each, [0] * len(each), limit, size)) < len(each)
    ]
    left_out = sum(map(len, frames)) - sum(map(len, wanted))
    assert found["first"] == {
        "flows": len(of),
        "cut_flows": len(cut),
        "packets": lost,
        "bytes": left_out,
        "forgotten": 0,
    }


def test_a_file_says_what_it_lacks_and_a_filter_comes_first(uspnet, load, tmp_path):
    path, _, flows = load
    counts = Counter(flow for flow in flows[:-30] if flow[:3] == "tcp")
    words = ["-w", tmp_path / "x", "--first", "3/flow", "--slice", "l4", "--fail-on-loss"]
    chosen = "tcp and not host 10.9.0.1"  # connections that follow one another
    many, kept = 2 * counts.total(), sum(min(2 * n, 3) for n in counts.values())
    done = uspnet("capture", f"pcap:{path}", f"pcap:{path}", *words, chosen)
    assert f"flows {len(counts)}, cut behind 3/flow {len(counts)}, " in done.stdout
    assert "\nsliced to l4 " in done.stdout
    assert done.returncode == 0, "what is left out on purpose is no loss"
    told = [statistics(tmp_path / "x", number)[-1].counts() for number in range(2)]
    assert (
        sum(each["filteraccept"] for each in told) == sum(each["usrdeliv"] for each in told) == kept
    )
    assert all(each["ifdrop"] == each["osdrop"] == 0 for each in told)
    assert sum(each["ifrecv"] for each in told) == 2 * len(flows)
    for block in blocks(tmp_path / "x"):
        if block.kind == IDB:
            assert b"left out: packets behind the first 3 packets of each flow" in block.body
            assert b"left out: what packets carry behind the header of layer 4" in block.body
    assert f"beyond first {many - kept}" in done.stdout


def test_flows_that_there_is_no_room_for_are_forgotten_and_begin_anew(uspnet, load):
    path, frames, _ = load
    words = ["--first", "2/flow,flows=1", "--json"]
    found = answer(uspnet("capture", f"pcap:{path}", *words).stdout)
    in_place = 2 + 2  # of which two began anew with a SYN
    assert found["first"]["forgotten"] == found["first"]["flows"] - in_place
    assert found["discarded"] > 100
    quiet = [frame for number in range(5) for frame in frames[:1] * 5]
    times = [10**18 + number // 5 * 10**9 for number in range(25)]
    write_pcap(path.with_name("quiet"), quiet, times)
    for idle, kept in (("1s", 2), ("999ms", 10), ("0", 2)):
        words = ["--first", f"2/flow,idle={idle}", "--json"]
        found = answer(uspnet("capture", f"pcap:{path.with_name('quiet')}", *words).stdout)
        assert found["discarded"] == kept, idle


# -- slices ----------------------------------------------------------------------------------------

ETHER, V4, V6 = (
    Ether(**MACS),
    IP(src="10.0.0.1", dst="10.0.0.2"),
    IPv6(src="fd00::1", dst="fd00::2"),
)
DCCP = Raw(struct.pack("!HHBBHI", 1, 2, 5, 0, 0, 0) + bytes(8))
HEADERS = [
    ETHER / V4 / TCP(),
    ETHER / V4 / TCP(options=[("MSS", 1460), ("Timestamp", (1, 2))]),
    ETHER / Dot1Q() / Dot1Q() / V4 / UDP(),
    ETHER / IP(options=b"\1" * 12) / SCTP(),
    ETHER / V4 / ICMP(),
    ETHER / V6 / TCP(),
    ETHER / V6 / IPv6ExtHdrHopByHop() / UDP(),
    ETHER / V6 / ICMPv6EchoRequest(),
    ETHER / V6 / IPv6ExtHdrFragment(nh=17, m=1) / UDP(),
    ETHER / V6 / IPv6ExtHdrFragment(nh=17, offset=9),
    ETHER / IP(flags="MF") / UDP(),
    ETHER / IP(frag=9, proto=6),
    ETHER / IP(proto=33) / DCCP,
    ETHER / IP(proto=136) / Raw(bytes(8)),
    ETHER / IP(proto=50),  # nothing is known of its header
    Ether(**MACS, type=0x88CC),
    Ether(**MACS, type=100),  # a length
    ETHER / Dot1Q(type=0x8137),
]


def test_a_slice_ends_behind_the_header_of_layer_4(uspnet, tmp_path):
    payload = b"secret" * 40
    frames = [bytes(each / Raw(payload)) for each in HEADERS]
    wanted = [frame[: -len(payload)] for frame in frames]
    arp, wrong = bytes(ETHER / ARP()) + bytes(18), bytes(ETHER) + b"\x7f" + payload
    wrong = wrong[:12] + b"\x08\x00" + wrong[14:]
    short = [frames[0][:length] for length in (14, 20, 34, 40, 46, 47)]
    lies = bytearray(frames[0][:70])
    lies[46] = 0xF0  # a TCP header of 60 bytes
    frames += [arp, wrong, *short, bytes(lies)]
    wanted += [arp, wrong[:14], short[0], short[1][:14], *short[2:], bytes(lies)]
    write_pcap(tmp_path / "in", frames)
    for more, snaplen in ([], 10**6), (["-s", 45], 45):
        words = ["-F", "pcap", "-w", tmp_path / "out", "--slice", "l4", "--json", *more]
        found = answer(uspnet("capture", f"pcap:{tmp_path / 'in'}", *words).stdout)
        cut = [(f[:snaplen], w[:snaplen]) for f, w in zip(frames, wanted, strict=True)]
        assert pcap_frames(tmp_path / "out") == [kept for _, kept in cut]
        sizes = [len(whole) - len(kept) for whole, kept in cut if kept != whole]
        assert found["sliced"] == {"packets": len(sizes), "bytes": sum(sizes)}
        assert found["asked"]["slice"] == "l4"
    told = subprocess.run(
        ["tshark", "-r", tmp_path / "out", "-Tfields", "-eframe.len"],
        *(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert [int(line) for line in told.stdout.split()] == [len(frame) for frame in frames]
    done = uspnet("fwd", f"pcap:{tmp_path / 'in'}", f"pcap:out={tmp_path / 'o'},slice=l4", "-q")
    assert done.returncode == 0
    of_lies = 2  # which claims that they are its header
    assert (tmp_path / "o").read_bytes().count(b"secret") == of_lies


@pytest.mark.parametrize(
    ("option", "asked", "text"),
    [
        ("first", "64", "--first '64': does not say of what"),
        ("first", "64/packet", "--first '64/packet': does not say of what"),
        ("first", "x/flow", "--first 'x/flow': not a whole number"),
        ("first", "1.5QiB/flow", "--first '1.5QiB/flow': not a size"),
        ("first", "0/flow", "--first 0: at least 1"),
        ("first", "0.1B/flow", "--first 0: at least 1"),
        ("first", "5/flow,idle", "--first: 'idle' is none of its options"),
        ("first", "5/flow,idle=x", "--first: 'idle=x': not a time"),
        ("first", "5/flow,flows=0", "--first: 'flows=0': too small: at least 1"),
        ("first", "5/flow,idle=1,idle=2", "--first: idle= is given twice"),
        ("dedup", "x", "--dedup 'x': not a time"),
        ("dedup", "0", "--dedup '0': too short"),
        ("dedup", "50ms,ttl", "--dedup: 'ttl' is none of its options"),
        ("dedup", "50ms,ignore=ttl,vlan", "--dedup: ignore=vlan: there is no such part"),
        ("dedup", "50ms,packets=0", "--dedup: 'packets=0': too small: at least 1"),
    ],
)
def test_wrong_words_are_named(option, asked, text):
    with pytest.raises(Usage, match=f"^{re.escape(text)}"):
        less_of(**{"dedup": None, "first": None, option: asked})


def test_wrong_ways_to_run_are_named(uspnet):
    for words, text in (
        (["--first", "5/flow", "--cores", "0,1"], "--first: one thread has to see all packets"),
        (["--dedup", "1s", "--first", "x"], "--first 'x': does not say of what"),
        (["--slice", "l4"], "--slice needs -w FILE"),
    ):
        done = uspnet("capture", "null:", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"uspnet: {text}")
        assert "hint:" in done.stderr
