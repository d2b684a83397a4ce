# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, and what runs in them."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes import Running
from tests.support.waiting import scaled

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
NUMBERS = itertools.count()


class Namespace:
    """A network namespace of the test's own. `warm`: what starts commands to their end in it."""

    def __init__(self, warm=None):
        self.warm = warm
        self.name = f"uspnet-test-{os.getpid()}-{next(NUMBERS)}"
        self.started, self.sockets = [], []
        subprocess.run(["ip", "netns", "add", self.name], check=True)

    def prepare(self):
        """Sets a new one up. Nothing may send there unasked, as IPv6 would."""
        if Path("/proc/sys/net/ipv6").exists():
            self.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            self.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        self.ip("link", "set", "lo", "up")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words, **more):
        more = {"check": True, "capture_output": True, "text": True, "cwd": ROOT, **more}
        return subprocess.run(self.command(*words), **more)  # noqa: PLW1510 - in `more`

    def ip(self, *words):
        return self.run("ip", *words).stdout

    def veth(self, a, b, mtu=1500, more=()):
        """A pair of interfaces, up: what enters one leaves the other. `more`: of each."""
        each = ("mtu", mtu, *more)
        self.ip("link", "add", "name", a, *each, "type", "veth", "peer", "name", b, *each)
        for name in (a, b):
            self.ip("link", "set", "dev", name, "up")

    def link(self, name):
        """What `ip` knows of an interface."""
        return json.loads(self.ip("-json", "-details", "link", "show", "dev", name))[0]

    def counted(self, name):
        """The kernel's counters of an interface, by direction."""
        found = json.loads(self.ip("-json", "-statistics", "link", "show", "dev", name))
        return found[0]["stats64"]

    def programs(self):
        """The interfaces that have an XDP program."""
        return {name for name in self.links() if "xdp" in self.link(name)}

    def addresses(self, name):
        """What `ip` knows of an interface's addresses: a list of one."""
        return json.loads(self.ip("-json", "address", "show", "dev", name))

    def neighbors(self, name):
        """The MAC addresses that the kernel knows on an interface, by IP address; None: it asks."""
        found = json.loads(self.ip("-json", "neighbor", "show", "dev", name))
        return {each["dst"]: each.get("lladdr") for each in found}

    def links(self):
        return {link["ifname"] for link in json.loads(self.ip("-json", "link"))}

    def uspnet(self, *words, check=True):
        """Runs uspnet to its end. Returns the process, with text in stdout and stderr."""
        done = self.warm.run(words, timeout_s=scaled(120), namespace=self.name)
        if check:
            done.check_returncode()
        return done

    def unprivileged(self, *words):
        """Runs uspnet as a root that has no capability."""
        bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        return self.run(*bare, sys.executable, "-m", "uspnet", *words, check=False)

    def start(self, *words):
        """Starts uspnet with --json, and returns it once it moves packets."""
        running = Running(self.command(sys.executable, "-m", "uspnet", *words, "--json"))
        self.started.append(running)
        return running.wait()

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace; sockets opened here stay in it."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as home:
            with Path(f"/run/netns/{self.name}").open() as inside:
                assert libc.setns(inside.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0

    def socket(self, ifname, timeout=None):
        """A raw socket on an interface: the other end of what is tested. `timeout`: seconds that
        a frame is waited for; by default, as long as it may take whoever sends it.
        """
        with self.entered():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            sock.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
            sock.setsockopt(263, 8, 1)  # PACKET_AUXDATA: VLAN tags travel beside the frame
            sock.bind((ifname, ETH_P_ALL))
        sock.settimeout(scaled(10) if timeout is None else timeout)
        return sock

    def close(self):
        for sock in self.sockets:
            sock.close()
        for running in self.started:
            if running.process.poll() is None:
                running.process.kill()
            running.process.communicate()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


@pytest.fixture
def namespaces(warm):
    """Makes namespaces; all are gone after the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    if not shutil.which("ip"):
        pytest.skip("ip is not installed: apt-get install iproute2")
    with contextlib.ExitStack() as undo:

        def make():
            namespace = Namespace(warm)
            undo.callback(namespace.close)
            namespace.prepare()
            return namespace

        yield make


@pytest.fixture
def namespace(namespaces):
    """One network namespace, empty but for `lo`."""
    return namespaces()
