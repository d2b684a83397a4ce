# SPDX-License-Identifier: Apache-2.0
"""Drivers on a real kernel: frames byte-equal at the far end, crashes, and stray addresses."""

import os
import signal
import struct
import time

import pytest

from uspnet.frames import udp_frame
from uspnet.nic import NICS
from uspnet.port import drivers

drivers()  # so that NICS is filled
DRIVEN = {
    "e1000": (0x8086, 0x100E),
    "e1000e": (0x8086, 0x10D3),
    "igb": (0x8086, 0x10C9),
    "virtio-net": (0x1AF4, 0x1041),
    "vmxnet3": (0x15AD, 0x07B0),
}
DRIVEN = [kind for kind, ids in DRIVEN.items() if ids in NICS]
CRASHES = int(os.environ.get("USPNET_VM_CRASHES", "5"))
MARK = bytes.fromhex("020000000099 020000000098 88b5") + b"listening?".ljust(46)
COUNTERS = """
from uspnet.telemetry import running_jobs
print(sum(port["rx_packets"] for job in running_jobs() for port in job.ports))
"""


def distinct(count):
    """Frames of many lengths, each with its number."""
    return [MARK[:14] + struct.pack(">I", n) + bytes(42 + n * 7 % 1400) for n in range(count)]


def expected(size):
    """What pktgen sends when it is asked for nothing special."""
    return udp_frame(
        size, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
    )


def packets_of(path):
    """The packets of a classic capture file."""
    data, at, found = path.read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        found.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def pktgen(guest, wire, spec, count=300, **how):
    """Frames sent there arrive here."""
    wire.drain()
    words = ["--count", count, "--size", 300, "--rate", "3000", "--json", "--poll", "sleep"]
    result = guest.run(["uspnet", "pktgen", spec, *words], **how)
    assert result.code == 0, result.out + result.err
    assert result.json()["sent"] == count
    assert wire.receive(count) == [expected(300)] * count


def received(guest):
    """Packets that the running job has received."""
    return int(guest.python(COUNTERS))


def capture(guest, wire, spec):
    """Frames sent here arrive there."""
    file = guest.share / "captured"
    words = ["-w", file, "-F", "pcap"] if "pcap" in drivers() else []
    process = guest.background(["uspnet", "capture", spec, "--json", "--poll", "sleep", *words])
    end, marks = time.monotonic() + 60, 0
    while not received(guest):
        assert time.monotonic() < end, process.output()
        wire.send(MARK)
        marks += 1
    sent = distinct(200)
    for frame in sent:
        wire.send(frame)
        time.sleep(0.0005)
    while received(guest) < len(sent):
        assert time.monotonic() < end, process.output()
    time.sleep(0.2)
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.code == 0, result.out + result.err
    assert len(sent) < result.json()["received"] <= len(sent) + marks
    if words:
        assert [frame for frame in packets_of(file) if frame != MARK] == sent


@pytest.mark.parametrize("kind", DRIVEN)
@pytest.mark.parametrize("transport", ["vfio-group", "vfio-cdev"])
def test_frames_both_ways(guest, taken, kind, transport):
    if kind not in guest.kinds:
        pytest.skip(f"this QEMU has no {kind}")
    if transport == "vfio-cdev" and guest.kernel_name == "debian":
        pytest.skip("Debian's kernel has no iommufd")
    spec = f"{taken(guest, guest.address(kind))},transport={transport}"
    pktgen(guest, guest.wires[kind], spec)
    capture(guest, guest.wires[kind], spec)
    assert not guest.messages("DMAR.*fault")


def test_killed_in_traffic_the_device_is_quiet_and_starts_again(guest, taken):
    kind = DRIVEN[0]
    wire, address = guest.wires[kind], taken(guest, guest.address(kind))
    for _ in range(CRASHES):
        wire.drain()
        process = guest.background(["uspnet", "pktgen", address, "--rate", "2000"])
        assert len(wire.receive(20, 40)) == 20, process.output()
        process.signal(signal.SIGKILL)
        assert process.wait().code == -signal.SIGKILL
        time.sleep(0.2)  # what QEMU had in its hands
        wire.drain()
        assert not wire.receive(1, 0.3)
    pktgen(guest, wire, address)


@pytest.mark.parametrize("transport", ["transport=uio", ""])
def test_frames_both_ways_without_an_iommu(bare_guest, taken, transport):
    guest, kind = bare_guest, DRIVEN[0]
    address = guest.address(kind)
    if transport:
        taken(guest, address, "uio_pci_generic")
    else:
        path = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
        refused = guest.run(["uspnet", "pktgen", address])
        assert refused.code == 1
        guest.write(path, "Y")
        taken(guest, address)
    spec = f"{address},{transport},rx-ring=64,tx-ring=64".replace(",,", ",")
    told = guest.run(["uspnet", "pktgen", spec, "--count", "1"]).err
    assert f"{spec}: DANGER: no IOMMU" in told
    pktgen(guest, guest.wires[kind], spec)
    capture(guest, guest.wires[kind], spec)


STRAY = """
import sys
from uspnet.transports.vfio import Vfio
attach = Vfio.attach
def astray(self, pool):
    attach(self, pool)
    self.dma_base += 1 << 36  # where nothing is mapped
Vfio.attach = astray
from uspnet.cli import main
sys.argv = ["uspnet", *sys.argv[1:]]
sys.exit(main())
"""


def test_the_iommu_stops_and_reports_stray_addresses(guest, taken):
    address = taken(guest, guest.address("e1000e"))
    guest.wires["e1000e"].drain()
    words = ["pktgen", address, "--rate", "100", "--duration", "1", "--linger", "0"]
    guest.run(["source", STRAY, *words])
    assert not guest.wires["e1000e"].receive(1, 0.5)
    assert guest.messages(rf"DMAR:.*{address[5:]}.*fault")
    guest.run(["dmesg", "-C"])


def test_without_privileges_once_the_nodes_are_ours(guest, taken):
    address = taken(guest, guest.address("e1000e"))
    guest.run(["chown", "1000", *guest.nodes(address)])
    try:
        pktgen(guest, guest.wires["e1000e"], address, user=1000)
    finally:
        guest.run(["chown", "0", *guest.nodes(address)])
