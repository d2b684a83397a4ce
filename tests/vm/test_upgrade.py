# SPDX-License-Identifier: Apache-2.0
"""Loops that drive NICs through VFIO are replaced while frames pass: no device, receiver or far end
notices.
"""

import signal

import pytest

from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until

TIMES = by_tier(2, 6, 20)
NOTHING = ("lost", "duplicated", "reordered", "foreign", "dropped", "missed", "restarts")
# Registers of a function that a job drives, through sysfs: the last entry of its multicast table is
# marked, which its driver clears at each start (82574 datasheet §10.2.5.14, MTA), and the interrupt
# cause that a change of the link sets is cleared (§10.2.4.1, ICR). Prints whether both are so.
UNTOUCHED = """
import mmap, sys
MTA, ICR, LSC, MARK = 0x53FC, 0xC0, 1 << 2, 1
path = f"/sys/bus/pci/devices/{sys.argv[1]}/resource0"
with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0x20000) as bar:
    with memoryview(bar) as octets, octets.cast("I") as registers:
        if "mark" in sys.argv:
            registers[MTA // 4] = MARK
            registers[ICR // 4] = LSC
        print(int(registers[MTA // 4] == MARK and not registers[ICR // 4] & LSC))
"""
# Which files and devices of VFIO a process has open: each by its name or kind.
HELD = """
import json, os, sys
folder = f"/proc/{sys.argv[1]}/fd"
links = sorted(os.readlink(f"{folder}/{name}") for name in os.listdir(folder))
print(json.dumps([link for link in links if "vfio" in link or link == "/dev/iommu"]))
"""


def upgraded(guest, pid, *options):
    """What `upgrade` has done; None when the other Python, on this slow machine, took too long."""
    words = ["uspnet", "upgrade", pid, "--json", "--quiet", *options]
    done = guest.run(words, timeout=scaled(180))  # up to three starts of the program
    assert done.code == 0 or done.json()["error"] == "DeviceTimeout", done
    return done.json() if done.code == 0 else None


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_neither_devices_nor_receivers_notice(guest, taken):
    wire, nics = guest.wires["e1000e"], [guest.address("e1000e", number) for number in (0, 1)]
    ways = (guest.transports[0], guest.transports[-1])  # one sends, one receives
    specs = [f"{taken(guest, nic)},transport={way}" for nic, way in zip(nics, ways, strict=True)]
    wire.drain()
    words = ["--rate", "100", "--json", "--poll", "sleep"]  # leaves the processor to the programs
    process = guest.background(["uspnet", "pktgen", specs[0], "--rx-port", specs[1], *words])
    frames = wire.receive(20, 60)
    assert len(frames) == 20, process.output()
    shown = nics if guest.kernel_name == "lab" else []  # Debian's maps no registers that are in use
    assert all(guest.python_json(UNTOUCHED, nic, "mark") for nic in shown)
    for _ in range(TIMES):
        done = until(lambda: upgraded(guest, process.pid), 120)
        assert (done["kind"], done["dropped"]) == ("warm", 0)
        frames += wire.receive(20)
    assert all(guest.python_json(UNTOUCHED, nic) for nic in shown)
    process.signal(signal.SIGINT)
    result = process.wait().json()
    assert result["upgrades"] == TIMES
    assert [result[name] for name in NOTHING] == [0] * len(NOTHING)
    assert all(port["interruptions"] == 0 for port in result["ports"])
    frames += wire.receive(result["sent"] - len(frames))
    assert len(set(frames)) == len(frames) == result["sent"], "each has its number"
    assert not wire.receive(1, 0.2)
    assert not guest.messages("DMAR.*fault|vfio.*reset")


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_cold_the_kernel_gets_no_device_back(guest, taken):
    """The job has no capability: devices that it gave back it could not lock memory for again."""
    wire, nics = guest.wires["e1000e"], [guest.address("e1000e", number) for number in (0, 1)]
    ways = (guest.transports[0], guest.transports[-1])
    specs = [f"{taken(guest, nic)},transport={way}" for nic, way in zip(nics, ways, strict=True)]
    wire.drain()
    words = ["--rate", "50", "--json", "--poll", "sleep"]
    process = guest.background(["uspnet", "pktgen", specs[0], "--rx-port", specs[1], *words])
    assert len(wire.receive(20, 60)) == 20, process.output()
    held = guest.python_json(HELD, process.pid)
    assert held
    done = until(lambda: upgraded(guest, process.pid, "--cold"), 120, why=process.output)
    assert done["kind"] == "cold"
    assert done["gap_us"] > 0
    assert guest.python_json(HELD, process.pid) == held
    assert len(wire.receive(20, 60)) == 20, process.output()
    process.signal(signal.SIGINT)
    result = process.wait().json()
    assert result["upgrades"] == len(result["before"]) == 1
    for each in (*result["before"], result):
        assert each["sent"] == each["received"] > 0
        assert [each[name] for name in NOTHING] == [0] * len(NOTHING)
    assert not guest.messages("DMAR.*fault|vfio.*reset")
