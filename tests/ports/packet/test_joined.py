# SPDX-License-Identifier: Apache-2.0
"""packet: frames that the kernel joined or left to a NIC, beside what the kernel makes of them."""

from __future__ import annotations

import random
import socket
import struct
import subprocess

import pytest

from tests.support.waiting import scaled

ETHERNET = bytes.fromhex("020000000002020000000001")
V4, V6 = 0x0800, 0x86DD
TCP, UDP, SCTP = 6, 17, 132
GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, ECN = 1, 4, 5, 0x80
FIN, PSH, ACK, ECE, CWR = 0x01, 0x08, 0x10, 0x40, 0x80
SOL_PACKET, PACKET_VNET_HDR = 263, 15
DATA = random.Random(1).randbytes(1 << 16)


def total(data):
    """The Internet checksum's sum."""
    data += bytes(len(data) % 2)
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


class Joined:
    """One frame with the virtio header that goes in front of it."""

    def __init__(self, version, protocol, payload, size, **more):
        """`more`: flags, options (of IPv4), extensions (of IPv6), tag and ecn."""
        self.tags = more.get("tag", b"")
        body = self.transport(protocol, payload, more.get("flags", ACK))
        self.ip = self.network(version, protocol, len(body), more)
        start = len(ETHERNET) + len(self.tags) + 2 + len(self.ip)
        offset = {TCP: 16, UDP: 6, SCTP: 8}[protocol]
        pseudo = self.addresses + struct.pack("!IBBH", len(body), 0, 0, protocol)
        if protocol != SCTP:
            body[offset : offset + 2] = struct.pack("!H", total(pseudo))
        self.start, self.size, self.payload = start, size, payload
        kind = {TCP: GSO_TCPV4 if version == 4 else GSO_TCPV6, UDP: GSO_UDP_L4, SCTP: 0}[protocol]
        kind = (kind if size else 0) | (ECN if more.get("ecn") else 0)
        self.header = struct.pack("=BBHHHH", 1, kind, len(body) - len(payload), size, start, offset)
        ether = struct.pack("!H", V4 if version == 4 else V6)
        self.frame = ETHERNET + self.tags + ether + self.ip + bytes(body)

    def transport(self, protocol, payload, flags):
        if protocol == UDP:
            return bytearray(struct.pack("!HHHH", 5000, 9, 8 + len(payload), 0) + payload)
        if protocol == SCTP:
            return bytearray(struct.pack("!HHII", 5000, 9, 7, 0) + payload)
        options = bytes.fromhex("0101080a0000000100000002")
        head = struct.pack("!HHIIBBHHH", 5000, 9, 0xFFFFF000, 7, 0x80, flags, 512, 0, 0)
        return bytearray(head + options + payload)

    def network(self, version, protocol, length, more):
        if version == 4:
            self.addresses = bytes([198, 18, 0, 1, 198, 18, 0, 2])
            options, ttl = more.get("options", b""), 64
            size = 20 + len(options)
            head = [0x40 | size // 4, 0, size + length, 0xFFFE, 0x4000, ttl, protocol]
            text = struct.pack("!BBHHHBBH", *head, 0) + self.addresses + options
            return text[:10] + struct.pack("!H", 0xFFFF - total(text)) + text[12:]
        self.addresses = bytes(range(16)) + bytes(range(16, 32))
        extensions = more.get("extensions", b"")
        first = more.get("first", protocol)
        long = len(extensions) + length
        return struct.pack("!IHBB", 0x60012345, long, first, 64) + self.addresses + extensions


def send(namespace, ifname, joined):
    sock = namespace.socket(ifname)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    return sock.send(joined.header + joined.frame)


@pytest.fixture
def cables(namespace, needs):
    """Two cables: what is sent into `whole` is not cut up by the kernel, into `cut` it is."""
    needs("ethtool")
    namespace.veth("whole", "ours")
    namespace.veth("cut", "theirs")
    off = ["tso", "gso", "gro", "tx", "sg", "txvlan", "tx-udp-segmentation"]
    namespace.run(
        "ethtool", "-K", "cut", *[word for name in off for word in (name, "off")], check=False
    )
    return namespace


TAG = struct.pack("!HH", 0x8100, 0x6005)
OUTER = struct.pack("!HH", 0x88A8, 7)
CASES = {
    "tcp4": Joined(4, TCP, DATA[:5000], 1448, flags=ACK | PSH | FIN),
    "tcp4 one byte over": Joined(4, TCP, DATA[:2897], 1448, flags=ACK | PSH),
    "tcp4 odd pieces": Joined(4, TCP, DATA[:4001], 333),
    "tcp4 ecn": Joined(4, TCP, DATA[:5000], 1448, flags=ACK | CWR | ECE, ecn=True),
    "tcp4 ip options": Joined(4, TCP, DATA[:5000], 1400, options=b"\x01" * 8),
    "tcp4 64 KiB": Joined(4, TCP, DATA[: 65535 - 52 - 14], 1448, flags=ACK | PSH),
    "tcp4 tagged": Joined(4, TCP, DATA[:5000], 1448, tag=TAG),
    "tcp4 tagged twice": Joined(4, TCP, DATA[:5000], 1440, tag=OUTER + TAG),
    "tcp6": Joined(6, TCP, DATA[:5000], 1428, flags=ACK | PSH | FIN),
    "tcp6 ecn tagged": Joined(6, TCP, DATA[:5000], 1424, flags=ACK | CWR, ecn=True, tag=TAG),
    "tcp6 options": Joined(
        6, TCP, DATA[:5000], 1400, first=60, extensions=bytes([TCP, 0, 1, 4, 0, 0, 0, 0])
    ),
    "udp4": Joined(4, UDP, DATA[:5000], 1472),
    "udp4 small": Joined(4, UDP, DATA[:301], 10),
    "udp6": Joined(6, UDP, DATA[:5000], 1452, tag=TAG),
    "plain tcp4": Joined(4, TCP, DATA[:333], 0),
    "plain udp6": Joined(6, UDP, DATA[:334], 0),
}


@pytest.mark.parametrize("name", CASES)
def test_joined_frames_are_cut_up_as_the_kernel_does(cables, drive, read_frames, wait_until, name):
    port, theirs, seen = drive("packet:ours"), cables.socket("theirs"), []
    joined = CASES[name]
    pieces = -(-len(joined.payload) // joined.size) if joined.size else 1
    send(cables, "cut", joined)
    wanted = read_frames(theirs, pieces)
    send(cables, "whole", joined)
    wait_until(lambda: seen.extend(port.receive(7)) or len(seen) >= pieces)
    assert [frame for frame, _ in seen] == wanted
    assert len({stamp for _, stamp in seen}) == 1
    assert port.counters[0].errors + port.counters[0].dropped == 0
    assert port.counters[0].bytes == sum(map(len, wanted))


def test_a_checksum_of_zero_is_another_zero_in_udp_alone(cables, drive, wait_until):
    port = drive("packet:ours")
    for protocol, offset, wanted in ((UDP, 6, 0xFFFF), (TCP, 16, 0)):
        plain = Joined(4, protocol, bytes(64), 0)
        at = plain.start + offset
        missing = 0xFFFF - total(plain.frame[plain.start :])
        frame = plain.frame[:-2] + struct.pack("!H", missing)  # now the sum is 0xFFFF
        plain.frame = frame
        assert total(frame[plain.start :]) == 0xFFFF
        send(cables, "whole", plain)
        seen = []
        wait_until(lambda seen=seen: seen.extend(port.receive()) or seen)
        assert struct.unpack_from("!H", seen[0][0], at)[0] == wanted


def test_sctp_gets_its_own_checksum(cables, drive, wait_until):
    port, seen = drive("packet:ours"), []
    send(cables, "whole", Joined(4, SCTP, b"123456789", 0))
    wait_until(lambda: seen.extend(port.receive()) or seen)
    frame = seen[0][0]
    assert frame[42:46] == crc32c(frame[34:42] + bytes(4) + frame[46:])


def crc32c(data):
    """As RFC 9260's appendix A has it, the least byte first."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def test_the_crc_is_the_one_of_the_standard():
    assert crc32c(b"123456789") == struct.pack("<I", 0xE3069283)


def test_what_cant_be_cut_up_is_dropped_and_told(namespace, namespaces, wait_until):
    """A stream inside of a tunnel is joined there: its outer headers are UDP's."""
    other = namespaces()
    namespace.veth("a", "b")
    namespace.ip("link", "set", "dev", "b", "netns", other.name)
    for place, wire, last in ((namespace, "a", 1), (other, "b", 2)):
        far = f"10.9.0.{3 - last}"
        place.ip("address", "add", f"10.9.0.{last}/24", "dev", wire)
        place.ip("link", "set", "dev", wire, "up")
        try:
            place.ip("link", "add", "t0", "type", "vxlan", "id", 5, "dstport", 4789, "remote", far)
        except subprocess.CalledProcessError:
            pytest.skip("this kernel lacks a kind of interface: vxlan")
        place.ip("address", "add", f"10.8.0.{last}/24", "dev", "t0")
        place.ip("link", "set", "dev", "t0", "up")
    capture = other.start("capture", "packet:b")
    with other.entered():
        server = socket.create_server(("10.8.0.2", 7))
    with namespace.entered():
        client = socket.create_connection(("10.8.0.2", 7), timeout=scaled(5))
    with server, client, server.accept()[0] as peer:
        client.sendall(bytes(200_000))
        assert len(peer.recv(200_000, socket.MSG_WAITALL)) == 200_000
    wait_until(lambda: capture.count("rx_dropped") > 0)
    result = capture.end()
    assert list(result["drops"]) == ["joined"]
    assert result["received"] == result["discarded"] + result["drops"]["joined"]
