# SPDX-License-Identifier: Apache-2.0
"""fwd --mode route --kernel-routes: each packet leaves where the kernel says at that time, and the
kernel finds the neighbors.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from tests.ports.test_route import (
    FAMILIES,
    GATEWAYS,
    PORTS,
    Drawn,
    batch,
    decisions,
    gateway,
    links,
    mac,
)
from tests.support.talking import talk
from tests.support.tiers import by_tier
from tests.support.waiting import moments, scaled, until
from uspnet.errors import NoDevice, NotSupported, Usage
from uspnet.jobs import orders
from uspnet.jobs.forward.asking import TURN_MAX, Asking
from uspnet.jobs.forward.following import GAP_S, Follower
from uspnet.jobs.forward.interfaces import interfaces
from uspnet.jobs.forward.lpm import IPV4
from uspnet.jobs.forward.route import Routing
from uspnet.ports.registry import make_port

MARKERS = {4: "11.255.0.0/16", 6: "2001:ffff::/32"}
NULLS = [make_port("null:"), make_port("null:")]
MARKED = {4: "11.255.0.1", 6: "2001:ffff::1"}


class Wire:
    """The other ends of a router's ports, in one namespace."""

    def __init__(self, namespace):
        self.sockets = [namespace.socket(f"e{port}", 0.02) for port in range(PORTS)]
        link = namespace.link("d0")
        self.router = bytes.fromhex(link["address"].replace(":", ""))

    def send(self, drawn, number):
        self.sockets[0].send(self.router + drawn.frame(number)[6:])

    def taken(self, wanted, count=0):
        """Destinations of frames that arrive, by port and MAC address, until none comes. So many
        are waited for.
        """
        found = []
        for _ in moments(10):
            found += self.arriving(wanted)
            if len(found) >= count:
                break
        return found

    def arriving(self, wanted):
        found = []
        for port, sock in enumerate(self.sockets):
            try:
                while True:
                    frame = sock.recv(2048)
                    if frame[12:14] == b"\x08\0" and frame[23] == 0x3B:
                        found.append((port, frame[:6], frame[30:34]))
                    elif frame[12:14] == b"\x86\xdd" and frame[20] == 0x3B:
                        found.append((port, frame[:6], frame[38:54]))
            except TimeoutError:
                continue
        return [each for each in found if each[2] in wanted]


def number_of(drawn, address):
    return int.from_bytes(socket.inet_pton(drawn.kind, address), "big")


def known(namespace):
    """Tells the kernel the MAC addresses of all gateways."""
    for version in FAMILIES:
        batch(namespace, version, (
            f"neighbor add {gateway(version, port, number)} dev d{port} "
            f"lladdr {mac(port, number).hex(':')}"
            for port in range(PORTS) for number in range(GATEWAYS)
        ))  # fmt: skip


def changed(drawn, noise):
    """Other routes than before: commands of `ip -batch`."""
    for prefix in noise.sample(sorted(drawn.routes), len(drawn.routes) // 4):
        old = drawn.routes[prefix]
        if old is None or noise.random() < 0.3:
            yield f"route del {'blackhole ' if old is None else ''}{prefix}"
            del drawn.routes[prefix]
            continue
        drawn.routes[prefix] = noise.randrange(PORTS), noise.randrange(GATEWAYS)
        via, port = gateway(drawn.version, *drawn.routes[prefix]), drawn.routes[prefix][0]
        yield f"route replace {prefix} via {via} dev d{port}"


def mark(namespace, wire, drawn, turn):
    """Returns once packets go by the routes that the kernel has now."""
    version, number = drawn.version, turn % GATEWAYS
    via = gateway(version, 1, number)
    batch(namespace, version, [f"route replace {MARKERS[version]} via {via} dev d1"])
    to = number_of(drawn, MARKED[version])
    address = to.to_bytes(drawn.size, "big")

    def arrived():
        wire.send(drawn, to)
        return (1, mac(1, number), address) in wire.taken({address})

    until(arrived)
    wire.taken(())


def test_packets_leave_where_the_kernel_says_while_its_routes_change(namespace):
    links(namespace)
    namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    known(namespace)
    count = by_tier(60, 100, 2000)
    families = [Drawn(version, count, seed=version) for version in FAMILIES]
    for drawn in families:
        batch(namespace, drawn.version, drawn.theirs())
    names = [f"d{port}" for port in range(PORTS)]
    words = [f"packet:{name}" for name in names]
    job = namespace.start("fwd", *words, "--mode", "route", "--kernel-routes", ",".join(names))
    wire, noise, seen = Wire(namespace), random.Random(1), set()
    for turn in range(by_tier(2, 3, 12)):
        for drawn in families:
            if turn:
                batch(namespace, drawn.version, changed(drawn, noise))
            mark(namespace, wire, drawn, turn)
            numbers = drawn.destinations(by_tier(60, 100, 1000))
            addresses = [drawn.text(each) for each in numbers]
            found, macs = decisions(namespace, drawn.version, addresses), drawn.neighbors()
            expected = []
            for number, address in zip(numbers, addresses, strict=True):
                wire.send(drawn, number)
                if isinstance(found[address], str):
                    seen.add(found[address])
                    continue
                port, via = found[address]
                if via:
                    expected.append((port, macs[via], number.to_bytes(drawn.size, "big")))
            wanted = {number.to_bytes(drawn.size, "big") for number in numbers}
            taken = wire.taken(wanted, len(expected))
            assert sorted(taken) == sorted(expected)
    assert seen == {"filtered", "no_route"}
    result = job.end()
    assert result["route"]["neighbors"] >= 2 * PORTS * GATEWAYS
    assert {"filtered", "no_route", "no_neighbor"} <= set(result["drops"])


def hosts_of(middle, namespaces):
    """Hosts on two links of a router, which is the kernel's: its addresses are there."""
    middle.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    hosts = [namespaces(), namespaces()]
    for number, host in enumerate(hosts):
        name = f"h{number}"
        middle.veth(f"r{number}", name)
        middle.ip("link", "set", name, "netns", host.name)
        for each, ifname, own in ((middle, f"r{number}", 254), (host, name, 1)):
            each.run("sysctl", "-qw", f"net.ipv6.conf.{ifname}.disable_ipv6=0")
            each.ip("link", "set", ifname, "up")
            each.ip("address", "add", f"10.0.{number}.{own}/24", "dev", ifname)
            each.ip("address", "add", f"fd00:{number}::{own}/64", "dev", ifname, "nodad")
        host.ip("route", "add", "default", "via", f"10.0.{number}.254")
        host.ip("-6", "route", "add", "default", "via", f"fd00:{number}::254")
    return hosts


def send_to(host, *addresses):
    with host.entered():
        for to in addresses:
            kind = socket.AF_INET6 if ":" in to else socket.AF_INET
            with socket.socket(kind, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (to, 7))


def requests(sock):
    """How often each address was asked for by ARP."""
    found = Counter()
    try:
        while True:
            frame = sock.recv(2048)
            found[socket.inet_ntoa(frame[38:42])] += frame[12:14] == b"\x08\x06"
    except TimeoutError:
        return found


def test_the_kernel_finds_neighbors_and_who_does_not_answer_is_named(namespaces):
    middle = namespaces()
    hosts = hosts_of(middle, namespaces)
    middle.ip("route", "add", "10.9.0.0/16", "via", "10.0.1.88")
    middle.ip("route", "add", "default", "via", "10.0.1.1")  # which leads not to the next gateway
    middle.ip("route", "add", "10.8.0.0/16", "via", "198.51.100.1", "dev", "r1", "onlink")
    words = ("packet:r0", "packet:r1", "--mode", "route", "--kernel-routes", "r0,r1")
    sock, began = hosts[1].socket("h1", 0.1), time.monotonic()
    job = middle.start("fwd", *words)
    talk(hosts, socket.AF_INET, "10.0.1.1", scaled(20))
    talk(hosts, socket.AF_INET6, "fd00:1::1", scaled(20))
    with hosts[0].entered(), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("10.0.1.254", 9), timeout=scaled(10))  # says the kernel
    with middle.entered(), pytest.raises(NotSupported, match="are the kernel's") as error:
        orders.set_table(job.process.pid, "routes", "/proc/version")
    assert "ip route" in error.value.hint
    stop = threading.Event()

    def go_on():
        while not stop.wait(0.01):
            send_to(hosts[0], "10.0.1.77", "fd00:1::77", "10.9.0.1", "10.8.0.1")

    sender = threading.Thread(target=go_on)
    sender.start()
    try:
        for text in ("10.0.1.88 at r1 does not answer", "10.0.1.77 at r1 does not answer"):
            job.hears(text)
    finally:
        stop.set()
        sender.join()
    found = requests(sock)
    asked = found["10.0.1.77"]
    assert found["198.51.100.1"], "the kernel asks for it on its own link"
    assert 1 <= asked <= 3 * (time.monotonic() - began)
    result = job.end()
    assert {"10.0.1.77 at r1", "10.0.1.88 at r1"} <= set(result["route"]["unanswered"])
    assert result["drops"]["no_neighbor"] > asked
    assert set(result["drops"]) <= {"no_neighbor", "to_router", "link_local", "bad_source",
                                    "not_routed", "other_host", "no_room"}  # fmt: skip


def test_what_is_wrong_is_named(namespace):
    namespace.veth("d0", "d1")
    for given, kind, what, hint in (
        ("d0", Usage, "names 1 interface, and there are 2 ports", "one for each port"),
        ("d0,d1,d0", Usage, "names 3 interfaces", "one for each port"),
        ("d0,d0", Usage, "names d0 twice", "one for each port"),
        ("d0,d7", NoDevice, "there is no interface d7", "interfaces are: "),
        ("d0,", NoDevice, "there is no interface", "interfaces are: "),
    ):
        with namespace.entered(), pytest.raises(kind, match=what) as error:
            interfaces(given, NULLS)
        assert hint in error.value.hint
    with pytest.raises(Usage, match="--routes or of --kernel-routes"):
        Routing("/dev/null", "d0,d1")


def test_routes_go_with_their_next_hop_object(namespace):
    for name, host in (("d0", 0), ("d1", 1)):
        namespace.veth(name, f"e{name}")
        namespace.ip("address", "add", f"10.0.{host}.1/24", "dev", name)
    namespace.ip("nexthop", "add", "id", "5", "via", "10.0.1.9", "dev", "d1")
    namespace.ip("route", "add", "10.9.0.0/16", "nhid", "5")
    first, later = (IPV4.key(bytes([10, each, 0, 0]), 16) for each in (9, 8))
    with namespace.entered():
        follower = Follower(["d0", "d1"], lambda routes, _: routes)
        assert first in follower.latest.found[IPV4]
        follower.start(tuple)
    try:
        namespace.ip("route", "add", "10.8.0.0/16", "via", "10.0.1.9")
        until(lambda: later in follower.latest.found[IPV4])
        time.sleep(3 * GAP_S)  # so that nothing is left that it has to read
        namespace.ip("nexthop", "del", "id", "5")
        until(lambda: first not in follower.latest.found[IPV4])
    finally:
        follower.close()


ALTERNATIVES = "wan0", "a-name-of-more-than-15-bytes"


def test_alternative_names_are_those_of_their_interfaces(namespace):
    for name, host in (("d0", 0), ("d1", 1)):
        namespace.veth(name, f"e{name}")
        namespace.ip("address", "add", f"10.0.{host}.1/24", "dev", name)
        names = [word for each in ALTERNATIVES for word in ("altname", f"{each}-{host}")]
        namespace.ip("link", "property", "add", "dev", name, *names)
    for each in ALTERNATIVES:
        with namespace.entered():
            assert interfaces(f"{each}-1, {each}-0", NULLS) == ("", ["d1", "d0"])
            with pytest.raises(Usage, match="names d0 twice"):
                interfaces(f"d0,{each}-0", NULLS)
    words = ("packet:d0", "packet:d1", "--mode", "route", "--kernel-routes")
    job = namespace.start("fwd", *words, ",".join(f"{ALTERNATIVES[1]}-{host}" for host in (0, 1)))
    namespace.ip("neighbor", "add", "10.0.1.9", "lladdr", "02:00:00:00:00:09", "dev", "d1")
    assert "dev d1 " in namespace.ip("route", "get", "10.0.1.9")
    sock, out = namespace.socket("ed0", 0.02), namespace.socket("ed1", 0.02)
    router = bytes.fromhex(namespace.link("d0")["address"].replace(":", ""))
    frame = router + bytes(5) + b"\x02" + bytes(Ether() / IP(src="10.0.0.9", dst="10.0.1.9"))[12:]

    def arrived():
        sock.send(frame)
        with contextlib.suppress(TimeoutError):
            return out.recv(2048)[:6] == b"\x02\0\0\0\0\x09"

    until(arrived)
    job.end()


@pytest.mark.parametrize("answers", [True, False])
def test_a_neighbor_is_asked_for_as_often_as_it_should_be(monkeypatch, answers):
    asking, sent = Asking(["d0", "d1"]), []
    monkeypatch.setattr(asking, "_ask", lambda *who: sent.append((clock, who)))
    gateway, host, known = (0, b"\n\0\0\1"), (1, bytes(15) + b"\1"), set()
    for turn in range(20 * 121):
        clock = turn / 20
        if answers and clock == 0.5:
            known = {gateway, host}
        asking.turn([gateway], [host] if clock < 60 and not answers else [], known, clock)
    times = [clock for clock, who in sent if who == gateway]
    if answers:
        assert times == [0, 30.5, 60.5, 90.5, 120.5]
        assert asking.silent == ()
        return
    assert times == [0, 1, 3, 7, 15, 31, 47, 63, 79, 95, 111]
    assert [clock for clock, who in sent if who == host] == times[:7]
    assert asking.silent == (gateway,)
    many = [(0, number.to_bytes(4, "big")) for number in range(5000)]
    before = len(sent)
    asking.turn([], many, (), clock + 1)
    assert len(sent) == before + TURN_MAX
    new, turn = (1, b"\n\0\0\2"), 0
    while new not in [who for _, who in sent[before:]]:
        turn += 1
        assert turn < 100 * len(many) / TURN_MAX, "a sweep keeps nobody out for ever"
        asking.turn([gateway], [*many, new], (), clock + 1 + turn / 1000)
    assert gateway in [who for _, who in sent[before:]]
