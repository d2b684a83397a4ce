# SPDX-License-Identifier: Apache-2.0
"""fwd --mode route --kernel-routes by the tables of another network namespace."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports.test_kernel_routes import hosts_of
from tests.support.cold import upgrade
from tests.support.processes import Running, children_named
from tests.support.talking import talk
from tests.support.waiting import scaled, until
from uspnet.errors import NoDevice, Usage
from uspnet.jobs.forward.following import Follower
from uspnet.jobs.forward.interfaces import interfaces
from uspnet.jobs.forward.lpm import IPV4, IPV6
from uspnet.kernel import netns
from uspnet.ports.registry import make_port

PORT = 7000


def threads_elsewhere(pid):
    """The threads of a process that are in another network namespace than the process."""
    home, found = Path(f"/proc/{pid}/ns/net").readlink(), []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += [task] if (task / "ns/net").readlink() != home else []
    return found


class Routed:
    """Two hosts, and what is between them: a router, whose tables are changed by `enter`."""

    def __init__(self, hosts, enter):
        self.hosts, self.enter, self.turn = hosts, enter, 0

    def follows_a_change(self):
        """Adds a route of each family; returns once packets take both."""
        self.turn += 1
        for net, via in (
            (f"10.9.{self.turn}.{{}}/24", "10.0.1.1"),
            (f"fd09:{self.turn}::{{}}/64", "fd00:1::1"),
        ):
            self.hosts[1].ip("address", "add", net.format(1), "dev", "h1", "nodad")
            words = ["ip", "route", "add", net.format(0), "via", via]
            subprocess.run([*self.enter, *words], check=True)
            self.arrives(net.format(1).partition("/")[0])

    def arrives(self, to):
        kind = socket.AF_INET6 if ":" in to else socket.AF_INET
        with self.hosts[1].entered():
            sock = socket.socket(kind, socket.SOCK_DGRAM)
        with self.hosts[0].entered():
            out = socket.socket(kind, socket.SOCK_DGRAM)
        with sock, out:
            sock.bind((to, PORT))
            sock.settimeout(0.02)

            def came():
                out.sendto(b"x", (to, PORT))
                try:
                    return sock.recv(1) == b"x"
                except TimeoutError:
                    return False

            until(came)


def test_a_router_goes_by_the_tables_of_the_namespace_of_its_ports(namespaces):
    middle = namespaces()
    hosts = hosts_of(middle, namespaces)
    words = [f"packet:{middle.name}/r{number}" for number in (0, 1)]
    words += ["--mode", "route", "--kernel-routes", "r0,r1", "--json"]
    job = Running([sys.executable, "-m", "uspnet", "fwd", *words])
    middle.started.append(job)
    job.wait()
    pid, router = job.process.pid, Routed(hosts, middle.command())
    talk(hosts, socket.AF_INET, "10.0.1.1", scaled(20))
    talk(hosts, socket.AF_INET6, "fd00:1::1", scaled(20))
    router.follows_a_change()
    (thread,) = threads_elsewhere(pid)
    assert "CapEff:\t0000000000000000" in (thread / "status").read_text()
    assert upgrade(pid)[0] == 0
    router.follows_a_change()
    code, _, err = upgrade(pid, "--cold")
    assert code == 1
    assert "its interface is in another network namespace" in err
    (worker,) = children_named(pid, "uspnet-worker")
    os.kill(worker, signal.SIGKILL)
    job.hears("a new one goes on")
    router.follows_a_change()
    subprocess.run(["ip", "netns", "delete", middle.name], check=True)
    subprocess.run(["ip", "netns", "add", middle.name], check=True)  # another one of that name
    router.enter = ["nsenter", f"--net={thread}/ns/net"]
    router.follows_a_change()
    result = job.end()
    assert (result["restarts"], result["upgrades"]) == (1, 1)
    assert result["route"]["neighbors"] >= 4


def test_names_say_the_namespace_and_all_are_in_one(namespaces):
    inside, other = namespaces(), namespaces()
    for each in (inside, other):
        each.veth("d0", "d1")
    there = inside.name
    ports = [make_port(f"packet:{there}/d0"), make_port("null:")]
    for given in ("d0,d1", f"{there}/d0,{there}/d1", f"d0,{there}/d1"):
        assert interfaces(given, ports) == (there, ["d0", "d1"])
    with inside.entered():
        assert interfaces("d0,d1", ports) == ("", ["d0", "d1"])
        assert interfaces(f"d1,{there}/d0", ports) == ("", ["d1", "d0"])
    with inside.entered(), pytest.raises(Usage, match=f"{there} and {other.name}, each") as error:
        interfaces(f"{there}/d0,{other.name}/d1", ports)
    assert "those of one" in error.value.hint
    ours = [make_port("packet:d0"), make_port("null:")]
    with other.entered(), pytest.raises(Usage, match=f"our own and {there}, each"):
        interfaces(f"d0,{there}/d1", ours)
    with pytest.raises(NoDevice, match="no interface d7") as no_device:
        interfaces(f"d0,{there}/d7", ports)
    assert "interfaces are: lo, d" in no_device.value.hint
    with pytest.raises(NoDevice, match="no network namespace none"):
        interfaces("none/d0,none/d1", ports)


def test_both_families_are_read_there_and_what_the_kernel_forwards_is_told(namespace):
    for number, name in enumerate(("d0", "d1")):
        namespace.veth(name, f"e{name}")
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0")
        namespace.ip("address", "add", f"10.0.{number}.1/24", "dev", name)
        namespace.ip("address", "add", f"fd00:{number}::1/64", "dev", name, "nodad")
    namespace.run("sysctl", "-qw", "net.ipv4.conf.d1.forwarding=1")
    before = netns.identity("")
    follower = Follower(["d0", "d1"], lambda routes, _: routes, namespace.name)
    assert netns.identity("") == before
    assert IPV4.key(bytes([10, 0, 1, 0]), 24) in follower.latest.found[IPV4]
    assert IPV6.key(bytes([0xFD, 0, 0, 1, *bytes(12)]), 64) in follower.latest.found[IPV6]
    (told,) = follower.at_first
    assert told.startswith("d1: the kernel forwards, too")
    assert told.endswith(f"see: ip netns exec {namespace.name} sysctl net/ipv4/conf/d1/forwarding")
