# SPDX-License-Identifier: Apache-2.0
"""xdp: below the kernel's own VLAN interfaces, at both ends of a veth pair."""

import pytest

from tests.support.captures import pcap_frames
from tests.support.waiting import until
from tests.vm.conftest import end_others
from tests.vm.test_traffic import received
from tests.vm.test_zero_copy import ended

PAIR = """set -e
ip netns add other
ip link add h0 type veth peer name h1 netns other
ip link set dev h0 up
ip link add link h0 name h0.100 type vlan id 100
ip address add 10.99.0.1/24 dev h0.100
ip link set dev h0.100 up
ip -n other link set dev h1 up
ip -n other link add link h1 name h1.100 type vlan id 100 egress-qos-map 0:3
ip -n other address add 10.99.0.2/24 dev h1.100
ip -n other link set dev h1.100 up
ip -n other neighbor add 10.99.0.77 lladdr 02:00:00:00:00:77 dev h1.100
"""
SEND = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(20):
    sock.sendto(b"%d" % number, ("10.99.0.77", 9))
"""

pytestmark = pytest.mark.full


@pytest.fixture
def other(recent_guest):
    """How to run something at the other end."""
    before = set(recent_guest.processes)
    made = recent_guest.run(["sh", "-c", PAIR])
    yield ["ip", "netns", "exec", "other"]
    assert made.code == 0, made.err
    if not recent_guest.lost:
        end_others(recent_guest, before)
        recent_guest.run(["ip", "netns", "delete", "other"])


def test_its_traffic_goes_on_and_other_frames_have_their_tag(recent_guest, other):
    captured = recent_guest.share / "captured"
    words = ("xdp:h0,keep-host=on", "-F", "pcap", "-w", captured, "--json")
    process = recent_guest.background(["uspnet", "capture", *words])
    until(lambda: "prog/xdp" in recent_guest.run(["ip", "link", "show", "h0"]).out, 60, 0.5)
    pinged = recent_guest.run([*other, "busybox", "ping", "-c", 3, "-w", 30, "10.99.0.1"])
    assert pinged.code == 0, pinged.out + pinged.err
    sent = recent_guest.run([*other, "python3", "-c", SEND])
    assert sent.code == 0, sent.err
    until(lambda: received(recent_guest) >= 20, 30, 0.2, process.output)
    result = ended(process)
    assert result["ports"][0]["how"].startswith("native, copied once by the kernel (zero copy: ")
    seen = [frame for frame in pcap_frames(captured) if frame[:6] == b"\x02\0\0\0\0\x77"]
    assert [frame[12:18] for frame in seen] == [b"\x81\x00\x60\x64\x08\x00"] * 20
    assert [frame[46:] for frame in seen] == [b"%d" % number for number in range(20)]
