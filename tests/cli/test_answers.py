# SPDX-License-Identifier: Apache-2.0
"""`pktgen --answer`: who asks for addresses is answered; the kernel and Scapy are the judges."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from scapy.all import (
    ARP,
    Dot1AD,
    Dot1Q,
    Ether,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    Raw,
)

from tests.support.captures import write_pcap
from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.waiting import until

OURS, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:99"
ALL, SOLICITED = "ff:ff:ff:ff:ff:ff", "33:33:ff:00:00:77"


def udp(frame):
    return frame[12:14] == b"\x08\0"


def arp(target="10.2.3.4", dst=ALL, tags=(), **more):
    fields = {"hwsrc": THEIRS, "psrc": "10.2.0.1", "hwdst": "00:00:00:00:00:00", **more}
    frame = Ether(src=THEIRS, dst=dst)
    for tag in tags:
        frame /= tag
    return frame / ARP(pdst=target, **fields)


def is_at(mac=OURS, tags=(), ip="10.2.3.4", asker="10.2.0.1"):
    frame = Ether(src=mac, dst=THEIRS)
    for tag in tags:
        frame /= tag
    frame /= ARP(op=2, hwsrc=mac, psrc=ip, hwdst=THEIRS, pdst=asker)
    return bytes(frame).ljust(60, b"\0")


def ns(dst="ff02::1:ff00:77", src="2001:db8::1", mac=SOLICITED, tags=(), options=True, **more):
    ip = {"hlim": 255, **more.pop("ip", {})}
    frame = Ether(src=THEIRS, dst=mac)
    for tag in tags:
        frame /= tag
    frame /= IPv6(src=src, dst=dst, **ip)
    frame = frame / more.pop("between", b"") if "between" in more else frame
    frame /= ICMPv6ND_NS(**{"tgt": "2001:db8::77", **more})
    return frame / ICMPv6NDOptSrcLLAddr(lladdr=THEIRS) if options else frame


def na(dst="2001:db8::1", solicited=1, mac=THEIRS, tags=()):
    frame = Ether(src=OURS, dst=mac)
    for tag in tags:
        frame /= tag
    return bytes(
        frame
        / IPv6(src="2001:db8::77", dst=dst, hlim=255)
        / ICMPv6ND_NA(tgt="2001:db8::77", R=0, S=solicited, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=OURS)
    )


TAGS = [Dot1AD(vlan=9), Dot1Q(vlan=7, prio=5)]
ANSWERED = {
    "ARP": (arp(), is_at()),
    "ARP, padded": (arp() / Raw(bytes(18)), is_at()),
    "ARP, a poll": (arp(dst=OURS), is_at()),
    "ARP, of a network with a MAC address": (arp("10.9.0.1", psrc="10.9.9.9"),
                                             is_at("02:00:00:00:00:09", ip="10.9.0.1",
                                                   asker="10.9.9.9")),
    "ARP, a probe": (arp(psrc="0.0.0.0"), is_at(asker="0.0.0.0")),
    "ARP, VLAN": (arp(tags=TAGS[1:]), is_at(tags=TAGS[1:])),
    "ARP, QinQ": (arp(tags=TAGS), is_at(tags=TAGS)),
    "NS": (ns(), na()),
    "NS, a poll": (ns("2001:db8::77", mac=OURS), na()),
    "NS, without a MAC address": (ns(options=False), na()),
    "NS, VLAN": (ns(tags=TAGS), na(tags=TAGS)),
    "NS, an odd option": (ns() / Raw(b"\xee\2" + bytes(14)), na()),
    "NS, behind an extension header": (ns(between=IPv6ExtHdrDestOpt()), na()),
    "NS, nobody's": (ns(src="::", options=False), na("ff02::1", 0, "33:33:00:00:00:01")),
}  # fmt: skip
IGNORED = {
    "ARP, other address": arp("10.3.0.1"),
    "ARP, an exception": arp("10.2.0.9"),
    "ARP, to others": arp(dst="02:00:00:00:00:55"),
    "ARP, an announcement": arp("10.2.0.1"),
    "ARP, a reply": arp(op=2),
    "ARP, not of Ethernet": arp(hwtype=6),
    "ARP, not of IPv4": arp(ptype=0x86DD),
    "ARP, short addresses": arp(hwlen=5),
    "ARP, from a group": arp(hwsrc="01:00:5e:00:00:01"),
    "ARP, from nobody": arp(hwsrc="00:00:00:00:00:00"),
    "ARP, truncated": Raw(bytes(arp())[:41]),
    "ARP, three tags and a half": Raw(bytes(arp())[:12] + b"\x81\0\0\7" * 4),
    "NS, other address": ns(tgt="2001:db8:1::77"),
    "NS, hop limit": ns(ip={"hlim": 254}),
    "NS, checksum": ns(cksum=1),
    "NS, code": ns(code=1),
    "NS, of a group": ns(tgt="ff02::77"),
    "NS, from a group": ns(src="ff02::1"),
    "NS, an option of no length": ns() / Raw(b"\xee\0" + bytes(6)),
    "NS, an option cut short": ns() / Raw(b"\xee\2" + bytes(6)),
    "NS, half an option": ns() / Raw(b"\xee\1"),
    "NS, nobody's to one": ns("2001:db8::77", "::", options=False),
    "NS, nobody's with an option": ns(src="::"),
    "NS, a fragment": ns(between=IPv6ExtHdrFragment()),
    "NS, longer than its frame": ns(ip={"plen": 40}),
    "NS, no length": ns(ip={"plen": 0}),
    "NS, short": Raw(bytes(Ether(src=THEIRS, dst=SOLICITED) / IPv6(
        src="2001:db8::1", dst="ff02::1", hlim=255, nh=58) / Raw(bytes(ICMPv6ND_NS())[:20]))),
    "an advertisement": Raw(na()),
}  # fmt: skip
NETS = ("--answer", "10.2.0.0/16,10.9.0.0/16@02:00:00:00:00:09,-10.2.0.9",
        "--answer", "2001:db8::77")  # fmt: skip


@pytest.mark.parametrize("more", [[], ["--burst", "1", "--poll", "sleep"], ["--size", "60,61"],
                                  ["--in-process"]])  # fmt: skip
def test_requests_are_answered_as_scapy_would_write_it_and_nothing_else_is(
    namespace, read_frames, more
):
    namespace.veth("a", "b")
    sock = namespace.socket("b")
    command = ("pktgen", "packet:a", "--rate", "1000", *NETS, *more)
    running = namespace.start(*command)
    try:
        for frame in IGNORED.values():
            sock.send(bytes(frame))
        got = {}
        for name, (frame, _) in ANSWERED.items():
            sock.send(bytes(frame))
            while name not in got or udp(got[name]):
                got[name] = read_frames(sock, 1)[0]
    finally:
        result = running.end()
    assert got == {name: reply for name, (_, reply) in ANSWERED.items()}
    arps = sum("ARP" in name for name in ANSWERED)
    assert result["answered"] == {"arp": arps, "ndp": len(ANSWERED) - arps, "unsent": 0,
                                  "drops": {}}  # fmt: skip
    row = result["ports"][0]
    assert row["tx_packets"] == result["sent"] + len(ANSWERED)
    assert "received" not in result


def woken(pid):
    """How often the threads of a process have waited so far."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(
        int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE)[1])
        for text in texts
    )


@pytest.mark.parametrize("what", [[], ["--replay", "in.pcap", "--src-mac", OURS]])
def test_who_sleeps_sleeps_until_somebody_asks(namespace, read_frames, tmp_path, what):
    """Not in naps, but for the last millisecond before a packet is due. On a slow machine, there
    are fewer of these, too.
    """
    namespace.veth("a", "b")
    sock = namespace.socket("b")
    write_pcap(tmp_path / "in.pcap", [bytes(60)] * 99)
    words = [word.replace("in.pcap", f"{tmp_path}/in.pcap") for word in what]
    command = ("pktgen", "packet:a", *words, "--rate", "4", *NETS, "--poll", "sleep")
    running = namespace.start(*command)
    try:
        (worker,) = until(lambda: children_named(running.process.pid, "uspnet-worker"))
        read_frames(sock, 3)
        before, begun = woken(worker), time.monotonic()
        read_frames(sock, 4)
        seconds = time.monotonic() - begun
        assert (woken(worker) - before) / seconds < 400
        sock.send(bytes(arp()))
        assert until(lambda: [each for each in read_frames(sock, 1) if each[12:14] == b"\x08\x06"])
    finally:
        running.end()


@pytest.fixture
def kernel(namespace):
    """A namespace whose kernel has addresses on `b`, the other end of `a`."""
    namespace.veth("a", "b")
    namespace.run("sysctl", "-qw", "net.ipv6.conf.b.disable_ipv6=0")
    namespace.ip("address", "add", "10.2.0.1/16", "dev", "b")
    namespace.ip("address", "add", "2001:db8::1/64", "dev", "b", "nodad")
    return namespace


def ask(namespace, *addresses):
    with namespace.entered():
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (address, 9))


def test_the_kernel_finds_its_neighbors(kernel):
    running = kernel.start("pktgen", "packet:a", "--rate", "10k", "--answer", "2001:db8::/64",
                           "--answer", "10.2.0.0/16@02:00:00:00:00:08,-10.2.0.9")  # fmt: skip
    addresses = ["10.2.3.4", "10.2.255.254", "2001:db8::77", "2001:db8::ffff:1"]
    try:
        ask(kernel, "10.2.0.9", *addresses)
        until(lambda: all(kernel.neighbors("b").get(each) for each in addresses))
        known = kernel.neighbors("b")
        kernel.ip("address", "add", "2001:db8::2/64", "dev", "b")
        until(lambda: "dadfailed" in kernel.ip("address", "show", "dev", "b"))
    finally:
        result = running.end()
    assert known == {**dict.fromkeys(addresses[:2], "02:00:00:00:00:08"), "10.2.0.9": None,
                     **dict.fromkeys(addresses[2:], OURS)}  # fmt: skip
    assert result["answered"]["arp"] >= 2
    assert result["answered"]["ndp"] >= 3


@pytest.mark.parametrize("cores", ["0", "0,1"])
def test_a_router_forwards_to_the_addresses_that_are_played(kernel, cores):
    kernel.veth("c", "d")
    kernel.ip("address", "add", "10.3.0.1/16", "dev", "d")
    for name in ("ipv4.ip_forward=1", "ipv4.conf.all.rp_filter=0", "ipv4.conf.b.rp_filter=0"):
        kernel.run("sysctl", "-qw", f"net.{name}")
    run = kernel.uspnet("pktgen", "packet:a", "--rx-port", "packet:c", "-c", 50, "--rate", "100",
                        "--dst-mac", kernel.link("b")["address"], "--dst-ip", "10.3.0.7",
                        "--answer", "10.3.0.0/16", "--cores", cores, "--json")  # fmt: skip
    result = answer(run.stdout)
    assert (result["sent"], result["received"], result["lost"]) == (50, 50, 0)
    assert result["answered"]["arp"] >= 1
    assert result["ports"][1]["tx_packets"] == result["answered"]["arp"]
    assert result["foreign"] >= 1


WRONG = [
    (["null:", "--answer", "10.0.0.1/8"], "has host bits set"),
    (["null:", "--answer", "10.0.0.0/8@02:00"], "not a MAC address"),
    (["null:", "--answer", "10.0.0.0/8@01:00:5e:00:00:01"], "a group"),
    (["null:", "--answer", "224.0.0.1"], "a group"),
    (["null:", "--answer=-10.0.0.1"], "exceptions only"),
    (["null:", "--answer", "10.0.0.0/8,-10.0.0.1@02:00:00:00:00:01"], "no answer"),
    (["null:", "--answer", "router"], "router"),
    (["pcap:out=/dev/null", "--answer", "10.0.0.1"], "can't receive"),
    (["null:", "--answer", "10.0.0.1", "--dry-run", "-w", "-"], "--dry-run"),
    (["null:", "--answer", "10.0.0.1", "--replay", "x.pcap"], "--replay"),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_what_can_not_be_answered_is_refused(uspnet, words, told):
    result = uspnet("pktgen", *words, "-c", "5")
    assert (result.returncode, result.stdout) == (2, "")
    assert told in " ".join(result.stderr.split())
    assert "hint: " in result.stderr


def test_the_summary_says_what_was_answered(uspnet):
    result = uspnet("pktgen", "null:", "-c", "5", "--answer", "10.0.0.0/8")
    assert "answered 0 ARP requests, 0 neighbor solicitations" in result.stdout


def test_answers_go_on_after_the_worker_process_was_killed(namespace, read_frames):
    namespace.veth("a", "b")
    sock = namespace.socket("b")
    running = namespace.start("pktgen", "packet:a", "--rate", "1000", "--answer", "10.0.0.0/8")

    def asked():
        sock.send(bytes(arp()))
        return any(each[12:14] == b"\x08\x06" for each in read_frames(sock, 20))

    until(asked)
    (worker,) = children_named(running.process.pid, "uspnet-worker")
    os.kill(worker, signal.SIGKILL)
    until(lambda: children_named(running.process.pid, "uspnet-worker") not in ([], [worker]))
    until(asked)
    result = running.end()
    assert result["restarts"] == 1
    assert result["answered"]["arp"] >= 2
