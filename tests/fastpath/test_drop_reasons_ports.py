# SPDX-License-Identifier: Apache-2.0
"""As test_drop_reasons.py, of memif, capture files and the kernel's interfaces: each frame that a
ring does not pass on is counted once, under the reason that it has.
"""

import socket

import pytest

from tests.fastpath import test_packet_ring as packet_ring
from tests.support.drops import reasons
from tests.support.memif_rig import NEXT, Rig
from tests.support.pcap_rig import Reader, block, enhanced, interface, section
from uspnet.fastpath import ffi, lib
from uspnet.pool import Pool

GOOD = bytes(60)


# -- memif -----------------------------------------------------------------------------------------

MEMIF = [
    ([{"region": 1}], "bad_slot"),
    ([{"length": 0}], "bad_length"),
    ([{"length": 0xFFFFFFFF}], "bad_length"),
    ([{"flags": NEXT}, {"region": 1}], "bad_slot"),
    ([{"flags": NEXT}, {"length": 0}], "bad_length"),
    ([{"flags": NEXT, "length": 1500}, {"length": 1500}], "too_long"),
    ([{"flags": NEXT}] * 8, "bad_chain"),
]


@pytest.mark.parametrize(
    ("kind", "slots", "reason"),
    [
        (kind, slots, reason)
        for slots, reason in MEMIF
        for kind in ("copy-rx-server", "copy-rx-client", "zero-rx-client")
        if kind.endswith("server") or reason != "bad_slot"  # a client knows where its slots are
    ],
)
def test_memif_receive(kind, slots, reason):
    rig = Rig(kind)
    rig.receive()
    for slot in slots:
        rig.lie(**slot)
    assert rig.receive_all() == []
    assert reasons(rig.counters) == {reason: 1}
    assert rig.conserved()


@pytest.mark.parametrize("kind", ["copy-tx-client", "copy-tx-server"])
def test_memif_transmit(kind):
    rig = Rig(kind, log2=1, slot=512)
    assert rig.send(GOOD, bytes(1500)) == 1, "the peer may drain the ring first"
    rig.drain()
    assert rig.send(b"", bytes(1500), GOOD) == 3
    assert reasons(rig.counters) == {"too_long": 1, "too_short": 1}
    assert rig.counters.packets == 2


@pytest.mark.parametrize("kind", ["copy-tx-client", "copy-tx-server", "zero-tx-client"])
def test_memif_peer_that_left(kind):
    rig = Rig(kind, start=65533)
    assert rig.send(*[GOOD] * 7) == 7
    assert len(rig.drain(2)) == 2
    assert lib.memif_untaken(rig.m) == 5
    for _ in range(2):  # counted once, however often somebody asks for it
        lib.memif_take_back(rig.m)
        assert reasons(rig.counters) == {"peer_left": 5}
        assert (rig.counters.packets, rig.counters.bytes) == (2, 2 * len(GOOD))


def test_memif_chains_that_nobody_took_are_one_packet_each():
    rig = Rig("copy-tx-server", slot=64)
    assert rig.send(bytes(200), GOOD) == 2
    lib.memif_take_back(rig.m)
    assert reasons(rig.counters) == {"peer_left": 2}
    assert (rig.counters.packets, rig.counters.bytes) == (0, 0)


def test_memif_believes_a_peer_that_left_only_what_can_be_true():
    rig = Rig("zero-tx-client")
    assert rig.send(GOOD, GOOD) == 2
    for slot in rig.ring.slots[0:8]:
        slot.length = 0xFFFFFFFF
    rig.m.theirs[0] = 0x8000
    lib.memif_take_back(rig.m)
    assert reasons(rig.counters) == {"peer_left": 2}
    assert (rig.counters.packets, rig.counters.bytes) == (0, 0)


# -- capture files ---------------------------------------------------------------------------------

HEAD = section("<") + interface("<")
PCAP = [
    (HEAD + enhanced("<", 5, bytes(1601)), "too_long"),
    (HEAD + enhanced("<", 5, b""), "too_short"),
    (section("<") + interface("<", link=101) + enhanced("<", 5, GOOD), "not_ethernet"),
    (HEAD + enhanced("<", 5, GOOD)[:-20], "bad_length"),
    (HEAD + block("<", 6, bytes(12) + b"\xff" * 8 + bytes(20)), "bad_length"),
    (HEAD + enhanced("<", 5, GOOD, 7), "bad_record"),
]


@pytest.mark.parametrize(("data", "reason"), PCAP, ids=[f"{n} {c[1]}" for n, c in enumerate(PCAP)])
def test_pcap_receive(data, reason):
    reader = Reader(data)
    assert reader.burst(7) == []
    assert reasons(reader.counters) == {reason: 1}


# -- the kernel's ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "odd", "reason"),
    [
        (13, {}, "too_short"),
        (60, {"len": 3000, "snap": 3000}, "too_long"),
        (60, {"len": 61}, "too_long"),
        (60, {"mac": 1}, "bad_length"),
        (60, {"mac": 65500}, "bad_length"),
    ],
)
def test_packet_receive(length, odd, reason):
    ring = packet_ring.Ring()
    ring.block(0, [packet_ring.frame(1, length)], **odd)
    assert ring.receive() == []
    assert reasons(ring.counters) == {reason: 1}
    ffi.release(ring.view)
    ring.pool.close()


class Sender:
    """A transmit queue of the kernel's on one end of a socket pair."""

    def __init__(self, name):
        self.ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ends[0].setblocking(False)
        self.ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        self.pool = Pool(64, 9000)
        self.counters = ffi.new("struct counters *")
        self.stack = self.pool.stack(64)
        self.c = ffi.new(f"struct {name}_queue *")
        self.c.q.pool, self.c.q.stack, self.c.q.counters = self.pool.c, self.stack, self.counters
        self.c.fd = self.ends[0].fileno()

    def close(self):
        self.pool.close()
        for end in self.ends:
            end.close()


def test_packet_transmit():
    sender = Sender("packet")
    packets = ffi.new("struct packet[3]", [(0, 0, 60), (1, 0, 9000), (2, 0, 60)])
    sender.stack.top -= 3
    assert lib.packet_tx(ffi.addressof(sender.c.q), packets, 3) == 3
    assert reasons(sender.counters) == {"too_long": 1}
    assert sender.counters.packets == 2
    sender.close()


def test_packet_transmit_of_ip_alone():
    sender = Sender("packet")
    packets = ffi.new("struct packet[2]", [(0, 0, 13), (1, 0, 60)])
    sender.stack.top -= 2
    assert lib.packet_ip_tx(ffi.addressof(sender.c.q), packets, 2) == 2
    assert reasons(sender.counters) == {"too_short": 1, "not_ip": 1}
    sender.close()


def test_tap_receive():
    sender = Sender("tap")
    for length in (60, sender.pool.room):
        sender.ends[1].send(bytes(length))
    packets = ffi.new("struct packet[8]")
    assert lib.tap_rx(ffi.addressof(sender.c.q), packets, 8) == 1
    assert reasons(sender.counters) == {"too_long": 1}
    sender.close()
