# SPDX-License-Identifier: Apache-2.0
"""Real topologies in network namespaces: what is read of them, and that it comes back exactly."""

import json
import os
import subprocess
import time
import uuid
from itertools import compress

import pytest

from tests.support.tiers import full
from tests.support.waiting import moments
from uspnet.binding.bind import BindRequest, plan
from uspnet.binding.collect import collect
from uspnet.binding.netlink import snapshot
from uspnet.binding.restore import apply

A = "0000:03:00.0"


class Namespace:
    """A network namespace with a veth called nic0 that plays the NIC; its other end is wire0."""

    def __init__(self):
        self.name = f"uspnet-{uuid.uuid4().hex[:8]}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link set lo up")
        self.nic("nic0")

    def ip(self, text, *, skip=False):
        done = subprocess.run(
            ["ip", "-n", self.name, *text.split()], capture_output=True, text=True, check=False
        )
        if done.returncode and skip:
            kind = text.partition(" type ")[2].partition(" ")[0]
            pytest.skip(f"this kernel lacks a kind of interface: {kind}")
        assert not done.returncode, (text, done.stderr)
        return done.stdout

    def nic(self, name):
        self.ip(f"link add {name} type veth peer name wire0")
        self.ip("link set wire0 up")
        self.ip(f"link set {name} up")

    def show(self):
        """Addresses, routes and links as iproute2 shows them, without numbers and counters."""
        loose = {
            "expires", "operstate", "tentative", "ifindex", "link_index", "flags", "dynamic",
            "valid_life_time", "preferred_life_time",
        }  # fmt: skip

        def strip(value):
            if isinstance(value, dict):
                return {key: strip(item) for key, item in value.items() if key not in loose}
            return [strip(item) for item in value] if isinstance(value, list) else value

        questions = ("address", "route show table all", "-6 route show table all", "nexthop")
        found = {}
        for question in questions:
            rows = strip(json.loads(self.ip(f"-j {question}") or "[]"))
            ours = (row.get("ifname", row.get("dev")) not in {"lo", "wire0"} for row in rows)
            rows = list(compress(rows, ours))
            found[question] = sorted(map(json.dumps, rows))
        return found

    def quiet(self):
        """How all is once nothing has changed for 2 s: addresses are checked for duplicates, and
        more happens after a link comes up."""
        now, since = self.show(), time.monotonic()
        for _ in moments(30, 0.2):
            if (again := self.show()) != now:
                now, since = again, time.monotonic()
            elif time.monotonic() > since + 2:
                return now
        raise AssertionError("the links never settle")

    def settles(self, before):
        """Is all as before, at the latest when the kernel has finished bringing links up?"""
        return any(self.show() == before for _ in moments(20, 0.1))


@pytest.fixture
def namespace():
    if os.geteuid():
        pytest.skip("needs root: network namespaces")
    space = Namespace()
    yield space
    subprocess.run(["ip", "netns", "del", space.name], check=True)


def bond(space):
    space.ip("link add bond0 type bond", skip=True)
    space.ip("link set nic0 down")
    space.ip("link set nic0 master bond0")
    space.ip("link set bond0 up")
    space.ip("address add 10.0.0.1/24 dev bond0")
    space.ip("route add default via 10.0.0.2")


def vlan_on_bond(space):
    bond(space)
    space.ip("link add link bond0 name bond0.5 type vlan id 5", skip=True)
    space.ip("link set bond0.5 up")
    space.ip("address add 10.5.0.1/24 dev bond0.5")
    space.ip("route add 10.6.0.0/16 via 10.5.0.2")


def bridge(space):
    space.ip("link add br0 type bridge", skip=True)
    space.ip("link set nic0 master br0")
    space.ip("link set br0 up")
    space.ip("address add 10.0.0.1/24 dev br0")
    space.ip("route add default via 10.0.0.2")


def macvlan(space):
    space.ip("link add link nic0 name mac0 type macvlan mode bridge", skip=True)
    space.ip("link set mac0 up")
    space.ip("address add 10.0.0.1/24 dev mac0")


def vlan(space):
    space.ip("link add link nic0 name nic0.7 type vlan id 7", skip=True)
    space.ip("link set nic0.7 up")
    space.ip("address add 10.7.0.1/24 dev nic0.7")
    space.ip("route add 10.8.0.0/16 via 10.7.0.2")


def team(space):
    space.ip("link add team0 type team", skip=True)
    space.ip("link set nic0 down")
    space.ip("link set nic0 master team0")


def nexthop_object(space):
    space.ip("address add 10.0.0.1/24 dev nic0")
    space.ip("nexthop add id 7 via 10.0.0.2 dev nic0", skip=True)
    space.ip("nexthop add id 8 via 10.0.0.3 dev nic0")
    space.ip("nexthop add id 9 group 7/8,5")
    space.ip("route add 10.9.0.0/16 nhid 9")
    space.ip("route add default nhid 7")


def policy_table(space):
    space.ip("address add 10.0.0.1/24 dev nic0")
    space.ip("route add default via 10.0.0.2 table 1000 metric 5 mtu 1400")
    space.ip("rule add iif nic0 table 1000")


def vrf(space):
    space.ip("link add blue type vrf table 10", skip=True)
    space.ip("link set nic0 master blue")


def ipv6_only(space):
    space.ip("address add fd00::1/64 dev nic0 nodad")
    space.ip("-6 route add default via fd00::2")


def multipath(space):
    space.ip("address add 10.0.0.1/24 dev nic0")
    space.ip("address add fd00::1/64 dev nic0 nodad")
    space.ip(
        "route add 10.1.0.0/16 nexthop via 10.0.0.2 dev nic0 weight 3 nexthop via 10.0.0.3 dev nic0"
    )
    space.ip("route add 10.2.0.0/16 via inet6 fd00::2 dev nic0")
    space.ip("-6 route add fd01::/64 nexthop via fd00::2 dev nic0 nexthop via fd00::3 dev nic0")


def many_addresses(space):
    space.ip("link set nic0 down")
    space.ip("link set nic0 address 02:00:00:00:00:77")
    space.ip("link set nic0 mtu 9000 txqueuelen 123 up")
    space.ip("address add 10.0.0.1/24 broadcast 10.0.0.255 dev nic0 label nic0:a")
    space.ip("address add 10.0.0.9/24 dev nic0")
    space.ip("address add 10.3.0.1/24 dev nic0 noprefixroute")
    space.ip("address add 192.0.2.1 peer 192.0.2.2/32 dev nic0")
    space.ip("address add fd00::1/64 dev nic0 nodad valid_lft 3000 preferred_lft 2000")
    space.ip("route add 10.4.0.0/16 dev nic0 scope link src 10.0.0.9")
    space.ip("route add 10.5.0.0/16 via 172.16.0.1 dev nic0 onlink")


REASONS = [
    (bond, "default-route", "nic0 → bond0: IPv4 default route"),
    (vlan_on_bond, "route", "nic0 → bond0 → bond0.5: route to 10.6.0.0/16"),
    (bridge, "default-route", "nic0 → br0: IPv4 default route"),
    (macvlan, "address", "nic0 → mac0: up with carrier, has 10.0.0.1/24"),
    (vlan, "route", "nic0 → nic0.7: route to 10.8.0.0/16"),
    (team, "upper", "nic0 → team0: team team0 is stacked on it"),
    (nexthop_object, "default-route", "nic0: IPv4 default route through nexthop object 7"),
    (policy_table, "default-route", "nic0: IPv4 default route in table 1000"),
    (policy_table, "rule", "nic0: policy rule iif nic0, table 1000"),
    (vrf, "vrf", "nic0 → blue: it belongs to VRF blue"),
    (ipv6_only, "default-route", "nic0: IPv6 default route"),
    (multipath, "route", "nic0: route to 10.1.0.0/16 and 2 more"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "name", "text"), REASONS)
def test_the_chain_is_found(lab, namespace, build, name, text):
    build(namespace)
    lab.nic(A, "nic0")
    lab.network.snapshot = lambda peers: snapshot(peers, namespace.name)
    (found,) = plan(lab.machine(), [A], BindRequest())
    blocking = {str(reason): reason.name for reason in found.blocking(frozenset())}
    assert blocking.get(text) == name, blocking


def test_idle(lab, namespace):
    lab.nic(A, "nic0")
    lab.network.snapshot = lambda peers: snapshot(peers, namespace.name)
    (found,) = plan(lab.machine(), [A], BindRequest())
    assert not found.blocking(frozenset())


def test_the_kernel_says_which_way_a_login_came(lab, namespace):
    """Through a policy table that only the kernel's own look-up finds."""
    namespace.ip("address add 10.0.0.1/24 dev nic0")
    namespace.ip("route add 203.0.113.0/24 via 10.0.0.2 table 1000")
    namespace.ip("rule add to 203.0.113.0/24 table 1000")
    lab.nic(A, "nic0")
    lab.environ["SSH_CONNECTION"] = "203.0.113.9 1 10.0.0.1 22"
    lab.network.snapshot = lambda peers: snapshot(peers, namespace.name)
    (found,) = plan(lab.machine(), [A], BindRequest())
    assert "ssh" in {reason.name for reason in found.blocking(frozenset())}


def test_a_macvlan_in_a_container_is_found(namespace):
    """The other namespace's interface stands on one of ours; snapshot runs inside the namespace."""
    other = Namespace()
    try:
        namespace.ip("link add link nic0 name mac9 type macvlan mode bridge", skip=True)
        namespace.ip(f"link set mac9 netns {other.name}")
        code = (
            "from uspnet.binding.netlink import snapshot; s = snapshot();"
            "print(s.foreign, s.link('nic0').index)"
        )
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{namespace.name}", os.sys.executable, "-c", code],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        subprocess.run(["ip", "netns", "del", other.name], check=True)
    index = done.stdout.split()[-1]
    assert f"({index}, 'mac9')" in done.stdout


RESTORED = [bond, bridge, macvlan, vlan, nexthop_object, policy_table, vrf, ipv6_only, multipath,
            many_addresses]  # fmt: skip


@pytest.mark.parametrize("build", [*RESTORED[:5], *full(*RESTORED[5:])])
def test_everything_comes_back(lab, namespace, build):
    """The interface vanishes as on unbinding, comes back with another name and number, down."""
    build(namespace)
    before = namespace.quiet()
    saved = json.loads(json.dumps(collect(snapshot((), namespace.name), lab.tree, ("nic0",))))
    namespace.ip("link del nic0")
    assert namespace.show() != before
    namespace.nic("new0")
    namespace.ip("link set new0 down")
    assert apply(saved, lab.tree, {"nic0": "new0"}, 0.0, namespace.name) == []
    assert namespace.settles(before)
    assert apply(saved, lab.tree, {"nic0": "nic0"}, 0.0, namespace.name) == []  # again: no harm
    assert namespace.settles(before)


def test_who_set_an_address_stays_known(lab, namespace):
    def look():
        saved = json.loads(json.dumps(collect(snapshot((), namespace.name), lab.tree, ("nic0",))))
        return saved, next(each for each in saved["addresses"] if each["prefixlen"] == 24)

    namespace.ip("address add 10.9.0.1/24 dev nic0")
    saved, address = look()
    namespace.ip("address del 10.9.0.1/24 dev nic0")
    address["attrs"].append(["IFA_PROTO", 80])
    assert apply(saved, lab.tree, {"nic0": "nic0"}, 0.0, namespace.name) == []
    assert ["IFA_PROTO", 80] in look()[1]["attrs"]


def test_a_lease_that_ran_out_is_said(lab, namespace):
    namespace.ip("address add 10.0.0.1/24 dev nic0 valid_lft 100 preferred_lft 50")
    saved = collect(snapshot((), namespace.name), lab.tree, ("nic0",))
    assert apply(saved, lab.tree, {"nic0": "nic0"}, 200.0, namespace.name) == [
        "the lease of 10.0.0.1 has expired"
    ]
