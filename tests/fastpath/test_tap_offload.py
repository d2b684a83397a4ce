# SPDX-License-Identifier: Apache-2.0
"""tap with offload=on: what the kernel leaves to us, beside what Scapy makes of it, and what we
join for the kernel. The test plays /dev/net/tun with a socket that keeps packets apart.
"""

from __future__ import annotations

import random
import socket
import struct

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from tests.support.queue_rig import QueueRig
from tests.support.tiers import by_tier
from uspnet.fastpath import ffi, lib
from uspnet.telemetry import drops_by_reason

HEADER = struct.Struct("=BBHHHH")  # struct virtio_net_hdr
PLAIN = bytes(HEADER.size)
TCPV4, TCPV6, UDP_L4 = 1, 4, 5
ROOM = 1522
DATA = random.Random(1).randbytes(1 << 16)
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4, V6 = IP(src="10.0.0.1", dst="10.0.0.2", flags="DF"), IPv6(src="2001:db8::1", dst="2001:db8::2")
STAMP = [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))]


class Rig(QueueRig):
    """A queue in each direction, and the device's end of both."""

    def __init__(self):
        super().__init__(128, ROOM)
        self.device, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.device, self.ours):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        large = self.new("uint8_t[]", lib.TAP_LARGE)
        fd = {"fd": self.ours.fileno()}
        self.rx = self.queue("tap_queue", "tap_offload_rx", {**fd, "large": large})
        self.tx = self.queue("tap_queue", "tap_offload_tx", fd)

    def received(self, *packets, n=64):
        """The frames that become of packets with their headers."""
        for packet in packets:
            self.device.send(packet)
        found = []
        while frames := self.frames_of(self.rx, n):
            found += frames
        return found

    def sent(self, frames):
        """What the device gets of a burst: headers and packets."""
        for packet, frame in zip(self.packets, frames, strict=False):
            self.stack.top -= 1
            packet.index, packet.offset = self.stack.free[self.stack.top], 64
            packet.length = len(frame)
            start = self.pool.c.base + packet.index * self.pool.size + 64
            ffi.memmove(start, frame, len(frame))
        q = ffi.addressof(self.tx.q)
        assert self.tx.q.burst(q, self.packets, len(frames)) == len(frames)
        found = []
        while True:
            try:
                found.append(self.device.recv(1 << 17))
            except BlockingIOError:
                return found

    def drops(self):
        return drops_by_reason([self.rx.q.counters])


@pytest.fixture
def rig():
    made = Rig()
    yield made
    assert made.held == 0
    made.device.close()
    made.ours.close()
    made.pool.close()


def whole(packet):
    """The bytes of a packet with right checksums and lengths."""
    return bytes(packet)


def segment(ip, sequence, payload, flags="A", ident=0, options=STAMP, **more):
    """One TCP segment."""
    ip = ip.copy()
    if ip.version == 4:
        ip.id = ident
    fields = {"sport": 5000, "dport": 9, "ack": 3, "window": 512, **more}
    return whole(ETHER / ip / TCP(seq=sequence, flags=flags, options=options, **fields) / payload)


def stream(ip, total, size, sequence=0xFFFFF000, last="PA"):
    """A TCP stream as segments, as a sender makes them."""
    starts = range(0, total, size)
    return [
        segment(ip, (sequence + at) % (1 << 32), DATA[at : min(at + size, total)],
                last if at + size >= total else "A", number)
        for number, at in enumerate(starts)
    ]  # fmt: skip


def left_undone(packet, size, kind):
    """A packet with the header that leaves checksum and segmentation to us."""
    transport = packet[TCP] if packet.haslayer(TCP) else packet[UDP]
    start, offset = len(packet) - len(transport), 16 if packet.haslayer(TCP) else 6
    network = packet[IP] if packet.haslayer(IP) else packet[IPv6]
    made = bytearray(whole(packet))
    ip = made[len(packet) - len(network) :]
    addresses = ip[12:20] if network.version == 4 else ip[8:40]
    words = addresses + struct.pack("!HH", 6 if offset == 16 else 17, len(transport))
    pseudo = sum(struct.unpack(f"!{len(words) // 2}H", words))
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    made[start + offset : start + offset + 2] = struct.pack("!H", pseudo)
    return HEADER.pack(1, kind, start, size, start, offset) + bytes(made)


@pytest.mark.parametrize("ip", [V4, V6], ids=["IPv4", "IPv6"])
def test_segments_are_those_of_a_sender(rig, ip):
    kind, most = (TCPV4, 1448) if ip.version == 4 else (TCPV6, 1428)
    for total, size in ((64_000, most), (most + 1, most), (5000, 333), (100, 60)):
        tcp = TCP(sport=5000, dport=9, seq=0xFFFFF000, ack=3, flags="PA", window=512, options=STAMP)
        joined = left_undone(ETHER / (ip.copy()) / tcp / DATA[:total], size, kind)
        if ip.version == 4:
            first = int.from_bytes(joined[10 + 18 : 10 + 20], "big")
            assert first == 1, "Scapy's own identification"
        wanted = [
            segment(ip, (0xFFFFF000 + at) % (1 << 32), DATA[at : min(at + size, total)],
                    "PA" if at + size >= total else "A", 1 + number)
            for number, at in enumerate(range(0, total, size))
        ]  # fmt: skip
        assert rig.received(joined) == wanted
    udp = ETHER / ip / UDP(sport=5000, dport=9) / DATA[:2001]
    datagrams = rig.received(left_undone(udp, 500, UDP_L4))
    payloads = [Ether(frame)[UDP].load for frame in datagrams]
    assert payloads == [DATA[at : min(at + 500, 2001)] for at in range(0, 2001, 500)]
    for frame in datagrams:
        again = Ether(frame)
        del again[UDP].chksum
        assert whole(again) == frame
    assert rig.drops() == {}


def test_plain_packets_pass_and_checksums_are_completed(rig):
    frames = [segment(V4, 1, DATA[:n]) for n in (1, 1000)] + [bytes(range(14)), DATA[:1514]]
    assert rig.received(*(PLAIN + frame for frame in frames), n=3) == frames
    for packet in (ETHER / V4 / UDP(dport=9) / DATA[:333], ETHER / Dot1Q(vlan=7) / V6 / TCP()):
        assert rig.received(left_undone(packet, 0, 0)) == [whole(packet)]
    assert rig.drops() == {}


TCP_2000 = ETHER / V4 / TCP() / DATA[:2000]
LIES = {
    "joined": [
        left_undone(TCP_2000, 1000, TCPV6),  # the other version
        left_undone(TCP_2000, 1000, UDP_L4),  # the other protocol
        left_undone(TCP_2000, 1000, 2),  # of no kind
        left_undone(TCP_2000, 0, TCPV4),  # in pieces of no size
        HEADER.pack(1, TCPV4, 54, 1000, 35, 16) + whole(TCP_2000),  # begins elsewhere
        HEADER.pack(1, TCPV4, 54, 1000, 34, 14) + whole(TCP_2000),  # and its checksum
        HEADER.pack(1, TCPV4, 54, 1000, 34, 16) + whole(TCP_2000)[:50],  # cut
        HEADER.pack(0, TCPV4, 54, 1000, 0, 0) + bytes(2000),  # not even IP
    ],
    "bad_checksum": [
        HEADER.pack(1, 0, 0, 0, 0xFFFF, 0xFFFF) + bytes(60),
        HEADER.pack(1, 0, 0, 0, 58, 1) + bytes(60),
    ],
    "too_long": [left_undone(TCP_2000, 1999, TCPV4), PLAIN + bytes(9000), PLAIN + bytes(66_000)],
    "too_short": [b"", b"\0", PLAIN, PLAIN + bytes(13)][1:],
}


def test_a_header_that_lies_is_a_named_drop(rig):
    for packets in LIES.values():
        assert rig.received(*packets) == []
    assert rig.drops() == {reason: len(packets) for reason, packets in LIES.items()}
    assert rig.received(PLAIN + bytes(60)) == [bytes(60)]
    assert rig.rx.q.fault == 0


def test_random_headers_and_packets_do_no_harm(rig):
    noise = random.Random(7)
    good = left_undone(TCP_2000, 1000, TCPV4)
    for _ in range(by_tier(3000, 10_000, 1_000_000)):
        packet = bytearray(good)
        for _ in range(noise.choice([1, 2, 5])):
            packet[noise.randrange(noise.choice([10, 64]))] = noise.randrange(256)
        for frame in rig.received(bytes(packet[: noise.choice([None, 70, 1200])])):
            assert 14 <= len(frame) <= 2048


def test_segments_of_a_connection_reach_the_kernel_as_one_packet(rig):
    for ip, kind in ((V4, TCPV4), (V6, TCPV6)):
        frames = stream(ip, 20 * 1400 + 7, 1400)
        (packet,) = rig.sent(frames)
        end = len(frames[0]) - 1400
        assert HEADER.unpack(packet[:10]) == (1, kind, end, 1400, end - 32, 16)
        assert packet[10 + end :] == DATA[: 20 * 1400 + 7]
        assert rig.received(packet) == frames
    counters = rig.tx.q.counters
    assert (counters.packets, counters.doorbells) == (42, 2)


def changed(frame, at, value=1):
    """A frame with other bits in one byte."""
    return frame[:at] + bytes([frame[at] ^ value]) + frame[at + 1 :]


def test_what_does_not_belong_together_stays_apart(rig):
    a, b = segment(V4, 0, DATA[:100]), segment(V4, 100, DATA[100:200], ident=1)
    other = IP(src="10.0.0.1", dst="10.0.0.3", flags="DF")
    loose = IP(src="10.0.0.1", dst="10.0.0.2")
    c, d = (segment(loose, 100 * n, DATA[:100], ident=0xFFFF + n & 0xFFFF) for n in (0, 1))
    apart = [
        [a, a],  # sent again
        [b, a],  # out of order
        [a, changed(b, -1)],  # a wrong checksum
        [changed(a, 60), b],
        [changed(a, 24), b],  # of IPv4, too
        [a, segment(other, 100, DATA[:100])],
        [a, segment(V4, 100, DATA[:100], dport=10)],
        [a, segment(V4, 100, DATA[:100], ack=4)],
        [a, segment(V4, 100, DATA[:100], window=513)],
        [a, segment(V4, 100, DATA[:100], options=[*STAMP[:2], ("Timestamp", (8, 9))])],
        [a, segment(V4, 100, DATA[:100], options=[])],
        [a, segment(V4, 100, DATA[:101])],  # longer
        [c, segment(loose, 100, DATA[:100], ident=7)],  # without DF, and of another identification
        [a, segment(V4, 100, b"")],
        *([a, segment(V4, 100, DATA[:100], flags)] for flags in ("S", "AU", "R", "AC", "", "AE")),
        [segment(V4, 0, DATA[:100], "PA"), b],  # whole
        [segment(V4, 0, DATA[:100], "S"), segment(V4, 100, DATA[:100], "S")],
        [a + b"\0", b],  # with padding
        *([changed(each, at) for each in (a, b)] for at in (14, 15, 20, 23)),
        [bytes(14), bytes(14)],
    ]
    for frames in apart:
        assert rig.sent(frames) == [PLAIN + frame for frame in frames]
    assert len(rig.sent([a, b])) == len(rig.sent([c, d])) == 1


def test_whatever_is_joined_comes_apart_as_it_was(rig):
    noise = random.Random(3)
    for _ in range(by_tier(6, 20, 1000)):
        frames = []
        while len(frames) < 64:
            size = noise.choice([1, 100, 1400])
            run = stream(noise.choice([V4, V6]), noise.randrange(1, 40) * size, size)
            frames += noise.choice([run, [], run[:3], [DATA[: noise.randrange(14, 1515)]]])
        frames = frames[:64]
        packets = rig.sent(frames)
        assert len(packets) <= len(frames)
        assert all(len(packet) <= 10 + 14 + 65_535 for packet in packets)
        assert rig.received(*packets) == frames


def test_a_worker_that_ends_loses_the_rest_of_a_packet(rig):
    assert len(rig.received()) == 0
    rig.device.send(left_undone(ETHER / V4 / TCP() / DATA[:5000], 1000, TCPV4))
    assert len(rig.frames_of(rig.rx, 2)) == 2
    assert lib.tap_give_up(rig.rx) == 3
    assert rig.received(PLAIN + bytes(60)) == [bytes(60)]
    rig.rx.segments.left, rig.rx.segments.size = 0xFFFFFFFF, 0  # what somebody wrote there
    assert lib.tap_give_up(rig.rx) == 0
