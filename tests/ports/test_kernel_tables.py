# SPDX-License-Identifier: Apache-2.0
"""fwd --mode route --kernel-routes: which of the kernel's routes counts, and news of them."""

from __future__ import annotations

import contextlib
import socket

from tests.ports.test_route import batch
from tests.support.waiting import until
from uspnet.fastpath import lib
from uspnet.jobs.forward.following import Follower, Kernel
from uspnet.jobs.forward.lpm import IPV4, IPV6
from uspnet.kernel import fib, precedence
from uspnet.kernel.netlink import Netlink


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def hop_to(routes, address):
    """What becomes of packets to an IPv4 address."""
    number = IPV4.longest(routes.found[IPV4], socket.inet_aton(address))
    hop = routes.hops[number or 0]
    return hop.act, hop.port, hop.via and socket.inet_ntoa(hop.via)


def read_in(namespace):
    """The routes of two ports, d0 and d1."""
    with namespace.entered():
        netlink = Netlink()
    with netlink.socket:
        made = Kernel(["d0", "d1"], fib.links(netlink), fib.neighbors(netlink))
        return made.build(precedence.effective(netlink, fib.routes(netlink)))


def test_of_several_routes_and_next_hops_the_kernel_s_first_counts(namespace):
    for name in ("d0", "d1", "d2"):
        namespace.veth(name, f"e{name}")
        namespace.ip("address", "add", f"10.0.{name[1]}.1/24", "dev", name)
    batch(namespace, 4, [
        "route add 20.0.0.0/8 via 10.0.0.2 metric 20",
        "route add 20.0.0.0/8 via 10.0.1.2 metric 10",
        "route add 20.1.0.0/16 nexthop via 10.0.2.9 nexthop via 10.0.1.3 nexthop via 10.0.0.3",
        "route add 20.2.0.0/16 via 10.0.2.9",
        "route add 20.3.0.0/16 via 10.0.0.9 table 7",
        "route add 20.4.0.0/16 via 10.0.0.9 tos 0x10",
        "route add throw 20.5.0.0/16",
        "route add unreachable 20.6.0.0/16",
        "route add 20.7.0.0/16 dev d1",
    ])  # fmt: skip

    found = read_in(namespace)
    send, none = (lib.HOP_SEND, 1, "10.0.1.2"), (lib.HOP_NONE, None, None)
    for address, hop in (
        ("20.9.0.1", send),
        ("20.1.0.1", (lib.HOP_SEND, 1, "10.0.1.3")),
        ("20.2.0.1", none),
        ("20.3.0.1", send),
        ("20.4.0.1", send),
        ("20.5.0.1", none),
        ("20.6.0.1", (lib.HOP_DROP, None, None)),
        ("20.7.0.1", (lib.HOP_SEND, 1, None)),
        ("10.0.2.1", (lib.HOP_ROUTER, None, None)),
        ("10.0.0.255", (lib.HOP_LOCAL, None, None)),
        ("127.0.0.1", (lib.HOP_LOCAL, None, None)),
        ("224.0.0.1", (lib.HOP_LOCAL, None, None)),
    ):
        assert hop_to(found, address) == hop, address
    namespace.ip("link", "set", "d1", "down")
    assert hop_to(read_in(namespace), "20.9.0.1") == (lib.HOP_SEND, 0, "10.0.0.2")


SHORTER = {4: ("20.0.0.0/8", "20.1.0.0/16", "10.0.0.2"),
           6: ("2001:db8::/32", "2001:db8:1::/48", "fd00::2")}  # fmt: skip


def is_local(namespace, version, address):
    """Whether the kernel says that packets to an address are for itself."""
    return namespace.ip(f"-{version}", "route", "get", address).startswith("local ")


def test_a_longer_prefix_hides_a_local_one_only_where_the_kernel_says_so(namespace):
    namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
    for name, address, more in (("d0", "10.0.0.1/24", "fd00::1/64"), ("d1", "10.0.1.1/24", "")):
        namespace.veth(name, f"e{name}")
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0")
        namespace.ip("address", "add", address, "dev", name)
        if more:
            namespace.ip("address", "add", more, "dev", name, "nodad")
    for version, (near, far, via) in SHORTER.items():
        batch(namespace, version, [
            f"route add local {near} dev lo table local", f"route add {far} via {via}",
        ])  # fmt: skip
    said = []
    for change in ((), ("add",), ("del",)):
        if change:
            namespace.ip("rule", *change, "from", "192.0.2.77", "lookup", "77")
        found = read_in(namespace)
        for version, family, to in ((4, IPV4, "20.1.0.7"), (6, IPV6, "2001:db8:1::7")):
            hop = found.hops[family.longest(found.found[family], packed(to)) or 0]
            assert (hop.act == lib.HOP_ROUTER) == is_local(namespace, version, to), (change, to)
            said.append(hop.act)
        assert hop_to(found, "20.2.0.1") == (lib.HOP_ROUTER, None, None)
    assert set(said) == {lib.HOP_ROUTER, lib.HOP_SEND}, "before there was a rule, and since"


def test_routes_that_say_nothing_of_the_order_hide_no_others(namespace):
    for name, address in (("d0", "10.0.0.1/24"), ("d1", "10.0.1.1/24")):
        namespace.veth(name, f"e{name}")
        namespace.ip("address", "add", address, "dev", name)
    batch(namespace, 4, [
        "route add local 20.0.0.0/8 dev lo table local",
        *(f"route add unreachable 20.0.{number}.0/24" for number in range(9)),
        *(f"address add 20.1.{number}.0/31 dev d1" for number in range(9)),
        "route add 20.2.0.0/16 via 10.0.0.2",
    ])  # fmt: skip
    assert not is_local(namespace, 4, "20.2.0.7"), "nobody has added a rule"
    assert hop_to(read_in(namespace), "20.2.0.7") == (lib.HOP_SEND, 0, "10.0.0.2")


def test_what_asks_for_a_rule_is_read_again(namespace):
    with namespace.entered():
        news = fib.News()
    with contextlib.closing(news):
        namespace.ip("rule", "add", "from", "192.0.2.77", "lookup", "77")
        until(lambda: news.read()[1])


def news_of_a_neighbor(namespace, news, mac):
    """Change a neighbor; IPv6 may add a route of its own beside, soon after a link comes up."""
    news.read()
    namespace.ip("neighbor", "replace", "10.0.0.2", "lladdr", mac, "dev", "d0")
    return news.read()


def test_notifications_that_were_lost_mean_that_all_is_read_again(namespace):
    namespace.veth("d0", "d1")
    with namespace.entered():
        news = fib.News()
    with contextlib.closing(news):
        macs = (f"02:00:00:00:00:{number:02x}" for number in range(256))
        until(lambda: news_of_a_neighbor(namespace, news, next(macs)) == (True, False))
        news.netlink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        batch(namespace, 4, (f"neighbor add 10.0.1.{n} lladdr 02:00:00:00:00:03 dev d0"
                             for n in range(200)))  # fmt: skip
        assert news.read() == (True, True)


def test_an_interface_that_is_renamed_keeps_its_routes(namespace):
    namespace.veth("d0", "e0")
    namespace.veth("d1", "e1")
    namespace.ip("address", "add", "10.0.1.1/24", "dev", "d1")
    with namespace.entered():
        follower = Follower(["d0", "d1"], lambda routes, _: routes)
        for old, new in (("d1", "lan1"), ("d0", "d1")):
            namespace.ip("link", "set", "dev", old, "down")
            namespace.ip("link", "set", "dev", old, "name", new)
            namespace.ip("link", "set", "dev", new, "up")
        assert hop_to(follower._read(), "10.0.1.9") == (lib.HOP_SEND, 1, None)
    assert follower.names == follower.asking.names == ["d1", "lan1"]
