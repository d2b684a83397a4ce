# SPDX-License-Identifier: Apache-2.0
"""Ports made of Python values are those that a spec makes."""

from __future__ import annotations

import ipaddress
import subprocess
import sys

import pytest

from uspnet.errors import Usage
from uspnet.ports.memif.port import Memif
from uspnet.ports.null import Null
from uspnet.ports.packet import Packet
from uspnet.ports.pcap.port import Pcap
from uspnet.ports.pcap.sink import Sink
from uspnet.ports.pcap.source import Source
from uspnet.ports.qemu import models
from uspnet.ports.registry import make_port
from uspnet.ports.tap import Tap

MAC = bytes.fromhex("020000000001")
PAIRS = [
    (Null.make(), "null:"),
    (Null.make(size=1514, queues=2), "null:size=1514,queues=2"),
    (Pcap.make("in.pcap"), "pcap:in.pcap"),
    (
        Pcap.make("in.pcap", timing=True, max_gap=0.5, ethernet="add", src=MAC),
        "pcap:in.pcap,timing=on,max-gap=0.5,ethernet=add,src=02:00:00:00:00:01",
    ),
    (Pcap.make(out="x", format="nsecpcap"), "pcap:out=x,format=nsecpcap"),
    (Sink.make(out="a,b=c", snaplen=96), "pcap:out=a\\,b=c,snaplen=96"),
    (Packet.make("eth0", promisc=False, dst=MAC), "packet:eth0,promisc=off,dst=02:00:00:00:00:01"),
    (
        Tap.make("t0", mtu=9000, mac=MAC, ip=ipaddress.IPv4Interface("10.0.0.1/24")),
        "tap:t0,mtu=9000,mac=02:00:00:00:00:01,ip=10.0.0.1/24",
    ),
    (
        Memif.make("/run/m", role="server", allow=[0, 65534], wait=float("inf"), secret=None),
        "memif:/run/m,role=server,allow=0+65534,wait=forever",
    ),
]


@pytest.mark.parametrize(("made", "spec"), PAIRS)
def test_it_is_the_port_of_the_spec(made, spec):
    wanted = make_port(spec)
    assert type(made) is type(wanted)
    assert (made.name, made.options) == (wanted.name, wanted.options)
    assert made.spec.target == wanted.spec.target


def test_the_direction_of_a_capture_file_picks_its_class():
    assert type(Pcap.make(out="x")) is Sink
    assert type(Pcap.make("x")) is Source


def test_a_path_is_a_path_whatever_is_in_it():
    assert Sink.make(out="a\\,format=pcap").path == "a\\,format=pcap"


@pytest.mark.parametrize(
    ("options", "text"),
    [({"size": 5}, "size=5: must be 14 to 9728"), ({"bytes": 60}, "unknown option 'bytes'")],
)
def test_wrong_values_are_refused_as_in_a_spec(options, text):
    with pytest.raises(Usage, match=text):
        Null.make(**options)


def test_a_secret_is_not_shown():
    assert "x1y2" not in Memif.make("/run/m", secret="x1y2").name


@pytest.mark.parametrize(("name", "nic"), models().items())
def test_what_qemu_is_told_are_options_of_the_driver(name, nic):
    for field in nic.models[name].arguments:
        assert field.replace("_", "-") in nic.options.known()


FIRST = """
import threading
from uspnet.ports.registry import make_port
barrier, names = threading.Barrier(8), []
def work():
    barrier.wait()
    names.append(make_port("null:").kind)
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*names)
"""


def test_threads_may_ask_for_the_first_port_at_once():
    run = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["null"] * 8
