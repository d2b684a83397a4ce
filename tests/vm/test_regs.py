# SPDX-License-Identifier: Apache-2.0
"""`uspnet regs` on NICs that vfio-pci holds."""

import signal

import pytest

from tests.support.tiers import full
from tests.vm.guest import KINDS
from uspnet.ports.qemu import models


@pytest.mark.parametrize("kind", [*KINDS[:1], *full(*KINDS[1:])])
def test_a_bound_nic_shows_its_registers(guest, taken, kind):
    if kind not in guest.kinds:
        pytest.skip(f"this QEMU is too old: it has no {kind}")
    address = taken(guest, guest.address(kind))
    shown = guest.run(["uspnet", "regs", address, "--json"]).json()
    rows = {row["name"]: row["value"] for row in shown["registers"]}
    assert "reset" in shown["found"]
    assert "vfio" in shown["how"]
    mac = bytes(int(part, 16) for part in guest.mac(kind).split(":"))
    names = models()[kind].address_registers
    size = 1 if len(names) == len(mac) else 4  # bytes of one
    assert b"".join(rows[name].to_bytes(size, "little") for name in names)[:6] == mac
    assert not guest.messages("DMAR.*fault")


@pytest.mark.full
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
