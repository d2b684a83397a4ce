# SPDX-License-Identifier: Apache-2.0
"""xdp: what users of other AF_XDP tools complain of most, each tried here. The table in docs/xdp.md
names these tests.
"""

from __future__ import annotations

import re
import signal
import socket
import threading
from contextlib import closing

import pytest

from tests.support.interfaces import Driven
from tests.support.paths import ROOT
from tests.support.scribble import traffic
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.errors import DeviceTimeout
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.kernel import xsk
from uspnet.packets.frames import checksum
from uspnet.pool import Pool
from uspnet.ports.registry import make_port

COUNT = 2000


@pytest.fixture
def veth(namespace):
    """The namespace, with interfaces a and b on one cable."""
    namespace.veth("a", "b")
    return namespace


def test_a_start_right_after_a_kill(veth):
    """The kernel lets go of sockets and programs a moment later."""
    for _ in range(by_tier(1, 10)):
        capture = veth.start("capture", "xdp:b")
        capture.process.kill()
        capture.process.wait()
    assert veth.start("capture", "xdp:b").end()["received"] == 0


def test_a_queue_that_becomes_free(veth, drive):
    """A socket of somebody else's, which is closed while the port waits for its queue."""
    other = xsk.XdpSocket()
    with veth.entered():
        pool, index = Pool(64, 2048), socket.if_nametoindex("b")
    other.register(pool)
    for kind in ("fill", "completion", "rx"):
        other.ring(kind, 64)
    other.bind(index, 0, xsk.COPY)
    timer = threading.Timer(0.2, other.close)
    timer.start()
    drive("xdp:b")
    timer.join()
    pool.close()


def test_frames_for_other_machines_are_received(veth):
    for spec, wanted in (("xdp:b", 1), ("xdp:b,promisc=off", 0)):
        port = Driven(veth, spec)
        assert veth.link("b")["promiscuity"] == wanted
        port.close()
        assert veth.link("b")["promiscuity"] == 0


def test_a_link_that_the_program_resets_is_waited_for(veth, drive, monkeypatch):
    """Some NICs do, and send nothing for up to 30 s."""
    monkeypatch.setattr("uspnet.ports.xdp.port.CARRIER_S", 0)
    receiver, sender = drive("xdp:b").port, make_port("xdp:b")
    with veth.entered():
        sender.open()
    with closing(sender):
        veth.ip("link", "set", "dev", "a", "down")
        until(lambda: veth.link("b")["operstate"] != "UP")  # which the kernel does a bit later
        assert not any(port.up() for port in (receiver, receiver, sender))
        with pytest.raises(DeviceTimeout):
            sender.up()  # has attached no program that resets anything


def test_the_end_under_load(veth):
    """Frames arrive while the program is detached and the sockets are closed."""
    veth.start("pktgen", "packet:a")
    for number in by_tier([signal.SIGINT], [signal.SIGINT, signal.SIGTERM]):
        capture = veth.start("capture", "xdp:b")
        until(lambda capture=capture: capture.count("rx_packets") > 0)
        result = capture.end(number)
        assert result["received"] > 0
        assert result["dropped"] == 0
    assert veth.programs() == set()


@pytest.mark.parametrize("options", ["mode=copy,busy-poll=on", "mode=generic"])
def test_all_is_sent_in_every_mode(veth, options):
    ports = [make_port(f"xdp:{name},{options}") for name in "ab"]
    limits = Limits(count=COUNT, poll="sleep")
    with veth.entered(), GenerateJob(ports[0], limits, traffic(), ports[1]) as job:
        result = job.run()
    assert (result.sent, result.received + result.missed) == (COUNT, COUNT)
    assert veth.counted("a")["tx"]["packets"] == COUNT


def test_interfaces_of_one_number_in_two_namespaces(namespaces, frames):
    places, ports = [namespaces() for _ in range(2)], []
    for place in places:
        place.veth("a", "b")
        ports.append(Driven(place, "xdp:b"))
    assert len({place.link("b")["ifindex"] for place in places}) == 1
    for number, place in enumerate(places, start=1):
        source = place.socket("a")
        for frame in frames([60] * number):
            source.send(frame)
    assert [len(port.received(number)) for number, port in enumerate(ports, 1)] == [1, 2]
    for place, port in zip(places, ports, strict=True):
        port.close()
        assert place.programs() == set()


def udp_sum(frame):
    """The checksum over an untagged frame's UDP packet and pseudo-header: 0 if it is right."""
    length = int.from_bytes(frame[38:40])
    return checksum(frame[26:34] + bytes([0, 17]) + frame[38:40] + frame[34 : 34 + length])


@pytest.mark.parametrize("offload", ["on", "off"])
def test_checksums_that_a_veth_leaves_to_its_nic(veth, drive, needs, offload):
    needs("ethtool")
    veth.run("ethtool", "-K", "a", "tx", offload)
    veth.ip("address", "add", "10.9.0.1/24", "dev", "a")
    veth.ip("neighbor", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "a")
    port = drive("xdp:b")
    with veth.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"numbered", ("10.9.0.2", 9))
    (frame,) = port.received(1)
    assert (udp_sum(frame) == 0) == (offload == "off")


def test_the_table_of_complaints_names_tests():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/xdp.md").read_text()))
    code = "".join(file.read_text() for file in (ROOT / "tests/ports/xdp").glob("*.py"))
    assert named <= set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    assert len(named) > 8
