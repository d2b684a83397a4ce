# SPDX-License-Identifier: Apache-2.0
"""fwd --mode route beside the kernel: the same table decides the same, and its hosts talk by it."""

from __future__ import annotations

import random
import re
import socket

from scapy.utils import checksum

from tests.support.identity import ran
from tests.support.script import Script
from tests.support.talking import talk
from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits

PORTS, GATEWAYS = 3, 20  # gateways: of each port
ROUTER = b"\x02\0\0\0\0\xfe"
FAMILIES = {4: (socket.AF_INET, 4, 32), 6: (socket.AF_INET6, 16, 128)}
GOT = re.compile(r"(\S+)(?: from \S+)?(?: via (\S+))? dev d(\d)")


def gateway(version, port, number):
    return f"10.255.{port}.{number + 2}" if version == 4 else f"fd00:{port + 1}::{number + 2:x}"


def mac(port, number):
    return b"\x02\0\0\0" + bytes([port, number])


def network(version, port):
    return f"10.255.{port}.0/24" if version == 4 else f"fd00:{port + 1}::/64"


class Drawn:
    """Routes and destinations of one family: many prefixes in one another."""

    def __init__(self, version, count, seed):
        self.version, self.noise = version, random.Random(seed)
        self.kind, self.size, self.bits = FAMILIES[version]
        self.near = [self.noise.getrandbits(self.bits) for _ in range(30)]
        self.routes = {}
        while len(self.routes) < count:
            length = self.noise.randint(5, self.bits)
            number = self.address() >> (self.bits - length) << (self.bits - length)
            if self.is_free(number):
                self.routes[f"{self.text(number)}/{length}"] = self.hop()

    def address(self):
        """A number near those of the routes."""
        noise = self.noise
        return noise.choice(self.near) ^ noise.getrandbits(self.bits) >> noise.randint(0, self.bits)

    def destinations(self, count):
        """So many different addresses."""
        found = set()
        while len(found) < count:
            found |= {each for each in (self.address(),) if self.is_free(each)}
        return list(found)

    def neighbors(self):
        """The MAC addresses of all gateways."""
        pairs = [(port, number) for port in range(PORTS) for number in range(GATEWAYS)]
        return {gateway(self.version, *pair): mac(*pair) for pair in pairs}

    def is_free(self, number):
        """Whether it is neither a group, nor the link's, nor this machine's."""
        first = number >> (self.bits - 8)
        return first not in {0, 10, 127} and first < (0xE0 if self.version == 4 else 0xFC)

    def text(self, number):
        return socket.inet_ntop(self.kind, number.to_bytes(self.size, "big"))

    def hop(self):
        """A port, and the number of a gateway behind it; None: the link itself."""
        if self.noise.random() < 0.1:
            return None
        number = self.noise.randrange(GATEWAYS) if self.noise.random() < 0.8 else None
        return self.noise.randrange(PORTS), number

    def ours(self):
        """The lines of a route file."""
        for port in range(PORTS):
            yield f"{network(self.version, port)} port {port + 1}"
            for number in range(GATEWAYS):
                via = gateway(self.version, port, number)
                yield f"neighbor {via} port {port + 1} mac {mac(port, number).hex(':')}"
        for prefix, hop in self.routes.items():
            if hop is None:
                yield f"{prefix} drop"
            elif hop[1] is None:
                yield f"{prefix} port {hop[0] + 1} mac {mac(hop[0], 255).hex(':')}"
            else:
                yield f"{prefix} via {gateway(self.version, *hop)}"

    def theirs(self):
        """Commands of `ip -batch`."""
        for prefix, hop in self.routes.items():
            if hop is None:
                yield f"route add blackhole {prefix}"
            else:
                via = f"via {gateway(self.version, *hop)} " if hop[1] is not None else ""
                yield f"route add {prefix} {via}dev d{hop[0]}"

    def frame(self, number):
        """A packet to an address, which it is found by."""
        to = number.to_bytes(self.size, "big")
        if self.version == 6:
            ip = b"\x60\0\0\0\0\0\x3b\x40" + b"\x20\x01" + bytes(13) + b"\x01" + to
            return ROUTER + bytes(5) + b"\x02\x86\xdd" + ip
        ip = bytearray(b"\x45\0\0\x14\0\0\0\0\x40\x3b\0\0\xc6\x12\0\x01" + to)
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        return ROUTER + bytes(5) + b"\x02\x08\0" + ip


def batch(namespace, version, lines, **more):
    """Has `ip` run many commands."""
    words = ("ip", f"-{version}", "-oneline", "-force", "-batch", "-")
    return namespace.run(*words, input="".join(f"{line}\n" for line in lines), **more)


def decisions(namespace, version, addresses):
    """What the kernel does with packets to addresses: a port and a gateway, or a reason."""
    done = batch(namespace, version, (f"route get {each}" for each in addresses), check=False)
    found = dict.fromkeys(addresses)
    for line in done.stdout.splitlines():
        address, via, port = GOT.match(line).groups()
        found[address] = int(port), via
    failed = re.findall(r"answers: (.*)\nCommand failed -:(\d+)", done.stderr)
    for why, line in failed:
        reasons = {"Invalid argument": "filtered", "Network is unreachable": "no_route"}
        found[addresses[int(line) - 1]] = reasons[why]
    return found


def links(namespace):
    """Makes an interface for each port."""
    namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
    namespace.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=0")
    for port in range(PORTS):
        namespace.veth(f"d{port}", f"e{port}")
        namespace.ip("address", "add", f"10.255.{port}.1/24", "dev", f"d{port}")
        namespace.ip("address", "add", f"fd00:{port + 1}::1/64", "dev", f"d{port}", "nodad")


def test_the_router_decides_as_the_kernel(namespace, tmp_path):
    links(namespace)
    count, sent = by_tier(1000, 3000, 20_000), by_tier(10_000, 10_000, 100_000)
    families = [Drawn(version, count, seed=count) for version in FAMILIES]
    lines = [f"port {port + 1} mac {ROUTER.hex(':')}" for port in range(PORTS)]
    steps, expected, drops = [], [[] for _ in range(PORTS)], {}
    for drawn in families:
        version = drawn.version
        batch(namespace, version, drawn.theirs())
        lines += drawn.ours()
        numbers = drawn.destinations(sent // 2)
        addresses = [drawn.text(each) for each in numbers]
        found, gateways = decisions(namespace, version, addresses), drawn.neighbors()
        for number, address in zip(numbers, addresses, strict=True):
            frame, decided = drawn.frame(number), found[address]
            steps.append((0, frame))
            if isinstance(decided, str):
                drops[decided] = drops.get(decided, 0) + 1
                continue
            port, via = decided
            expected[port].append((gateways[via] if via else mac(port, 255), frame[-drawn.size :]))
    assert min(map(len, expected)) > len(steps) // 10
    assert min(drops.values()) > len(steps) // 1000
    file = tmp_path / "routes.txt"
    file.write_text("\n".join(lines))
    script = Script(PORTS, steps)
    with ForwardJob(script.ports, Limits(), Forwarding("route", options={"routes": file})) as job:
        result = ran(job.run())
    assert result.drops == drops
    for port, frames in zip(script.ports, expected, strict=True):
        got = [(each[:6], each[30:34] if len(each) == 34 else each[38:54]) for each in port.taken]
        assert got == frames
        for each in port.taken:
            assert each[6:12] == ROUTER
            assert each[22 if len(each) == 34 else 21] == 63
            assert len(each) != 34 or checksum(each[14:]) == 0


def test_hosts_talk_through_the_router(namespaces, tmp_path):
    middle, *hosts = namespaces(), namespaces(), namespaces()
    lines = []
    for number, host in enumerate(hosts):
        name, own = f"h{number}", f"02:00:00:00:0{number}"
        middle.veth(f"r{number}", name)
        middle.ip("link", "set", name, "netns", host.name)
        middle.ip("link", "set", f"r{number}", "address", f"{own}:fe")
        host.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0")
        batch(host, 4, [f"link set {name} up address {own}:01"])
        for version, net, length in ((4, f"10.0.{number}.", 24), (6, f"fd00:{number}::", 64)):
            batch(host, version, [
                f"address add {net}1/{length} dev {name} {'nodad' if version == 6 else ''}",
                f"neighbor add {net}254 lladdr {own}:fe dev {name}",
                f"route add default via {net}254",
            ])  # fmt: skip
            lines.append(f"{net}{'0' if version == 4 else ''}/{length} port {number + 1}")
            lines.append(f"neighbor {net}1 port {number + 1} mac {own}:01")
    file = tmp_path / "routes.txt"
    file.write_text("\n".join(lines))
    job = middle.start("fwd", "packet:r0", "packet:r1", "--mode", "route", "--routes", file)
    for kind, to in ((socket.AF_INET, "10.0.1.1"), (socket.AF_INET6, "fd00:1::1")):
        talk(hosts, kind, to, scaled(10))
    with hosts[0].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        sock.sendto(b"too far", ("10.0.1.1", 9))
    until(lambda: job.count("rx_dropped"))
    result = job.end()
    assert result["drops"].pop("ttl_expired") == 1
    assert set(result["drops"]) <= {"link_local", "bad_source", "not_routed", "other_host"}
