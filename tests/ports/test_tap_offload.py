# SPDX-License-Identifier: Apache-2.0
"""tap with offload=on: two kernels' TCP through it, both ways, and what is on the wire."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import threading

import pytest

from tests.support.captures import write_pcap
from tests.support.waiting import scaled, until

SENT = random.Random(1).randbytes(1_000_000)
WRONG = (
    'tcp.checksum.status == "Bad" or ip.checksum.status == "Bad" or udp.checksum.status == "Bad"'
)


@pytest.fixture
def stacks(namespace, namespaces):
    """The kernel that has t0, and another one behind the port."""
    other = namespaces()
    namespace.veth("a", "b")
    namespace.run("sysctl", "-qw", "net.ipv4.conf.b.rp_filter=1")
    namespace.ip("link", "set", "dev", "a", "netns", other.name)
    other.ip("address", "add", "10.9.0.2/24", "dev", "a")
    other.ip("link", "set", "dev", "a", "up")
    return namespace, other


def echoed(source, sink, address):
    """What comes back of SENT from the other stack, over TCP."""
    with sink.entered():
        server = socket.create_server((address, 7))
    with source.entered():
        client = socket.socket()

    def echo():
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    thread, found = threading.Thread(target=echo), b""
    with server, client:
        client.settimeout(scaled(20))
        thread.start()
        client.connect((address, 7))
        sender = threading.Thread(target=client.sendall, args=(SENT,))
        sender.start()
        while len(found) < len(SENT) and (data := client.recv(1 << 16)):
            found += data
        sender.join()
        client.shutdown(socket.SHUT_WR)
        thread.join()
    return found


def collected(sock, frames):
    """Add what has come to the frames, and return all."""
    with contextlib.suppress(BlockingIOError):
        while True:
            frames.append(sock.recv(1 << 17))
    return frames


def test_segments_are_right_and_few_packets_pass_the_kernel(stacks, tmp_path, needs):
    needs("tshark")
    namespace, other = stacks
    fwd = namespace.start("fwd", "tap:t0,ip=10.9.0.1/24,offload=on", "packet:b")
    wire, frames = other.socket("a", 0), []
    assert echoed(namespace, other, "10.9.0.2") == SENT
    collected(wire, frames)  # there is no room for more than that
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, 103, 500)  # UDP_SEGMENT
        sock.sendto(SENT[:2001], ("10.9.0.2", 9))
    until(lambda: sum(frame[23:24] == b"\x11" for frame in collected(wire, frames)) == 5)
    kernel = namespace.counted("t0")
    tap, _ = fwd.end()["ports"]
    assert kernel["tx"]["packets"] < tap["rx_packets"], "whole packets come from the kernel"
    assert kernel["rx"]["packets"] < tap["tx_packets"], "and go there"
    assert max(map(len, frames)) <= 1514
    assert sum(map(len, frames)) > len(SENT)
    assert_right(frames, tmp_path / "wire.pcap")


def assert_right(frames, path):
    """No checksum is wrong, as tshark finds."""
    write_pcap(path, frames)
    words = [
        name for kind in ("tcp", "udp", "ip") for name in ("-o", f"{kind}.check_checksum:TRUE")
    ]
    command = [shutil.which("tshark"), "-r", path, *words, "-Y", WRONG]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
