# SPDX-License-Identifier: Apache-2.0
"""`uspnet attach` on a NIC through VFIO, in a guest: its kernel goes on using the NIC, and an SSH
session over it stays up from before `bind` until after `unbind`.
"""

from __future__ import annotations

import errno
import hashlib
import random
import signal
import socket
import subprocess

import pytest

from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until
from tests.vm.far import INTERFACE, FarKernel, Ssh
from tests.vm.network import interface, quiet, settled
from tests.vm.test_traffic import bind, unbind
from tests.vm.test_upgrade import upgraded
from tests.vm.topologies import REASONS, addressed

KIND = "e1000e"
NEAR, FAR, MTU = "10.77.0.1", "10.77.0.2", 1400  # as `addressed` has them
PORT = 7
SENT = random.Random(1).randbytes(by_tier(16, 64) << 20)
# Takes all that is sent, prints its sum, and sends it back.
SERVER = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
with connection:
    parts = []
    while part := connection.recv(1 << 18):
        parts.append(part)
    data = b"".join(parts)
    print(hashlib.sha256(data).hexdigest())
    connection.sendall(data)
"""
CHECKS = [word for name in ("ip", "tcp") for word in ("-o", f"{name}.check_checksum:TRUE")]
WRONG = f"ip.checksum.status == 0 || tcp.checksum.status != 1 || ip.len > {MTU}"


@pytest.fixture
def far(guest, nic, namespace):
    """far(kind): the guest's NIC with an address, routes and a small MTU, and a kernel behind it.
    Returns its PCI address.
    """
    made = []

    def make(kind):
        address = nic(addressed, kind)
        made.append(FarKernel(namespace, guest.wires[kind], f"{FAR}/24"))
        return address

    yield make
    for each in made:
        each.close()


@pytest.fixture
def ssh(guest, namespace, needs, tmp_path):
    """ssh(): a session with the guest."""
    for program in ("dropbear", "dbclient"):
        needs(program)
    made = []

    def make():
        made.append(Ssh(guest, namespace, NEAR, tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.close()


def attach(guest, address, name):
    """A job that attaches the NIC, once its interface has a carrier."""
    words = ["uspnet", "attach", address, "--json", "--poll", "sleep"]
    process = guest.background(words)
    until(lambda: has_carrier(guest, name), 180, 0.1, process.output)
    return process


def has_carrier(guest, name):
    """Has this interface one? None that is down or not there yet has."""
    try:
        return guest.read(f"/sys/class/net/{name}/carrier") == "1\n"
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise
        return False


def returned(guest, namespace):
    """What comes back of SENT: its sum; and that of what got there."""
    process = guest.background(["source", SERVER, NEAR, PORT])
    process.first_output()
    with namespace.entered():
        client = socket.socket()
    found = hashlib.sha256()
    with client:
        client.settimeout(scaled(60))
        client.connect((NEAR, PORT))
        client.sendall(SENT)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(1 << 18):
            found.update(data)
    return found.hexdigest(), process.wait().out.split()[-1]


def wrong(path):
    """What tshark finds in a capture of packets that no receiver should get."""
    words = ["tshark", "-n", "-r", path, *CHECKS, "-Y", f"tcp && ({WRONG})"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=scaled(120), check=True)
    return done.stdout.splitlines()


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_ssh_stays_up_over_an_attached_nic(guest, far, ssh, namespace, needs, tcpdump):
    needs("tshark")
    address = far(KIND)
    name, driver = interface(guest, address), guest.driver(address)
    before = quiet(guest, name)
    session = ssh()
    session.answers()
    bind(guest, address, "--allow", ",".join(REASONS[addressed][0] | {"socket"}))
    session.types("echo typed without an interface")
    process = attach(guest, address, name)
    settled(guest, before)
    session.hears("typed without an interface")
    namespace.run("busybox", "ping", "-c", 2, "-w", 30, NEAR)

    dump = tcpdump(INTERFACE)
    wanted = hashlib.sha256(SENT).hexdigest()
    assert returned(guest, namespace) == (wanted, wanted)
    assert len(dump.frames(len(SENT) // MTU)) > len(SENT) // MTU
    assert not wrong(dump.path)

    done = until(lambda: upgraded(guest, process.pid), 120)
    assert (done["kind"], done["dropped"]) == ("warm", 0)
    session.answers()
    settled(guest, before)

    assert "not restored" not in process.output()[1]
    assert process.end().code == -signal.SIGKILL
    until(lambda: name not in guest.names("/sys/class/net"), 60, 0.1)
    assert not guest.messages(f"DMAR.*{address[5:]}.*fault")
    unbind(guest, address)
    assert guest.driver(address) == driver
    settled(guest, before)
    session.answers()
    session.ends(7)
