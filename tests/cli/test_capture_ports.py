# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture PORT PORT…`: several ports, one file, and each packet knows where it came in."""

from __future__ import annotations

import struct
import subprocess

import pytest
from scapy.all import IP, TCP, UDP, Ether

from tests.support.blocks import EPB, IDB, blocks, seen_by_tshark, statistics
from tests.support.captures import write_pcap
from tests.support.identity import answer

FRAMES = [
    bytes(Ether() / IP(id=n) / (UDP if n % 3 else TCP)(dport=n) / bytes(n % 70)) for n in range(900)
]


@pytest.fixture
def sources(tmp_path):
    """Three ports with the packets of each."""
    parts = [FRAMES[:400], FRAMES[400:500], FRAMES[500:]]
    paths = [tmp_path / f"{name}.pcap" for name in "abc"]
    for path, frames in zip(paths, parts, strict=True):
        write_pcap(path, frames)
    return [f"pcap:{path}" for path in paths], parts


def fields(path, *names):
    words = [f"-e{name}" for name in names]
    command = ["tshark", "-r", path, "-Tfields", *words]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split("\t") for line in lines]


@pytest.mark.parametrize("ring", [[], ["-b", "packets:250"]])
def test_each_packet_is_of_the_interface_that_it_came_in_by(uspnet, sources, tmp_path, ring):
    ports, parts = sources
    words = ["-w", tmp_path / "x.pcapng", "-s", 50, "--json", *ring, "udp", "or", "arp"]
    result = answer(uspnet("capture", *ports, *words).stdout)
    assert [row["port"] for row in result["ports"]] == ports
    assert (result["received"], result["filtered"], result["written"]) == (900, 300, 600)
    found = {number: [] for number in "012"}
    for path in sorted(tmp_path.glob("x*.pcapng")):
        for number, length, ident in fields(path, "frame.interface_id", "frame.len", "ip.id"):
            found[number].append((int(length), int(ident, 0)))
        described = [block for block in blocks(path) if block.kind == IDB]
        assert [block.text(2) for block in described] == ports
        assert {block.text(11) for block in described} == {"\0udp or arp"}
        last = [statistics(path, number)[-1].counts() for number in range(3)]
        assert seen_by_tshark(path)[-3:] == last
    wanted = [[(len(f), n) for n, f in enumerate(FRAMES) if f in part and n % 3] for part in parts]
    assert [*found.values()] == wanted
    assert [each["usrdeliv"] for each in last] == [len(part) for part in wanted]
    assert [each["ifrecv"] for each in last] == [400, 100, 400]
    assert [each["filteraccept"] for each in last] == [len(part) for part in wanted]


def test_a_port_may_have_a_filter_and_a_snap_length_of_its_own(uspnet, sources, tmp_path):
    (a, b, c), parts = sources
    given = [f"{a},filter=udp or arp", f"{b},snaplen=30,filter=ip[2:2] > 0", f"{c},snaplen=20"]
    path = tmp_path / "x.pcapng"
    words = ["-w", path, "-s", 45, "--json", "--cores", 0, "tcp"]
    result = answer(uspnet("capture", *given, *words).stdout)
    assert result["asked"]["filter"] == "tcp"
    assert result["asked"]["filters"] == ["udp or arp", "ip[2:2] > 0", "tcp"]
    wanted = [
        [(n, min(45, len(f))) for n, f in enumerate(FRAMES) if f in parts[0] and n % 3],
        [(n, min(30, len(f))) for n, f in enumerate(FRAMES) if f in parts[1]],
        [(n, min(20, len(f))) for n, f in enumerate(FRAMES) if f in parts[2] and not n % 3],
    ]
    found = [[], [], []]
    for block in blocks(path):
        if block.kind == EPB:
            number, _, _, kept, _ = struct.unpack_from("=5I", block.body)
            found[number].append((struct.unpack_from(">H", block.body, 20 + 18)[0], kept))
    assert found == wanted
    assert result["filtered"] == 900 - sum(map(len, wanted))
    described = [block for block in blocks(path) if block.kind == IDB]
    assert [block.text(2) for block in described] == [a, b, c]
    assert [block.text(11)[1:] for block in described] == result["asked"]["filters"]
    assert [struct.unpack_from("=I", block.body, 4)[0] for block in described] == [45, 30, 20]
    last = [statistics(path, number)[-1].counts() for number in range(3)]
    assert [each["filteraccept"] for each in last] == [*map(len, wanted)]
    done = uspnet("capture", given[0], b, "-w", path)
    assert f"filtered {400 - len(wanted[0])}," in done.stdout + done.stderr


def test_ports_with_several_queues_and_cores_share_a_file(uspnet, tmp_path):
    ports = ["null:,queues=3,size=100", "null:,queues=2,size=200", "null:,size=300"]
    words = ["-w", tmp_path / "x", "-c", 60_000, "--cores", "0", "--json"]
    result = answer(uspnet("capture", *ports, *words).stdout)
    told = fields(tmp_path / "x", "frame.interface_id", "frame.len")
    assert {tuple(each) for each in told} == {("0", "100"), ("1", "200"), ("2", "300")}
    assert len(told) == result["written"]
    for number in range(3):
        (last,) = statistics(tmp_path / "x", number)[-1:]
        assert last.counts()["usrdeliv"] == sum(each[0] == str(number) for each in told)
        row = result["ports"][number]
        assert last.counts()["filteraccept"] == row["rx_packets"]
    assert sum(row["rx_packets"] for row in result["ports"]) == result["received"] == 60_000


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["null:", "udp", "null:"], "unexpected argument 'null:'"),
        (["null:", "null:", "-w", "x", "-F", "pcap"], "pcap files are of one port"),
        (["pcap:a", "pcap:b"], "a: No such file or directory"),
        (["null:", "pcap:out=x"], "pcap:out=x can't receive"),
        (["null:", "packet:nosuch"], "nosuch"),
        (["null:,snaplen=20"], "snaplen= needs a file"),
        (["null:snaplen=x", "-w", "x"], "null:: snaplen=x: "),
        (["null:filter=udp,filter=tcp"], "filter= is given twice"),
        (["null:", "null:,filter=udp prot 9"], "syntax error"),
    ],
)
def test_what_can_not_be_captured_together_is_told(uspnet, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    done = uspnet("capture", *words, "-c", "9")
    assert text in done.stderr
    assert done.returncode in (1, 2)
    assert [*tmp_path.iterdir()] == []
