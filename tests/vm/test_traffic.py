# SPDX-License-Identifier: Apache-2.0
"""Drivers on a real kernel: taken from it, frames byte-equal at the far end, and given back."""

import contextlib
import itertools
import signal
import struct
import time

import pytest

from tests.support.captures import pcap_frames
from tests.support.tiers import by_tier, everything, full
from tests.support.upgrading import open_to_all
from tests.support.waiting import until
from tests.vm.guest import CONVENTIONAL, EXPRESS
from tests.vm.kernel import NO_IOMMUFD
from tests.vm.network import interface, quiet, settled
from tests.vm.topologies import REASONS, addressed, idle
from uspnet.packets.frames import udp_frame
from uspnet.ports.qemu import models

INTEL = [kind for kind in EXPRESS if models()[kind].ring.startswith("intel")]
CRASHES = by_tier(3, 4, 50)
NOBODY = 65534
MARK = bytes.fromhex("020000000099 020000000098 88b5") + b"listening?".ljust(46)
COUNTERS = """
from uspnet.telemetry import running_jobs
print(sum(port.rx_packets for job in running_jobs() for port in job.ports))
"""


def distinct(count):
    """Frames of many lengths, each with its number."""
    return [MARK[:14] + struct.pack(">I", n) + bytes(42 + n * 7 % 1400) for n in range(count)]


def expected(size):
    """What pktgen sends when it is asked for nothing special."""
    return udp_frame(
        size, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
    )


def settings(user=None):
    """Options of a job. Loops of a user who can't run this Python are in the command's process."""
    mode = [] if user is None or open_to_all() else ["--in-process"]
    return ["--json", "--poll", "sleep", *mode]


def pktgen(guest, wire, spec, count=300, **how):
    """Frames sent there arrive here."""
    wire.drain()
    words = ["--count", count, "--size", 300, "--rate", "3000", *settings(**how)]
    result = guest.run(["uspnet", "pktgen", spec, *words], **how)
    assert result.code == 0, result.out + result.err
    assert result.json()["sent"] == count
    assert wire.receive(count) == [expected(300)] * count


def received(guest):
    """Packets that the running job has received."""
    return int(guest.python(COUNTERS))


def capture(guest, wire, spec, **how):
    """Frames sent here arrive there."""
    file = guest.share / "captured"
    words = ["capture", spec, *settings(**how), "-w", file, "-F", "pcap"]
    process = guest.background(["uspnet", *words], **how)
    marks = itertools.count()

    def arrives():
        wire.send(MARK)
        next(marks)
        return received(guest)

    until(arrives, 180, 0, process.output)
    sent = distinct(200)
    for frame in sent:
        wire.send(frame)
        time.sleep(0.0005)
    seen = [0, 0]  # marks count, too
    until(
        lambda: seen.append(received(guest)) or len(sent) < seen[-1] == seen[-2],
        180,
        0.1,
        process.output,
    )
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.code == 0, result.out + result.err
    assert len(sent) < result.json()["received"] <= len(sent) + next(marks)
    assert [frame for frame in pcap_frames(file) if frame != MARK] == sent
    guest.run(["rm", file])


def bind(guest, address, *words):
    """A bind that must work."""
    bound = guest.run(["uspnet", "bind", address, *words])
    assert bound.code == 0, bound.err
    return bound.out


def unbind(guest, address):
    """An unbind that must work."""
    given = guest.run(["uspnet", "unbind", address])
    assert given.code == 0, given.err


def take_drive_give_back(guest, nic, kind):
    """A configured NIC: bound, frames both ways through every interface of VFIO, unbound."""
    address = nic(addressed, kind)
    driver = guest.driver(address)
    before = quiet(guest, interface(guest, address))
    bind(guest, address, "--allow", ",".join(REASONS[addressed][0]))
    for transport in guest.transports:
        spec = f"{address},transport={transport}"
        pktgen(guest, guest.wires[kind], spec)
        capture(guest, guest.wires[kind], spec)
    assert not guest.messages(f"DMAR.*{address[5:]}.*fault")
    unbind(guest, address)
    assert guest.driver(address) == driver
    settled(guest, before)


@pytest.mark.parametrize("kind", [*EXPRESS[:1], *full(*EXPRESS[1:2])])
def test_taken_driven_and_given_back(guest, nic, kind):
    take_drive_give_back(guest, nic, kind)


@pytest.mark.full
@pytest.mark.once("lab", "debian")
@pytest.mark.parametrize("kind", [*EXPRESS[2:3], *everything(*EXPRESS[3:], *CONVENTIONAL)])
def test_others_are_too(guest, nic, kind):
    take_drive_give_back(guest, nic, kind)


@contextlib.contextmanager
def lent(guest, node, group):
    """A device node that a group may open, and afterwards is as before."""
    before = guest.run(["stat", "-c", "%g %a", node]).out.split()
    guest.run(["chgrp", str(group), node])
    guest.run(["chmod", "660", node])
    try:
        yield
    finally:
        guest.run(["chgrp", before[0], node])
        guest.run(["chmod", before[1], node])


@pytest.mark.full
def test_the_owner_drives_it_without_privileges(guest, nic):
    address, wire = nic(idle, "e1000e"), guest.wires["e1000e"]
    bind(guest, address, "--owner", "nobody")
    for run in (pktgen, capture):
        run(guest, wire, address, user=NOBODY)
    if "vfio-cdev" in guest.transports:
        spec = f"{address},transport=vfio-cdev"
        refused = guest.run(["uspnet", "pktgen", spec, "--count", "1"], user=NOBODY)
        assert refused.code == 1
        assert "no permission for /dev/iommu" in refused.err
        assert "chgrp GROUP /dev/iommu" in refused.err
        with lent(guest, "/dev/iommu", NOBODY):
            for run in (pktgen, capture):
                run(guest, wire, spec, user=NOBODY)
    unbind(guest, address)


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_killed_in_traffic_the_device_is_quiet_and_starts_again(guest, taken):
    wire, address = guest.wires["e1000e"], taken(guest, guest.address("e1000e"))
    for _ in range(CRASHES):
        wire.drain()
        process = guest.background(["uspnet", "pktgen", address, "--rate", "2000"])
        assert len(wire.receive(20, 40)) == 20, process.output()
        assert process.end().code == -signal.SIGKILL
        time.sleep(0.2)  # what QEMU had in its hands
        wire.drain()
        assert not wire.receive(1, 0.3)
    pktgen(guest, wire, address)


@pytest.mark.full
@pytest.mark.parametrize("transport", ["transport=uio", ""])
def test_frames_both_ways_without_an_iommu(bare_guest, transport):
    guest, kind = bare_guest, "e1000e"
    address = guest.address(kind)
    path = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    if not transport:
        if guest.kernel_name != "lab":
            pytest.skip(f"{NO_IOMMUFD}: and VFIO without an IOMMU")
        refused = guest.run(["uspnet", "bind", address])
        assert refused.code == 1
        assert "has no IOMMU group" in refused.err
        guest.write(path, "Y")
    told = bind(guest, address, *(["--driver", "uio_pci_generic"] if transport else []))
    assert not transport or "danger: without an IOMMU" in told
    spec = f"{address},{transport}".rstrip(",")
    warned = guest.run(["uspnet", "pktgen", spec, "--count", "1"]).err
    assert f"{spec}: DANGER: no IOMMU" in warned
    pktgen(guest, guest.wires[kind], spec)
    capture(guest, guest.wires[kind], spec)
    unbind(guest, address)
    assert guest.driver(address) == kind


STRAY = """
import sys
from uspnet.transports.vfio import Vfio
attach = Vfio.attach
def astray(self, pool):
    attach(self, pool)
    self.dma_base += 1 << 36  # where nothing is mapped
    self.rings_base += 1 << 36
Vfio.attach = astray
from uspnet.cli import main
sys.argv = ["uspnet", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.full
@pytest.mark.parametrize("kind", by_tier(["e1000e"], INTEL))
@pytest.mark.once("lab", "debian")
def test_the_iommu_stops_and_reports_stray_addresses(guest, taken, kind):
    address = taken(guest, guest.address(kind))
    guest.wires[kind].drain()
    result = guest.run(["source", STRAY, "pktgen", address, "--rate", "100", "--duration", "5"])
    assert not guest.wires[kind].receive(1, 0.5)
    assert guest.messages(rf"DMAR:.*{address[5:]}.*fault")
    assert result.code == 1
    assert f"{address}: the IOMMU stopped it from reading address 0x1" in result.err
    rows = guest.run(["uspnet", "doctor", address, "--json"]).json()["checks"]
    (row,) = [row for row in rows if row["check"] == "IOMMU faults"]
    assert row["state"] == "note"
    guest.run(["dmesg", "-C"])
