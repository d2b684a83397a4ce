# SPDX-License-Identifier: Apache-2.0
"""`uspnet regs` on NICs that vfio-pci holds."""

import signal

import pytest

from tests.vm.test_traffic import DRIVEN

MAC = {"e1000": "RAL[0]", "e1000e": "RAL[0]", "igb": "RAL[0]", "vmxnet3": "MACL"}  # its first half


@pytest.mark.parametrize("kind", DRIVEN)
def test_a_bound_nic_shows_its_registers(guest, taken, kind):
    if kind not in guest.kinds:
        pytest.skip(f"this QEMU is too old: it has no {kind}")
    address = taken(guest, guest.address(kind))
    shown = guest.run(["uspnet", "regs", address, "--json"]).json()
    rows = {row["name"]: row["value"] for row in shown["registers"]}
    assert "reset" in shown["found"]
    assert "vfio" in shown["how"]
    mac = bytes(int(part, 16) for part in guest.mac(kind).split(":"))
    if kind in MAC:
        assert rows[MAC[kind]] == int.from_bytes(mac[:4], "little")
    else:
        assert [rows[f"MAC[{i}]"] for i in range(6)] == list(mac)
    assert not guest.messages("DMAR.*fault")


def test_a_nic_in_use_is_left_alone(guest, taken):
    address = taken(guest, guest.address("e1000e"))
    guest.wires["e1000e"].drain()
    holder = guest.background(["uspnet", "pktgen", address, "--rate", "100"])
    assert guest.wires["e1000e"].receive(1, 40), holder.output()
    refused = guest.run(["uspnet", "regs", address])
    assert f"{address} is in use by" in refused.err
    assert f"(process {holder.pid})" in refused.err
    holder.signal(signal.SIGINT)
    assert holder.wait().code == 0
