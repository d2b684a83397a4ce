# SPDX-License-Identifier: Apache-2.0
"""`pktgen --replay --answer`: who asks for addresses is answered while a file is played."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from scapy.all import IP, UDP, Ether

from tests.cli.test_answers import ANSWERED, IGNORED, NETS, OURS, arp, ns, udp
from tests.support.captures import write_pcap
from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.tiers import full
from tests.support.waiting import until

FRAMES = [bytes(Ether(src=OURS) / IP(src=f"10.2.0.{n}") / UDP() / bytes(18)) for n in range(1, 9)]


@pytest.fixture
def capture(tmp_path):
    """A file of UDP packets."""
    write_pcap(tmp_path / "in.pcap", FRAMES)
    return ("--replay", str(tmp_path / "in.pcap"), "--loop", "forever")


PACES = [
    ["--rate", "1000"],
    *full(
        ["--rate", "1000", "--merge"],
        ["--rate", "1000", "--filter", "udp", "--poll", "sleep"],
        ["--rate", "1000", "--in-process"],
    ),
]


@pytest.mark.parametrize("pace", PACES)
def test_requests_are_answered_as_scapy_would_write_it(namespace, read_frames, capture, pace):
    namespace.veth("a", "b")
    sock = namespace.socket("b")
    running = namespace.start("pktgen", "packet:a", *capture, *pace, *NETS, "--src-mac", OURS)
    try:
        for frame in IGNORED.values():
            sock.send(bytes(frame))
        got = {}
        for name, (frame, _) in ANSWERED.items():
            until(lambda frame=frame, name=name: asked(sock, read_frames, frame, got, name))
    finally:
        result = running.end()
    assert got == {name: reply for name, (_, reply) in ANSWERED.items()}
    assert result["answered"]["arp"] + result["answered"]["ndp"] >= len(ANSWERED)
    assert result["sent"] > 0
    assert result["skipped"] == {}


def test_answers_that_the_port_drops_are_no_drops_of_the_replay(namespace, read_frames, capture):
    namespace.veth("a", "b")
    namespace.ip("link", "set", "dev", "a", "mtu", "68")  # less than an advertisement has
    sock, got = namespace.socket("b"), {}
    words = ("--rate", "1000", *NETS, "--src-mac", OURS)
    running = namespace.start("pktgen", "packet:a", *capture, *words)
    for _ in range(3):
        until(lambda: asked(sock, read_frames, arp(), got, "ARP"))
        sock.send(bytes(ns()))
        got.clear()
    until(lambda: asked(sock, read_frames, arp(), got, "ARP"))
    result = running.end()
    dropped = result["answered"]["drops"]
    assert dropped == {"too_long": result["answered"]["ndp"]}
    assert result["answered"]["ndp"] > 0
    assert (result["drops"], result["dropped"]) == ({}, 0)
    assert result["ports"][0]["drops"] == dropped
    assert result["ports"][0]["tx_bytes"] == 60 * result["ports"][0]["tx_packets"]
    assert result["bps"] == pytest.approx(result["pps"] * 60 * 8)


def asked(sock, read_frames, frame, got, name):
    """Ask; return whether something but a packet of the file has come, which goes to `got`."""
    sock.send(bytes(frame))
    answers = [each for each in read_frames(sock, 50) if not udp(each)]
    if ANSWERED[name][1] in answers:
        got[name] = ANSWERED[name][1]
    return name in got


@pytest.mark.parametrize("pace", [["--rate", "1k"], *full(["--topspeed"])])
def test_both_sides_of_a_conversation_are_answered_for(namespace, capture, pace):
    for near, far, net in (("a", "b", "10.2"), ("c", "d", "10.3")):
        namespace.veth(near, far)
        namespace.ip("address", "add", f"{net}.0.1/16", "dev", far)
    sides = ("--split-by", "src host 10.2.0.1", "--second-port", "packet:c", *pace)
    nets = ("--answer", "10.2.0.0/16@02:00:00:00:00:08,-10.2.0.1", "--answer",
            "10.3.0.0/16@02:00:00:00:00:09,-10.3.0.1")  # fmt: skip
    running = namespace.start("pktgen", "packet:a", *capture, *sides, *nets)
    known = {"b": {"10.2.9.9": "02:00:00:00:00:08"}, "d": {"10.3.9.9": "02:00:00:00:00:09"}}
    try:
        until(lambda: all(resolved(namespace, far, known[far]) for far in known))
    finally:
        result = running.end()
    assert result["answered"]["arp"] >= 2
    assert [row["tx_packets"] > 0 for row in result["ports"][:2]] == [True, True]


def resolved(namespace, name, wanted):
    """Send to addresses behind an interface. Return whether the kernel knows who has them."""
    for address in wanted:
        with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (address, 9))
    found = namespace.neighbors(name)
    return all(found.get(address) == mac for address, mac in wanted.items())


def test_a_file_ends_the_run_whatever_comes_in(namespace, capture):
    namespace.veth("a", "b")
    busy = namespace.start("pktgen", "packet:b", "--rate", "10k")
    try:
        words = (
            *capture[:2],
            "--topspeed",
            "--loop",
            "3",
            "--answer",
            "10.9.0.1",
            "--src-mac",
            OURS,
        )
        done = namespace.uspnet("pktgen", "packet:a", *words, "--json")
    finally:
        busy.end()
    told = answer(done.stdout)
    assert (told["ended"], told["sent"]) == ("source", 3 * len(FRAMES))
    assert told["answered"] == {"arp": 0, "ndp": 0, "unsent": 0, "drops": {}}


def test_answers_go_on_after_the_worker_process_was_killed(namespace, read_frames, capture):
    namespace.veth("a", "b")
    sock, got = namespace.socket("b"), {}
    words = ("--rate", "1000", "--answer", "10.2.0.0/16", "--src-mac", OURS)
    running = namespace.start("pktgen", "packet:a", *capture, *words)
    until(lambda: asked(sock, read_frames, arp(), got, "ARP"))
    (worker,) = children_named(running.process.pid, "uspnet-worker")
    os.kill(worker, signal.SIGKILL)
    until(lambda: children_named(running.process.pid, "uspnet-worker") not in ([], [worker]))
    got.clear()
    until(lambda: asked(sock, read_frames, arp(), got, "ARP"))
    result = running.end()
    assert result["restarts"] == 1
    assert result["answered"]["arp"] >= 2


WRONG = [
    (["--answer", "10.0.0.0/8"], "no MAC address to answer with", "10.0.0.0/8@02:00"),
    (["--answer", "-10.0.0.1"], "exceptions only", "write it as"),
]


@pytest.mark.parametrize(("words", "told", "hint"), WRONG)
def test_what_has_no_address_to_answer_with_is_refused(uspnet, capture, words, told, hint):
    done = uspnet("pktgen", "null:", *capture, *words)
    assert (done.returncode, done.stdout) == (2, "")
    text = " ".join(done.stderr.split())
    assert told in text
    assert hint in text


def test_a_port_that_receives_nothing_can_not_answer(uspnet, capture):
    words = ("--answer", "10.0.0.1@02:00:00:00:00:01")
    done = uspnet("pktgen", "pcap:out=/dev/null", *capture, *words)
    assert done.returncode == 2
    assert "can't receive" in done.stderr
