# SPDX-License-Identifier: Apache-2.0
"""xdp: with keep-host=: the machine stays reachable through the interface."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6MLQuery, IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.support.tiers import by_tier
from tests.support.waiting import scaled
from uspnet.errors import NotSupported, Usage

HEAD = bytes.fromhex("0200000000020200000000010800")
ETHER = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")


def udp(destination, port, number):
    """A UDP packet to that address and port, with a number in it."""
    addresses = bytes([10, 9, 0, 9]) + socket.inet_aton(destination)
    ip = bytes.fromhex("450000200000400040110000") + addresses
    return (
        HEAD + ip + (7).to_bytes(2) + port.to_bytes(2) + bytes([0, 12, 0, 0]) + number.to_bytes(4)
    )


@pytest.fixture
def hosts(namespace, namespaces):
    """Two of them on a cable: the one with the interface `b`, and the other one with `a`."""
    other = namespaces()
    namespace.veth("a", "b")
    namespace.ip("link", "set", "dev", "a", "netns", other.name)
    for place, name, last in ((other, "a", 1), (namespace, "b", 2)):
        place.ip("address", "add", f"10.9.0.{last}/24", "dev", name)
        place.ip("link", "set", "dev", name, "up")
        place.run("ethtool", "-K", name, "tx", "off", check=False)
    namespace.ip("route", "add", "default", "via", "10.9.0.1")
    return namespace, other


@pytest.mark.parametrize("mode", by_tier(["copy"], ["copy", "generic"]))
def test_tcp_to_the_machine_goes_on_while_all_else_is_captured(hosts, mode, wait_until):
    ours, other = hosts
    capture = ours.start("capture", f"xdp:b,mode={mode},keep-host=on")
    capture.hears("leaves the rest to the kernel")
    with ours.entered():
        server = socket.create_server(("10.9.0.2", 7))
    with other.entered():
        client = socket.create_connection(("10.9.0.2", 7), timeout=scaled(5))
    with server, client, server.accept()[0] as peer:
        raw = other.socket("a")
        for number in range(500):
            raw.send(udp("198.18.0.1", 9, number))
            client.sendall(bytes(200))
        assert len(peer.makefile("rb").read(100_000)) == 100_000
        wait_until(lambda: capture.count("rx_packets") == 500)
        peer.sendall(bytes(100_000))
        assert len(client.makefile("rb").read(100_000)) == 100_000
    result = capture.end()
    assert (result["received"], result["missed"], result["dropped"]) == (500, 0, 0)


def test_a_filter_says_what_is_received(hosts, drive):
    ours, other = hosts
    port, raw = drive("xdp:b,keep-host=udp dst port 9 and greater 46"), other.socket("a")
    with ours.entered():
        kernels = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with kernels:
        kernels.bind(("10.9.0.2", 10))
        kernels.settimeout(scaled(5))
        mac = bytes.fromhex(ours.link("b")["address"].replace(":", ""))
        for number in range(20):
            raw.send(mac + udp("10.9.0.2", 9 + number % 2, number)[6:])
        seen = [int.from_bytes(frame[42:46]) for frame in port.received(10)]
        assert seen == list(range(0, 20, 2))


def test_tagged_frames_and_queries_for_listeners_are_kept(hosts, drive):
    """A VLAN of the interface may have the address; who answers no query is not found any more; a
    bond's port without LACP falls out of it.
    """
    _, other = hosts
    port, raw = drive("xdp:b,keep-host=on"), other.socket("a")
    query = IPv6(dst="ff02::1", hlim=1) / IPv6ExtHdrHopByHop() / ICMPv6MLQuery()
    kept = [
        Dot1Q(vlan=5) / ARP(pdst="10.9.0.2"),
        Dot1Q(vlan=5) / IP(dst="10.9.0.2") / UDP(),
        query,
        Dot1Q(vlan=5) / query,
    ]
    link = [(f"01:80:c2:00:00:{last:02x}", kind) for last, kind in ((2, 0x8809), (0, 38), (14, 1))]
    for mac, kind in [*link, ("02:00:00:00:00:02", 0x888E)]:
        raw.send(bytes(Ether(dst=mac, src=ETHER.src, type=kind) / bytes(46)))
    taken = [IP(dst="198.18.0.1") / UDP(), Dot1Q(vlan=5) / IP(dst="198.18.0.1") / UDP()]
    for packet in [*kept, *taken]:
        raw.send(bytes(ETHER / packet))
    beyond = bytes(Ether(dst="01:80:c2:00:00:10", src=ETHER.src, type=0x88B5) / bytes(46))
    raw.send(beyond)
    assert port.received(3) == [*(bytes(ETHER / packet) for packet in taken), beyond]


def test_the_machines_addresses_are_known(hosts, drive, monkeypatch):
    """And those that it gets later are told, once each: the program stays in a cold upgrade."""
    ours, _ = hosts
    ours.run("sysctl", "-w", "net.ipv6.conf.b.disable_ipv6=0", check=False)
    ours.ip("address", "add", "10.9.0.77/32", "peer", "10.9.0.78", "dev", "b")
    ours.ip("address", "add", "192.0.2.1/24", "dev", "lo")
    monkeypatch.setattr("uspnet.ports.xdp.host.LOOK_S", 0)
    port, told = drive("xdp:b,keep-host=on").port, []
    port.notice = told.append
    port.held()
    assert port.host.known >= {"10.9.0.2", "10.9.0.77", "192.0.2.1"}
    assert not port.host.known & {"127.0.0.1", "10.9.0.78"}
    ours.ip("address", "add", "10.9.0.79/32", "dev", "b")
    ours.ip("address", "add", "2001:db8::1/64", "dev", "b", "nodad")
    for _ in range(2):
        port.control()
    assert "2001:db8::1" in told[0], "an IPv6 address of the link itself may be told, too"
    assert "10.9.0.79" in told[0]
    assert len(told) == 1
    with pytest.raises(NotSupported, match=r"has 10\.9\.0\.79 and 2001:db8::1 since the start"):
        port.held()


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [("udp prot 9", Usage, ""), ("ip protochain 17", NotSupported, "write: proto")],
)
def test_filters_that_xdp_cant_run_are_refused(hosts, drive, text, kind, hint):
    with pytest.raises(kind) as caught:
        drive(f"xdp:b,keep-host={text}")
    assert hint in caught.value.hint
    assert hosts[0].programs() == set()


@pytest.mark.parametrize("mode", by_tier(["copy"], ["copy", "generic"]))
def test_iperf3_goes_on_undisturbed(hosts, needs, mode, wait_until):
    """Both ways through the interface that is captured from; what is captured is exact."""
    needs("iperf3")
    ours, other = hosts
    capture = ours.start("capture", f"xdp:b,mode={mode},keep-host=on")
    capture.hears("leaves the rest to the kernel")
    raw, sent = other.socket("a"), 0
    for way in by_tier([["--reverse"]], [[], ["--reverse"]]):
        server = subprocess.Popen(
            ours.command("iperf3", "-s", "-1", "--forceflush"), stdout=subprocess.PIPE
        )
        assert server.stdout.readline()
        words = ("iperf3", "-c", "10.9.0.2", "-t", by_tier(1, 5), "-J", *way)
        client = subprocess.Popen(other.command(*words), stdout=subprocess.PIPE, text=True)
        while client.poll() is None:
            with contextlib.suppress(OSError):  # ENOBUFS: TCP fills the interface's queue
                raw.send(udp("198.18.0.1", 9, sent))
                sent += 1
            time.sleep(0.001)
        told, _ = client.communicate()
        told = json.loads(told)["end"]
        assert told["sum_received"]["bytes"] > 1_000_000
        server.communicate(timeout=scaled(10))
    wait_until(lambda: capture.count("rx_packets") == sent)
    result = capture.end()
    assert (result["received"], result["missed"], result["dropped"]) == (sent, 0, 0)
