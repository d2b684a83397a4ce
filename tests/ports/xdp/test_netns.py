# SPDX-License-Identifier: Apache-2.0
"""xdp:NETNS/IFNAME: an interface in another network namespace."""

from __future__ import annotations

import os

import pytest

from tests.support.captures import pcap_frames, write_pcap
from tests.support.interfaces import make_frames
from uspnet.errors import NoDevice, NotSupported, Refused
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.doctor_xdp import xdp_rows
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port

FRAMES = make_frames(range(60, 1500, 40))


@pytest.fixture(autouse=True)
def _thread_stays():
    """Each test ends in the namespace that it began in."""
    before = os.readlink("/proc/thread-self/ns/net")
    yield
    assert os.readlink("/proc/thread-self/ns/net") == before


@pytest.fixture
def cable(namespace):
    """A namespace with a cable in it, from `a` to `b`."""
    namespace.veth("a", "b")
    namespace.ip("address", "add", "192.0.2.7/24", "dev", "b")
    return namespace


def test_packets_leave_there(cable, tmp_path, tcpdump):
    write_pcap(tmp_path / "in.pcap", FRAMES)
    dump = tcpdump("b")
    ports = [make_port(f"pcap:{tmp_path}/in.pcap"), make_port(f"xdp:{cable.name}/a")]
    with ForwardJob(ports, Limits(), Forwarding()) as job:
        assert job.run().forwarded == len(FRAMES)
    assert dump.frames(len(FRAMES)) == FRAMES
    assert cable.programs() == set()


def test_packets_are_received_there(cable, tmp_path):
    port = make_port(f"xdp:{cable.name}/b,promisc=on")
    sink = make_sink(str(tmp_path / "x.pcap"), "pcap", 65535, 4)
    with CaptureJob(port, Limits(count=len(FRAMES)), sink) as job:
        job.start()
        assert cable.programs() == {"b"}
        assert cable.link("b")["promiscuity"] == 1
        raw = cable.socket("a")
        for frame in FRAMES:
            raw.send(frame)
        job.wait()
    assert list(pcap_frames(tmp_path / "x.pcap")) == FRAMES
    assert cable.programs() == set()


def test_its_own_addresses_are_kept(cable):
    port = make_port(f"xdp:{cable.name}/b,keep-host=on")
    port.open()
    try:
        assert "dst host 192.0.2.7" in port.only.text
    finally:
        port.close()


def test_its_default_route_is_kept(cable):
    cable.ip("route", "add", "default", "via", "192.0.2.1")
    with (
        CaptureJob(make_port(f"xdp:{cable.name}/b"), Limits(), None) as job,
        pytest.raises(Refused, match="default route") as raised,
    ):
        job.start()
    assert f"packet:{cable.name}/b" in raised.value.hint
    assert cable.programs() == set()


def test_a_default_route_on_top_of_it_is_kept(cable, namespaces):
    """By the names of its own namespace: what sysfs shows is another one's."""
    for words in (
        ("link", "add", "name", "br", "type", "bridge"),
        ("link", "set", "dev", "b", "master", "br"),
        ("link", "set", "dev", "br", "up"),
        ("address", "flush", "dev", "b"),
        ("address", "add", "192.0.2.9/24", "dev", "br"),
        ("route", "add", "default", "via", "192.0.2.1", "dev", "br"),
    ):
        cable.ip(*words)
    with (
        CaptureJob(make_port(f"xdp:{cable.name}/b"), Limits(), None) as job,
        pytest.raises(Refused, match="br carries"),
    ):
        job.start()
    done = namespaces().uspnet("pktgen", f"packet:{cable.name}/b", "-c", 1, check=False)
    assert (done.returncode, "through br" in done.stderr) == (3, True)


def test_the_doctor_looks_there(cable):
    found = {check: text for check, _, text, _ in xdp_rows(f"{cable.name}/b")}
    assert found["XDP program"] == "none is attached"
    with pytest.raises(NoDevice, match=f"no interface c in {cable.name}"):
        xdp_rows(f"{cable.name}/c")


def test_another_version_can_not_go_there(cable):
    port = make_port(f"xdp:{cable.name}/b")
    with pytest.raises(NotSupported, match="another network namespace"):
        port.held()
