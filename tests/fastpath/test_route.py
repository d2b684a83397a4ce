# SPDX-License-Identifier: Apache-2.0
"""The router against models of it: look-ups by brute force, packets by Scapy."""

from __future__ import annotations

import random
import socket

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from tests.support.identity import ran
from tests.support.script import Script
from tests.support.tiers import by_tier
from uspnet.errors import NoDevice, Usage
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.forward.lpm import FEW, IPV4, IPV6, Table
from uspnet.jobs.plan import Limits

ROUTES = """\
# a comment, and an empty line

port 1 mac 02:00:00:00:01:fe
port 2 mac 02:00:00:00:02:fe
local 192.0.2.254   # the router's own
local 2001:db8::fe
192.0.2.0/24 port 1
198.51.100.0/24 port 2
2001:db8::/64 port 3
8000::/1 port 3              # in which the link's own are nobody's
neighbor fe80::9 port 3 mac 02:00:00:00:03:09
neighbor 192.0.2.1 port 1 mac 02:00:00:00:01:01
neighbor 198.51.100.7 port 2 mac 02:00:00:00:02:07
neighbor 198.51.100.8 port 1 mac 02:00:00:00:02:08   # not on that link
neighbor 2001:db8::1 port 3 mac 02:00:00:00:03:01
10.0.0.0/8 via 192.0.2.1                 # port 1, since that is there
10.1.0.0/16 via 203.0.113.9 port 3 mac 02:00:00:00:03:09
10.1.2.0/24 drop
10.9.0.0/16 via 192.0.2.99
2001:db8:1::/48 via 2001:db8::1
default via fe80::1 port 2 mac 02:00:00:00:02:01
"""
OWN = ["02:00:00:00:01:fe", "02:00:00:00:02:fe", "02:00:00:00:00:03"]
SENT = {  # where packets to an address leave, and the next hop's MAC address
    "10.2.3.4": (0, "02:00:00:00:01:01"),
    "10.1.3.4": (2, "02:00:00:00:03:09"),
    "192.0.2.1": (0, "02:00:00:00:01:01"),
    "198.51.100.7": (1, "02:00:00:00:02:07"),
    "2001:db8::1": (2, "02:00:00:00:03:01"),
    "2001:db8:1:ffff::1": (2, "02:00:00:00:03:01"),
    "2600::1": (1, "02:00:00:00:02:01"),
}
DROPPED = {
    "10.1.2.3": "filtered",
    "10.9.0.1": "no_neighbor",
    "192.0.2.2": "no_neighbor",
    "198.51.100.8": "no_neighbor",
    "2001:db8::2": "no_neighbor",
    "192.0.2.254": "to_router",
    "2001:db8::fe": "to_router",
    "11.0.0.1": "no_route",
    "127.0.0.1": "link_local",
    "224.0.0.5": "link_local",
    "255.255.255.255": "link_local",
    "fe80::1": "link_local",
    "fe80::9": "link_local",
    "ff02::1": "link_local",
}
SOURCES = (
    "0.0.0.0",
    "127.0.0.1",
    "224.1.1.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::2",
    "ff02::2",
)


def packet(to, source=None, ttl=64, **more):
    """A packet to the router's first port."""
    made = Ether(dst=OWN[0], src="02:00:00:00:01:01")
    if ":" in to:
        return made / IPv6(dst=to, src=source or "2001:db8:f::1", hlim=ttl, **more) / UDP()
    return made / IP(dst=to, src=source or "192.0.2.77", ttl=ttl, **more) / UDP()


def routed(made, port, mac):
    """What becomes of a packet, by Scapy's checksums."""
    layer = IPv6 if IPv6 in made else IP
    after = Ether(bytes(made))
    after.dst, after.src = mac, OWN[port]
    if layer is IP:
        after[IP].ttl -= 1
        del after[IP].chksum
    else:
        after[IPv6].hlim -= 1
    return bytes(after)


def run(steps, routes, tmp_path, ports=3, **more):
    file = tmp_path / "routes.txt"
    file.write_text(routes)
    script = Script(ports, steps)
    limits = Limits(burst=random.Random(len(steps)).randint(1, 64))
    how = Forwarding("route", options={"routes": str(file)}, **more)
    with ForwardJob(script.ports, limits, how) as job:
        return [port.taken for port in script.ports], ran(job.run())


def cut(made, **fields):
    """A packet whose IP header says something else, with the checksum that it had."""
    right = Ether(bytes(made))
    layer = right[IPv6] if IPv6 in right else right[IP]
    for name, value in fields.items():
        setattr(layer, name, value)
    return bytes(right)


def wrong():
    """Frames that are dropped, and why."""
    good, six = packet("10.2.3.4"), packet("2600::1")
    for to, reason in DROPPED.items():
        yield bytes(packet(to)), reason
    for source in SOURCES:
        yield bytes(packet("2600::1" if ":" in source else "10.2.3.4", source)), "bad_source"
    for to in (*SENT, "10.9.0.1"):
        yield bytes(packet(to, ttl=1)), "ttl_expired"
        yield bytes(packet(to, ttl=0)), "ttl_expired"
    yield bytes(packet("192.0.2.254", ttl=1)), "to_router"
    yield bytes(Ether(dst="02:00:00:00:02:fe") / good[IP]), "other_host"
    yield bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / good[IP]), "other_host"
    for kind in (b"\x08\x06", b"\x81\x00", b"\x00\x2e", b"\x08\x01"):
        yield bytes(good)[:12] + kind + bytes(good)[14:], "not_routed"
    for fields in ({"version": 5}, {"ihl": 4}, {"ihl": 15}, {"len": 19}, {"len": 29}, {"len": 0},
                   {"ttl": 63}, {"chksum": 0}):  # fmt: skip
        yield cut(good, **fields), "bad_header"
    for fields in ({"version": 4}, {"plen": 9}):
        yield cut(six, **fields), "bad_header"
    for length in (14, 33):
        yield bytes(good)[:length], "bad_header"
    yield bytes(six)[:53], "bad_header"


def test_packets_leave_as_their_longest_prefix_says_and_others_are_dropped_by_name(tmp_path):
    noise, steps, drops = random.Random(1), [], {}
    for frame, reason in wrong():
        steps.append((frame, None))
        drops[reason] = drops.get(reason, 0) + 1
    for _ in range(by_tier(100, 300, 20_000)):
        to, (port, mac) = noise.choice(list(SENT.items()))
        made = packet(to, ttl=noise.randint(2, 255))
        if IP in made:
            made[IP].id, made[IP].tos = noise.getrandbits(16), noise.getrandbits(8)
        if IP in made and noise.random() < 0.3:
            made[IP].options = [b"\x94\x04\0\0"] * noise.randint(1, 10)  # router alert
        padding = bytes(noise.choice([0, 9]))
        steps.append((bytes(made) + padding, (port, routed(made, port, mac) + padding)))
    noise.shuffle(steps)
    got, result = run([(0, frame) for frame, _ in steps], ROUTES, tmp_path)
    sent = [each for _, each in steps if each]
    assert got == [[frame for port, frame in sent if port == number] for number in range(3)]
    assert result.drops == drops
    assert result.received == len(steps)
    assert (result.route.ipv4, result.route.ipv6) == (7, 5)
    assert result.route.memory_bytes < 1 << 20


def test_a_port_without_an_address_of_its_own_takes_all(tmp_path):
    frame = bytes(Ether(dst="02:12:34:56:78:9a") / packet("10.2.3.4")[IP])
    got, result = run([(2, frame), (1, frame)], ROUTES, tmp_path)
    assert len(got[0]) == 1
    assert result.drops == {"other_host": 1}


def test_a_checksum_is_never_minus_zero(tmp_path):
    port, mac = SENT["10.2.3.4"]
    made, sent = bytes(packet("10.2.3.4")), routed(packet("10.2.3.4"), port, mac)
    steps, taken = [], []
    for number in range(0, 0x10000, by_tier(32, 16, 1)):
        frame, after = bytearray(made), bytearray(sent)
        for each in (frame, after):
            each[18:20], each[24:26] = number.to_bytes(2, "big"), bytes(2)
            each[24:26] = checksum(bytes(each[14:34])).to_bytes(2, "big")
        steps.append((0, bytes(frame)))
        taken.append(bytes(after))
    got, _ = run(steps, ROUTES, tmp_path)
    assert got[port] == taken


def drawn(noise, family, count):
    """Routes near one another, and addresses near them."""
    width = family.bits
    near = [noise.getrandbits(width) for _ in range(20)]

    def one():
        number = noise.choice(near) ^ noise.getrandbits(width) >> noise.randint(0, width)
        return number.to_bytes(width // 8, "big")

    routes = {family.key(one(), noise.randint(0, width)): noise.randint(1, 5) for _ in range(count)}
    return routes, one


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_a_look_up_finds_the_longest_prefix(family):
    for count in (0, 1, 10, 1000, 2 * FEW):
        noise = random.Random(count)
        routes, one = drawn(noise, family, count)
        table = Table(family, routes)
        for _ in range(by_tier(300, 1000, 100_000)):
            address = one()
            assert table.find(address) == (family.longest(routes, address) or 0)


NEAR = "neighbor 10.0.0.1 port 1 mac 02:00:00:00:00:01"
WRONG = [  # a line, what the message says, and its hint
    ("10.0.0.0/8", "nothing behind the prefix", "write: PREFIX via"),
    ("10.0.0.1/8 port 1", "bits behind its prefix", "write 10.0.0.0/8"),
    ("10.0.0.0/33 port 1", "/33: IPv4 has 0 to 32", "10.0.0.0/8"),
    ("10.0.0/8 port 1", "'10.0.0' is no IP address", "2001:db8::/32"),
    ("2001:db8::/a port 1", "/a: IPv6 has 0 to 128", "2001:db8::/32"),
    ("10.0.0.0/8 port 9", "no port 9", "its number from 1 on"),
    ("10.0.0.0/8 via 192.0.2.1", "no port leads to 192.0.2.1", "192.0.2.1 port 1"),
    ("10.0.0.0/8 via 2001:db8::1 port 1", "an IPv4 route by an IPv6 address", "write: PREFIX"),
    ("10.0.0.0/8 mac 02:00:00:00:00:01", "neither a port nor an address", "write: PREFIX"),
    ("10.0.0.0/8 port 1 mac 03:00:00:00:00:01", "nobody's own MAC", "02:00:00:00:00:01"),
    ("10.0.0.0/8 port 1 mac 02:00", "'02:00' must be six bytes", "02:00:00:00:00:01"),
    ("10.0.0.0/8 port 1 port 2", "port is there twice", "write: PREFIX"),
    ("10.0.0.0/8 dev eth0", "'dev' is no word of a route", "write: PREFIX"),
    ("10.0.0.0/8 port", "nothing behind port", "write: PREFIX"),
    ("11.0.0.0/8 drop", "11.0.0.0/8 is there twice", "keep one"),
    ("neighbor 10.0.0.1 port 1", "nothing of a neighbor", "neighbor 192.0.2.1"),
    (f"{NEAR}\n{NEAR}", "neighbor 10.0.0.1 is there twice", "keep one"),
    (f"port 1 mac {OWN[0]}\nport 1 mac {OWN[1]}", "port 1 is there twice", "keep one"),
    ("local 10.0.0.1 port 1", "local takes one address", "local 192.0.2.1"),
    ("port 1", "nothing of a port", "port 1 mac"),
    ("\x1b[31m port 1", r"'\x1b[31m' is no IP address", "2001:db8::/32"),
    ("# " + "x" * 9, "has no route", "write: PREFIX"),
]


@pytest.mark.parametrize(("line", "what", "hint"), WRONG)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line, what, hint):
    first = "11.0.0.0/8 port 1\n" if "no route" not in what else ""
    with pytest.raises(Usage) as error:
        run([], f"\n{first}{line}\n", tmp_path)
    assert what in str(error.value)
    assert hint in error.value.hint
    number = 3 + line.count("\n")
    assert not first or f", line {number}: " in str(error.value)


def test_a_file_that_is_none_is_named(tmp_path):
    script = Script(2, [])
    with pytest.raises(NoDevice, match=r"none\.txt: No such file"):
        ForwardJob(script.ports, Limits(),
                   Forwarding("route", options={"routes": str(tmp_path / "none.txt")}))  # fmt: skip


def test_addresses_are_read_as_the_kernel_writes_them(tmp_path):
    """Whatever inet_ntop() writes is a prefix."""
    noise, lines = random.Random(3), []
    for number in range(500):
        for kind, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            lines.append(f"{socket.inet_ntop(kind, noise.randbytes(size))} port {number % 2 + 1}")
    _, result = run([], "\n".join(dict.fromkeys(lines)), tmp_path, ports=2)
    assert (result.route.ipv4, result.route.ipv6) == (500, 500)
