# SPDX-License-Identifier: Apache-2.0
"""A port that is attached, and a kernel in another network namespace behind it."""

from __future__ import annotations

import os

import pytest

NEAR, FAR = "10.9.0.1", "10.9.0.2"
MAC = "02:00:00:00:00:07"


@pytest.fixture
def attached(namespace, namespaces, tmp_path, needs):
    """attached(kind, *words) attaches a port of the kind as eth7; a kernel in another namespace is
    behind it. Returns the command and that namespace.
    """

    def make(kind, *words):
        other, path = namespaces(), f"{tmp_path}/m.sock"
        words = ("--name", "eth7", "--address", f"{NEAR}/24", *words)
        if kind == "memif":
            command = namespace.start("attach", f"memif:{path},role=server", "--mac", MAC, *words)
            other.start("fwd", f"memif:{path}", f"tap:a,ip={FAR}/24")
            return command, other
        if kind.startswith("qemu:"):
            wire = f"attach-{os.getpid()}"
            command = namespace.start("attach", f"{kind},wire={wire}", *words)
            far = ("--name", "a", "--address", f"{FAR}/24")
            other.start("attach", f"qemu:virtio-net,wire={wire}", *far)
            return command, other
        namespace.veth("a", "b")
        namespace.ip("link", "set", "dev", "b", "address", MAC)
        namespace.run("sysctl", "-qw", "net.ipv4.conf.b.rp_filter=1")  # it gets all of it as well
        namespace.ip("link", "set", "dev", "a", "netns", other.name)
        other.ip("address", "add", f"{FAR}/24", "dev", "a")
        if kind == "xdp":  # which sees what the kernel would have left to a NIC
            needs("ethtool")
            other.run("ethtool", "-K", "a", "tx", "off")
        other.ip("link", "set", "dev", "a", "up")
        return namespace.start("attach", f"{kind}:b", *words), other

    return make
