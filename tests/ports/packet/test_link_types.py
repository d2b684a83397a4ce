# SPDX-License-Identifier: Apache-2.0
"""packet: on interfaces whose packets do not begin with Ethernet: refused, or given a header."""

from __future__ import annotations

import fcntl
import os
import socket
import struct

import pytest

from tests.support.identity import answer

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
IP4 = bytes.fromhex("4500001c000040004011a6cdc6120902c6120901") + struct.pack("!HHHH", 7, 9, 8, 0)
IP6 = struct.pack("!IHBB", 0x60000000, 8, 17, 64) + bytes(32) + struct.pack("!HHHH", 7, 9, 8, 1)
HEADS = {4: bytes(12) + b"\x08\x00", 6: bytes(12) + b"\x86\xdd"}


@pytest.fixture
def tun(namespace):
    """A TUN interface `t0`, up; gives the descriptor of its other end."""
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"t0", IFF_TUN | IFF_NO_PI))
    namespace.ip("link", "set", "dev", "t0", "up")
    namespace.ip("address", "add", "198.18.9.1/24", "dev", "t0")
    yield fd
    os.close(fd)


def read_all(fd):
    packets = []
    try:
        while True:
            packets.append(os.read(fd, 65536))
    except BlockingIOError:
        return packets


@pytest.mark.parametrize("command", [("capture",), ("pktgen", "-c", "2")])
def test_what_is_not_ethernet_is_refused(namespace, tun, command):
    run = namespace.uspnet(command[0], "packet:t0", *command[1:], "--json", check=False)
    error = answer(run.stdout)
    assert (run.returncode, error["error"]) == (1, "NotSupported")
    assert "raw IP" in error["message"]
    assert "packet:t0,ethernet=add" in error["hint"]
    assert read_all(tun) == []


@pytest.mark.parametrize("link_type", [32, 280, 803, 65535, 4711])
def test_every_other_kind_is_refused(namespace, monkeypatch, link_type):
    from uspnet.errors import NotSupported
    from uspnet.kernel.interface import Interface
    from uspnet.ports.registry import make_port

    monkeypatch.setattr(Interface, "link_type", link_type)
    namespace.veth("a", "b")
    for spec in ("packet:a", "packet:a,ethernet=add"):
        with namespace.entered(), pytest.raises(NotSupported, match="not Ethernet but"):
            make_port(spec).check()


def test_an_ethernet_header_is_put_in_front_where_that_is_wished(tun, drive, wait_until):
    port, seen = drive("packet:t0,ethernet=add,dst=02:00:00:00:00:07,src=02:00:00:00:00:08"), []
    for packet in (IP4, IP6, IP4):
        os.write(tun, packet)
    wait_until(lambda: seen.extend(port.receive()) or len(seen) == 3)
    macs = bytes.fromhex("020000000007020000000008")
    assert [frame for frame, _ in seen] == [
        macs + b"\x08\x00" + IP4,
        macs + b"\x86\xdd" + IP6,
        macs + b"\x08\x00" + IP4,
    ]


def test_it_is_taken_off_again_and_only_ip_is_sent(tun, drive):
    port = drive("packet:t0,ethernet=add")
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    long = HEADS[4] + IP4 + bytes(1473)
    burst = [HEADS[4] + IP4, arp, HEADS[6] + IP6, HEADS[4], b"short", long, HEADS[4] + IP4]
    assert port.send(burst) == len(burst)
    assert read_all(tun) == [IP4, IP6, IP4]
    drops = port.counters[1].drops
    from uspnet.telemetry import REASONS

    assert [drops[REASONS[name]] for name in ("not_ip", "too_short", "too_long")] == [2, 1, 1]
    assert port.counters[1].packets == 3
    assert port.stack.top == port.stack.room


def test_checksums_that_were_left_undone_are_right_there_too(namespace, tun, drive, wait_until):
    port, seen = drive("packet:t0,ethernet=add,outgoing=on"), []
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"anything", ("198.18.9.2", 9))
    wait_until(lambda: seen.extend(port.receive()) or seen)
    assert [frame for frame, _ in seen] == [HEADS[4] + packet for packet in read_all(tun)]


def test_ethernet_needs_no_second_header(namespace):
    namespace.veth("a", "b")
    run = namespace.uspnet("capture", "packet:a,ethernet=add", check=False)
    assert run.returncode == 2
    assert "drop ethernet=add" in run.stderr


def test_loopback_is_ethernet(namespace, wait_until):
    capture = namespace.start("capture", "packet:lo")
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"anything", ("127.0.0.1", 9))
    wait_until(lambda: capture.count("rx_packets") >= 1)
    assert capture.end()["dropped"] == 0
