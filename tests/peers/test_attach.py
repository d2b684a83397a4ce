# SPDX-License-Identifier: Apache-2.0
"""`uspnet attach`: a kernel that keeps an interface, against another kernel's at the far end."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import threading

import pytest

from tests.support.attached import FAR, MAC, NEAR
from tests.support.identity import answer
from tests.support.tiers import full
from tests.support.waiting import scaled, until
from uspnet.binding.attached import Configuration
from uspnet.jobs.attach.job import Attaching, AttachJob
from uspnet.jobs.plan import Limits
from uspnet.pool import FRAME_MAX
from uspnet.ports.registry import make_port

PORT = 7
SENT = random.Random(1).randbytes(2_000_000)


def transferred(source, sink, address):
    """What a TCP server at this address gets of SENT: its sum."""
    with sink.entered():
        server = socket.create_server((address, PORT))
    with source.entered():
        client = socket.socket()
    found = hashlib.sha256()

    def serve():
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1 << 16):
                found.update(data)

    with server, client:
        for sock in (server, client):
            sock.settimeout(scaled(20))
        thread = threading.Thread(target=serve)
        thread.start()
        client.connect((address, PORT))
        client.sendall(SENT)
        client.shutdown(socket.SHUT_WR)
        thread.join()
    return found.hexdigest()


@pytest.mark.parametrize("kind", ["memif", "packet", *full("xdp", "memif --no-offload")])
def test_the_kernel_goes_on_using_the_port(attached, namespace, kind):
    command, other = attached(*kind.split())
    link = namespace.link("eth7")
    assert (link["address"], link["mtu"]) == (MAC, 1500)
    until(lambda: "LOWER_UP" in namespace.link("eth7")["flags"])
    wanted = hashlib.sha256(SENT).hexdigest()
    assert transferred(namespace, other, FAR) == wanted
    assert transferred(other, namespace, NEAR) == wanted
    before = namespace.counted("eth7")
    assert before["rx"]["bytes"] > len(SENT)
    assert before["tx"]["bytes"] > len(SENT)
    result = command.end(signal.SIGTERM)
    assert result["command"] == "attach"
    port, kernel = result["ports"]
    for ours, theirs in (("tx_packets", "rx"), ("rx_packets", "tx")):
        assert kernel[ours] >= before[theirs]["packets"] > 0
        assert kernel[ours] > len(SENT) / 1500
    if "--no-offload" in kind:
        assert min(before[way]["packets"] for way in ("rx", "tx")) > len(SENT) / 1500
    else:
        assert "no_room" not in result["drops"], "what the kernel sends waits"
    assert result["received"] >= port["rx_packets"] + kernel["rx_packets"]
    assert result["interface"] == {"name": "eth7", "mac": MAC, "mtu": 1500, "not_restored": []}
    assert "eth7" not in namespace.links()


@pytest.mark.full
@pytest.mark.usefixtures("qemu")
def test_kernels_talk_over_emulated_nics_in_large_frames(namespace, namespaces):
    other, wire = namespaces(), f"attach-{os.getpid()}"
    for where, nic, address in ((namespace, "e1000e", NEAR), (other, "igb", FAR)):
        port = f"qemu:{nic},wire={wire},mtu=9000"
        words = ("--name", "eth7", "--mtu", 9000, "--address", f"{address}/24")
        where.start("attach", port, *words)
    for each in (namespace, other):
        until(lambda each=each: "LOWER_UP" in each.link("eth7")["flags"])
    wanted = hashlib.sha256(SENT).hexdigest()
    assert transferred(namespace, other, FAR) == wanted
    assert transferred(other, namespace, NEAR) == wanted
    result = other.started[0].end(signal.SIGTERM)
    nic, kernel = result["ports"]
    assert result["interface"]["mtu"] == 9000
    assert nic["rx_bytes"] > 1500 * nic["rx_packets"], "also of those that only acknowledge"
    assert kernel["rx_bytes"] > len(SENT)


def test_carrier_and_mtu_are_the_ports(attached, namespace):
    namespace.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=0")
    command, other = attached("packet", "--address", "2001:db8::1/64")
    found = namespace.addresses("eth7")[0]["addr_info"]
    assert {each["local"] for each in found} >= {NEAR, "2001:db8::1"}
    namespace.ip("link", "set", "dev", "b", "mtu", 1400)
    until(lambda: namespace.link("eth7")["mtu"] == 1400)
    other.ip("link", "set", "dev", "a", "down")
    until(lambda: "NO-CARRIER" in namespace.link("eth7")["flags"])
    other.ip("link", "set", "dev", "a", "up")
    until(lambda: "LOWER_UP" in namespace.link("eth7")["flags"])
    command.process.send_signal(signal.SIGKILL)
    command.process.wait()
    until(lambda: "eth7" not in namespace.links())


def test_the_mtu_of_the_interface_is_the_ports(attached, namespace, tmp_path):
    command, _ = attached("packet")
    for mtu in (1300, 1500):
        namespace.ip("link", "set", "dev", "eth7", "mtu", mtu)
        until(lambda mtu=mtu: namespace.link("b")["mtu"] == mtu)
    namespace.ip("link", "set", "dev", "eth7", "mtu", 4000)
    command.hears("the MTU is 1500 again: packet:b can't do 4000")
    assert [namespace.link(name)["mtu"] for name in ("eth7", "b")] == [1500, 1500]
    words = (f"memif:{tmp_path}/n.sock,role=server,frame=3000", "--name", "eth8")
    other = namespace.start("attach", *words)
    namespace.ip("link", "set", "dev", "eth8", "mtu", 2986)
    other.hears("the MTU is 2986 now, not 1500")
    namespace.ip("link", "set", "dev", "eth8", "mtu", 2987)
    other.hears("can't do 2987, but 2986 at most (set frame=)")
    assert namespace.link("eth8")["mtu"] == 2986


def test_an_mtu_that_somebody_gives_it_while_it_is_made(namespace, monkeypatch):
    """As systemd-networkd does with an interface whose name it knows."""
    namespace.veth("a", "b")
    given = lambda _, interface: interface.set_mtu(1400) or []  # noqa: E731
    monkeypatch.setattr(Configuration, "apply", given)
    with namespace.entered(), AttachJob(make_port("packet:b"), Limits(), Attaching("eth7")) as job:
        job.start()
        until(lambda: not job.wait(0) and namespace.link("b")["mtu"] == 1400)
        assert namespace.link("eth7")["mtu"] == 1400
        job.stop()
        job.wait()


def test_it_never_has_a_carrier_that_the_port_lacks(namespace, monkeypatch):
    namespace.veth("a", "b")
    namespace.ip("link", "set", "dev", "a", "down")
    seen = []
    look = lambda *_: seen.append(namespace.link("eth7")["flags"]) or []  # noqa: E731
    monkeypatch.setattr(Configuration, "apply", look)
    with namespace.entered(), AttachJob(make_port("packet:b"), Limits(), Attaching("eth7")):
        assert "NO-CARRIER" in namespace.link("eth7")["flags"]
    assert "NO-CARRIER" in seen[0]


def test_a_peer_that_is_not_there_yet_is_no_carrier(namespace, tmp_path):
    path = f"{tmp_path}/m.sock"
    namespace.start("attach", f"memif:{path},role=server", "--name", "eth7")
    assert "NO-CARRIER" in namespace.link("eth7")["flags"]
    peer = namespace.start("capture", f"memif:{path}")
    until(lambda: "LOWER_UP" in namespace.link("eth7")["flags"])
    peer.end()
    until(lambda: "NO-CARRIER" in namespace.link("eth7")["flags"])


@pytest.mark.parametrize("tee", [False, True])
def test_what_a_filter_accepts_goes_elsewhere(namespace, frames, read_frames, tee):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ("--filter", "ether[0] & 1 != 0", "--to", "packet:d", *(["--tee"] if tee else []))
    command = namespace.start("attach", "packet:b", "--name", "eth7", *words)
    wire, side, kernel = (namespace.socket(name) for name in ("a", "c", "eth7"))
    sent = [bytes([number % 2]) + frame[1:] for number, frame in enumerate(frames([60] * 40))]
    hits, others = ([f for f in sent if f[0] & 1 == bit] for bit in (1, 0))
    for frame in sent:
        wire.send(frame)
    assert read_frames(side, len(hits)) == hits
    assert read_frames(kernel, 40 if tee else 20) == (sent if tee else others)
    kernel.send(hits[0])  # what the kernel sends is not looked at
    side.send(hits[1])
    assert sorted(read_frames(wire, 2)) == sorted(hits[:2])
    result = command.end()
    assert result["diverted"] == {"packets": 20, "bytes": 20 * 60}
    assert result["copied"] == (20 if tee else 0)


def test_addresses_that_can_not_be_are_told_and_leave_nothing(namespace):
    namespace.veth("a", "b")
    namespace.ip("address", "add", "10.8.0.1/24", "dev", "b")
    for words, kind, text, hint in (
        (["--address", "10.8.0.1/8"], "Busy", "b has the address 10.8.0.1", "dev b"),
        (["--address", "2001:db8::1/64"], "NotSupported", "IPv6 is disabled", "disable_ipv6"),
    ):
        line = ("attach", "packet:b", "--name", "t", *words, "--json", "--duration", "1")
        done = namespace.uspnet(*line, check=False)
        error = answer(done.stdout)
        assert (done.returncode, error["error"]) == (1, kind), error
        assert text in error["message"]
        assert hint in error["hint"]
    assert namespace.links() == {"lo", "a", "b"}


def test_a_port_whose_mtu_is_too_small_for_an_interface(namespace):
    namespace.ip("link", "set", "lo", "mtu", 1500)
    command = namespace.start("attach", "packet:lo", "--name", "eth7")
    for mtu, followed in ((60, 68), (1400, 1400), (67, 68), (1500, 1500)):
        namespace.ip("link", "set", "lo", "mtu", mtu)
        until(lambda followed=followed: namespace.link("eth7")["mtu"] == followed)
        assert namespace.link("lo")["mtu"] == mtu
    command.end()
    namespace.ip("link", "set", "lo", "mtu", 60)
    done = namespace.uspnet("attach", "packet:lo", "--name", "eth7", check=False)
    assert done.returncode == 2
    assert "up to 74 bytes, an MTU of 60, and an interface has at least 68" in done.stderr
    assert "hint: ip link set dev lo mtu N" in done.stderr


def test_an_mtu_beyond_what_a_packet_buffer_holds_is_not_taken_over(namespace):
    namespace.veth("b", "far")
    namespace.ip("link", "set", "dev", "b", "mtu", 20000)
    namespace.start("attach", "packet:b", "--name", "eth7")
    until(lambda: "eth7" in namespace.links())
    assert namespace.link("eth7")["mtu"] == FRAME_MAX - 22
