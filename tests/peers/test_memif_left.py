# SPDX-License-Identifier: Apache-2.0
"""What a client handed over and its server never took was not sent. A server can't know that of its
client, which reports the slots that it posts again and not those that it has read.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct

import pytest

from tests.support.memif import raw_memif as raw
from tests.support.waiting import scaled, until

SLOTS = 256


class Sluggard:
    """A server that takes as many packets as it is told to, and then leaves or stays."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.listener.settimeout(scaled(20))
        self.fds = []

    def meet(self):
        self.sock, _ = self.listener.accept()
        raw.say(self.sock, raw.message(raw.HELLO, b"sluggard", 0x200, 0x200, 63, 0, 0, 14))
        while True:
            kind, data, fds = raw.hear(self.sock, scaled(20))
            self.fds += fds
            if kind == raw.ADD_REGION and struct.unpack_from("=H", data, 2)[0] == 0:
                self.ring = mmap.mmap(fds[0], struct.unpack_from("=Q", data, 4)[0])
            if kind == raw.CONNECT:
                raw.say(self.sock, raw.message(raw.CONNECTED, b"sluggard"))
                return
            assert kind, "the client left"
            raw.say(self.sock, raw.message(raw.ACK))

    def head(self):
        return struct.unpack_from("=H", self.ring, 6)[0]

    def take(self, count):
        """Waits for so many packets, and takes them."""
        until(lambda: self.head() >= count)
        struct.pack_into("=H", self.ring, 64, count)

    def leave(self):
        self.sock.close()
        self.ring.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []


@pytest.fixture
def server(tmp_path):
    made = Sluggard(tmp_path / "m")
    yield made
    made.leave()
    made.listener.close()


@pytest.mark.parametrize("zero", ["on", "off"])
def test_packets_that_wait_at_the_end_are_dropped(uspnet, tmp_path, server, zero):
    spec = f"memif:{tmp_path}/m,zero-copy={zero},ring={SLOTS}"
    job = uspnet("pktgen", spec, "--count", 200, "--size", 100)
    server.meet()
    server.take(150)
    result = job.result()
    (port,) = result["ports"]
    assert (port["tx_packets"], port["tx_bytes"]) == (150, 15_000)
    assert port["tx_dropped"] == port["drops"]["peer_left"] == 50
    assert result["sent"] == 150


@pytest.mark.parametrize("zero", ["on", "off"])
def test_packets_that_a_server_leaves_behind_are_dropped_once(uspnet, tmp_path, server, zero):
    spec = f"memif:{tmp_path}/m,zero-copy={zero},ring={SLOTS}"
    job = uspnet("pktgen", spec, "--count", SLOTS + 100, "--size", 100)
    server.meet()
    server.take(56)
    until(lambda: server.head() == SLOTS + 56)  # the ring is full again
    server.leave()
    server.meet()
    server.take(44)
    (port,) = job.result()["ports"]
    assert (port["tx_packets"], port["tx_bytes"]) == (100, 10_000)
    assert port["drops"]["peer_left"] == SLOTS


def test_a_server_that_lies_about_lengths_makes_no_counter_negative(uspnet, tmp_path, server):
    job = uspnet("pktgen", f"memif:{tmp_path}/m,ring={SLOTS}", "--count", 200, "--size", 100)
    server.meet()
    server.take(1)
    for slot in range(SLOTS):
        struct.pack_into("=I", server.ring, 128 + 16 * slot + 4, 0xFFFFFFFF)
    (port,) = job.result()["ports"]
    assert port["tx_packets"] == 1
    assert port["tx_bytes"] == 0
    assert port["drops"]["peer_left"] == 199


@pytest.mark.parametrize("posted", [0, 30])
def test_what_a_client_read_without_posting_it_again_was_sent(uspnet, tmp_path, posted):
    path, memory = tmp_path / "m", raw.Memory(8)
    job = uspnet("pktgen", f"memif:{path},role=server", "--count", 40)
    until(path.exists)
    memory.head(1, memory.size)
    with raw.shake_hands(str(path), memory) as sock:
        until(lambda: memory.tail(1) == 40)
        memory.head(1, memory.size + posted)
        result = job.result()
        sock.shutdown(socket.SHUT_RDWR)
    memory.close()
    (port,) = result["ports"]
    assert (result["sent"], port["tx_packets"], port["tx_dropped"]) == (40, 40, 0)
    assert "peer_left" not in port["drops"]
