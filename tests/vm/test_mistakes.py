# SPDX-License-Identifier: Apache-2.0
"""What users get wrong, and cards that go away, on a real kernel."""

import pytest

from tests.vm.network import interface, settled, shown
from tests.vm.topologies import idle

pytestmark = pytest.mark.once("lab", "debian")
BRIDGE = "0000:00:1e.0"
MISTAKES = [
    ("bind nonsense", 1, "'nonsense' is neither a PCI address nor a network interface"),
    ("bind 0000:00:99.0", 1, "is neither a PCI address"),
    ("bind 0000:55:00.0", 1, "there is no PCI device 0000:55:00.0"),
    (f"bind {BRIDGE}", 3, f"{BRIDGE} is not a network card (class 0604"),
    ("bind lo", 2, "lo is not on a PCI network card"),
    ("bind {nic} --allow everything", 2, "--allow everything: no such reason"),
    ("bind {nic} --force", 2, "uspnet bind has no option --force"),
    ("bind --driver {nic} {nic}", 2, "is the address before it?"),
    ("bind {nic} --owner nosuch", 2, "there is no such user"),
    ("bind {nic} --persist --confirm 5", 2, "confirm first"),
    ("bind --keep {nic}", 1, "is not bound by uspnet"),
    ("unbind {nic} --all", 2, "name the NICs, or give --all"),
    ("pktgen {nic} --count 1", 1, "belongs to the kernel driver e1000e"),
]


def uspnet(guest, text):
    return guest.run(["uspnet", *text.split()])


@pytest.mark.full
def test_mistakes_are_said_and_change_nothing(guest, nic):
    address = nic(idle, "e1000e")
    before = shown(guest)
    for text, code, said in MISTAKES:
        result = uspnet(guest, text.format(nic=address))
        assert (result.code, result.out) == (code, ""), (text, result)
        assert said in result.err, (text, result.err)
        assert "Traceback" not in result.err
    assert uspnet(guest, f"unbind {address}").out == f"{address}: it was not bound\n"
    assert shown(guest) == before


@pytest.mark.full
def test_bound_already_by_another_tool_and_for_good(guest, nic):
    address = nic(idle, "e1000e")
    file = f"/etc/driverctl.d/pci-{address}"
    assert uspnet(guest, f"bind {address} --persist").code == 0
    assert guest.read(file) == "vfio-pci\n"
    assert "already bound to vfio-pci" in uspnet(guest, f"bind {address}").out
    assert uspnet(guest, f"unbind {address}").code == 0
    assert not guest.names(file.rpartition("/")[0])
    guest.give(address, "vfio-pci")
    row = uspnet(guest, f"devices {address} --json").json()["devices"][0]
    assert (row["state"], row["why"]) == ("bound", "not by uspnet")
    refused = uspnet(guest, f"unbind {address}")
    assert refused.code == 3
    assert f"uspnet unbind {address} --allow unsaved" in refused.err
    assert uspnet(guest, f"unbind {address} --allow unsaved").code == 0
    assert guest.driver(address) == "e1000e"


@pytest.mark.full
def test_a_card_that_goes_away_while_it_is_bound(guest, nic):
    address = nic(idle, "e1000e")
    before = shown(guest)
    assert uspnet(guest, f"bind {address}").code == 0
    guest.write(f"/sys/bus/pci/devices/{address}/remove", "1")
    for text in (f"unbind {address}", f"pktgen {address} --count 1", f"bind {address}"):
        gone = uspnet(guest, text)
        assert gone.code == 1
        assert f"there is no PCI device {address}" in gone.err
        assert "see: uspnet devices" in gone.err
    assert uspnet(guest, "unbind --all").code == 1
    guest.write("/sys/bus/pci/rescan", "1")
    interface(guest, address)
    assert guest.driver(address) == "e1000e"
    assert uspnet(guest, f"unbind {address}").code == 0
    settled(guest, before)


@pytest.mark.full
def test_doctor_and_devices_tell_a_nic_in_use_from_a_free_one(guest, nic):
    address = nic(idle, "e1000e")
    rows = {row["address"]: row for row in uspnet(guest, "devices --json").json()["devices"]}
    assert len(rows) == 2 * len(guest.kinds) + 2
    row = rows[address]
    assert (row["state"], row["ids"], row["uspnet_driver"]) == ("free", "8086:10d3", "e1000e")
    assert (row["kernel_driver"], row["iommu_group"]) == ("e1000e", guest.group(address))
    assert row["interfaces"] == [interface(guest, address)]
    first, second = guest.neighbours()
    assert rows[first]["state"] == "shared"
    assert second in rows[first]["why"]
    found = {row["check"]: row for row in uspnet(guest, f"doctor {first} --json").json()["checks"]}
    assert found["group"]["mend"] == f"uspnet bind {first} {second}"
    assert found["binding"]["mend"] == f"uspnet bind {first}"
    assert (found["IOMMU"]["state"], found["vfio-pci"]["state"]) == ("ok", "ok")
