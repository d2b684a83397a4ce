# SPDX-License-Identifier: Apache-2.0
"""`pktgen --lost`: a forwarder of the kernel's own interfaces drops packets, which the file has."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from scapy.utils import RawPcapNgReader

from tests.support.between import Between
from tests.support.identity import answer
from tests.support.waiting import scaled

USPNET = [sys.executable, "-m", "uspnet"]
COUNT, DROPS = 3000, 137


class Forwarder(Between):
    """Carries all frames but those of chosen numbers."""

    def __init__(self, namespace, chosen):
        super().__init__(namespace)
        self.chosen, self.dropped, self.number = chosen, [], 0

    def run(self):
        for frame in self.frames():
            if self.number in self.chosen:
                self.dropped.append(frame)
            else:
                self.target.send(frame)
            self.number += 1


def forwarded(namespace, chosen, *words):
    """Runs pktgen, whose packets a forwarder carries; again when the kernel had no room for all, or
    the forwarder had no time, as happens where the machine is too busy. Returns its result, and the
    forwarder.
    """
    words = ["packet:a", "--rx-port", "packet:d", *words, "--json"]
    for _ in range(5):
        with Forwarder(namespace, chosen) as between:
            result = answer(namespace.uspnet("pktgen", *words).stdout)
        if not result["missed"] and between.number == result["sent"]:
            break
    assert result["lost"] == len(between.dropped) + result["missed"]
    return result, between


def frames_of(path):
    with RawPcapNgReader(str(path)) as reader:
        return [frame for frame, _ in reader]


CHOSEN = set(random.Random(4).sample(range(COUNT), DROPS))
KINDS = {
    "copies": [],
    "sizes": ["--size", "imix"],
    "varied": ["--vary", "ip.src=10.0.0.0/8:random", "--vary", "udp.sport=1-9999", "--size", "90"],
    "flows": ["--vary", "ip.dst=10.0.0.0/8:random", "--flows", "99", "--zipf", "1.1"],
    "network": ["--packet", "Ether()/IP(dst='10.0.0.0/8')/UDP(dport=[7,9])/('y'*18)"],
    "packets": [
        *("--packet", "3:Ether()/IP()/UDP(dport=[7,9])/('x'*30)"),
        *("--packet", "Ether()/IP()/TCP()/('y'*18)"),
    ],
    "several kinds": [
        *("--packet", "Ether()/IP()/UDP()/('x'*30)", "--packet", "Ether()/IP()/TCP()/('y'*18)"),
        *("--vary", "ip.src=10.0.0.0/8:random", "--vary", "ip.dst=10.1.0.0/16", "--flows", "50"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_has_exactly_what_a_forwarder_dropped(namespace, tmp_path, kind):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ["--lost", tmp_path / "lost.pcapng", "-c", COUNT, "--rate", "3000", *KINDS[kind]]
    result, between = forwarded(namespace, CHOSEN, *words)
    assert (between.number, len(between.dropped)) == (COUNT, DROPS)
    assert frames_of(tmp_path / "lost.pcapng") == between.dropped
    assert (result["lost"], result["received"]) == (DROPS, COUNT - DROPS)
    file = {"file": str(tmp_path / "lost.pcapng"), "written": DROPS, "not_written": 0}
    assert result["lost_file"] == file
    assert sum(each["packets"] for each in result["losses"]) == DROPS
    assert [each["port"] for each in result["ports"]] == ["packet:a", "packet:d"]


PROFILE = """streams:
  web:
    packet: "Ether()/IP(dst='10.0.0.0/8')/UDP(dport=[7,9])/('y'*18)"
    rate: 1500
    count: 1500
  sized: {rate: 1000, count: 1000, size: imix, vary: [ip.src=10.0.0.0/8:random], flows: 9}
  six: {rate: 500, count: 500, packet: "Ether()/IPv6()/TCP()/('z'*40)", start: 0.1}
"""


@pytest.mark.parametrize("cores", ["0", "0,1"])
def test_what_is_lost_of_each_stream_is_known(namespace, tmp_path, cores):
    (tmp_path / "x.yaml").write_text(PROFILE)
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ["--lost", tmp_path / "lost.pcapng", "--profile", tmp_path / "x.yaml"]
    words += ["--save", tmp_path / "x.hdr", "--cores", cores]
    result, between = forwarded(namespace, CHOSEN, *words)
    assert (between.number, len(between.dropped)) == (COUNT, DROPS)
    lost = {
        "web": lambda frame: frame[26] != 10 and frame[23] == 17,
        "sized": lambda frame: frame[26] == 10,
        "six": lambda frame: frame[12] == 0x86,
    }
    found = frames_of(tmp_path / "lost.pcapng")
    assert len(found) == result["lost"] == DROPS
    counts = {"web": 1500, "sized": 1000, "six": 500}
    for each in result["streams"]:
        chosen = lost[each["name"]]
        dropped = list(filter(chosen, between.dropped))
        assert list(filter(chosen, found)) == dropped != []
        assert (each["sent"], each["lost"]) == (counts[each["name"]], len(dropped))
        assert each["received"] == each["sent"] - each["lost"]
        assert sum(row["packets"] for row in result["losses"] if row["stream"] == each["name"]) == (
            len(dropped)
        )
        assert (each["duplicated"], each["reordered"], each["stale"]) == (0, 0, 0)
        assert 0 < each["latency_ns"]["min"] <= each["latency_ns"]["max"]
    assert result["latency_ns"]["max"] == max(each["latency_ns"]["max"]
                                              for each in result["streams"])  # fmt: skip
    assert {each["stream"] for each in result["lost_by_flow"]} == {"sized"}


def test_a_loss_lasts_as_long_as_nothing_was_due_that_came_back(namespace, tmp_path):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ["--lost", tmp_path / "lost.pcapng", "-c", 1000, "--rate", "2000"]
    result, _ = forwarded(namespace, {7, *range(400, 650)}, *words)
    spans = [(each["first"], each["last"], each["ended"]) for each in result["losses"]]
    assert spans == [(7, 7, True), (400, 649, True)]
    for loss, gaps in zip(result["losses"], (2, 251), strict=True):
        assert abs(loss["duration_s"] * 2000 - gaps) < 1, "packets are due every 0.5 ms"
    assert result["longest_loss"] == result["losses"][1]


@pytest.mark.full
def test_tshark_reads_it_and_finds_no_wrong_checksum(namespace, tmp_path, needs):
    needs("tshark")
    namespace.veth("a", "b")
    file = tmp_path / "lost.pcapng"
    vary = ["--vary", "ip.src=10.0.0.0/8:random", "--vary", "udp.sport=random"]
    namespace.veth("c", "d")
    words = ["--rx-port", "packet:d", "--lost", file, "-c", "50", "--rate", "1k", "--json"]
    result = answer(namespace.uspnet("pktgen", "packet:a", *words, *vary).stdout)
    assert result["lost_file"]["written"] == result["lost"] == 50
    checks = [word for name in ("ip", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
    command = ["tshark", "-r", file, *checks, "-Y",
               "ip.checksum.status==1 && udp.checksum.status==1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(60))
    assert len(done.stdout.splitlines()) == 50


def test_the_summary_tells_of_losses(namespace, tmp_path):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ["--rx-port", "packet:d", "--lost", tmp_path / "lost.pcapng", "-c", "20"]
    done = namespace.uspnet("pktgen", "packet:a", *words, "--rate", "1k")
    text = " ".join((done.stdout + done.stderr).split())
    assert "losses in a row 1, the longest" in text
    assert "20 packets, to the end" in text
    assert f"lost packets in {tmp_path}/lost.pcapng: 20" in text


def test_the_summary_tells_of_sizes_and_flows(namespace, tmp_path):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ["--rx-port", "packet:d", "--lost", tmp_path / "lost.pcapng", "-c", "24"]
    vary = ["--vary", "ip.src=10.0.0.1-10.0.0.3", "--flows", "3", "--size", "100,200"]
    done = namespace.uspnet("pktgen", "packet:a", *words, *vary, "--rate", "1k")
    text = " ".join((done.stdout + done.stderr).split())
    assert "lost by size: 100 bytes 12, 200 bytes 12" in text
    assert "lost of 3 flows: ip.src=10.0.0." in text


WRONG = {
    "--lost needs --rx-port": ["--lost", "x.pcapng"],
    "not to stdout": ["--rx-port", "packet:b", "--lost", "-"],
    "sequence numbers return": [
        *("--rx-port", "packet:b", "--lost", "x.pcapng"),
        "--no-sequence",
    ],
    "conflicts with --dry-run": [
        *("--rx-port", "packet:b", "--lost", "x.pcapng"),
        *("--dry-run", "-w", "y.pcapng"),
    ],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_makes_no_sense_is_refused(uspnet, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = uspnet("pktgen", "packet:a", "-c", "1", *WRONG[text])
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_a_bad_folder_is_told_before_a_port_is_opened(uspnet):
    words = ["--rx-port", "packet:nowhere1", "--lost", "/no/such/lost.pcapng"]
    done = uspnet("pktgen", "packet:nowhere0", "-c", "1", *words)
    assert done.returncode == 1
    assert "/no/such/lost.pcapng: No such file" in " ".join(done.stderr.split())


FULL = 'mount -t tmpfs -o size=1m none "$0" && cd "$0" || exit 9; "$@"; cp x.pcapng ..'


def test_a_full_disk_is_told_and_the_file_stays_readable(namespace, tmp_path):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    (tmp_path / "small").mkdir()
    inside = ["unshare", "--mount", "sh", "-c", FULL, str(tmp_path / "small")]
    words = ["pktgen", "packet:a", "--rx-port", "packet:d", "--size", "1514", "-c", "5000"]
    command = [*namespace.command(*inside), *USPNET, *words, "--lost", "x.pcapng", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=scaled(60))
    result = answer(done.stdout)
    found = frames_of(tmp_path / "x.pcapng")
    assert "No space left" in result["message"]
    assert "snaplen" not in result["hint"], "which pktgen doesn't have"
    assert (result["lost_file"]["written"], result["lost"]) == (len(found), 5000)
    assert 0 < len(found) < 5000
    assert all(len(frame) == 1514 for frame in found)
