# SPDX-License-Identifier: Apache-2.0
"""A NIC that a job drives through VFIO is unplugged and comes back, or doesn't."""

import signal

import pytest

from tests.support.waiting import until
from tests.vm.test_traffic import expected

ASKED = "the host takes the device away: it is being unplugged or unbound"


@pytest.fixture
def nic(guest, taken):
    """The address of a NIC, which is there again after the test."""
    address = taken(guest, guest.address("e1000e"))
    yield address
    if address not in guest.names("/sys/bus/pci/devices"):
        guest.write("/sys/bus/pci/rescan", "1")


def start(guest, nic, transport, outage):
    """A job that sends there."""
    guest.wires["e1000e"].drain()
    spec = f"{nic},transport={transport},outage={outage}"
    words = ["--rate", "300", "--size", 300, "--json", "--poll", "sleep"]
    process = guest.background(["uspnet", "pktgen", spec, *words])
    assert guest.wires["e1000e"].receive(20, 60) == [expected(300)] * 20, process.output()
    return process


def unplug(guest, nic, process):
    """Removes a NIC, which waits until its user has closed it."""
    done = guest.run(["sh", "-c", f"echo 1 > /sys/bus/pci/devices/{nic}/remove"])
    assert done.code == 0, process.output()
    assert nic not in guest.names("/sys/bus/pci/devices")
    guest.wires["e1000e"].drain()


@pytest.mark.full
def test_a_job_goes_on_when_it_is_back(guest, nic, transport):
    process = start(guest, nic, transport, 600)
    for _ in range(2):
        unplug(guest, nic, process)
        assert not guest.wires["e1000e"].receive(1, 0.3)
        guest.write("/sys/bus/pci/rescan", "1")
        until(lambda: guest.driver(nic) == "e1000e", 60)  # which must be no trouble
        guest.give(nic, "vfio-pci")
        assert guest.wires["e1000e"].receive(50, 60) == [expected(300)] * 50, process.output()
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.code == 0, result.err
    assert result.err.count(f"{ASKED}; back after ") == 2
    (port,) = result.json()["ports"]
    assert port["interruptions"] == 2
    assert port["interrupted_s"] > 0.6
    assert not guest.messages(f"DMAR.*{nic[5:]}.*fault")


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_a_job_ends_when_it_does_not_come_back(guest, nic):
    process = start(guest, nic, guest.transports[-1], 1)
    unplug(guest, nic, process)
    result = process.wait()
    assert result.code == 1
    failed = result.json()
    assert f"{ASKED}; it did not come back in 1 s (" in failed["message"]
    assert "outage=" in failed["hint"]
    assert failed["ports"][0]["interruptions"] == 1
    assert failed["sent"] > 0
