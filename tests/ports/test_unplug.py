# SPDX-License-Identifier: Apache-2.0
"""NICs that are taken out of a running machine and put back, and links that go down and up, all
under traffic: QEMU's device_del, device_add and set_link.
"""

from __future__ import annotations

import pytest

from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.drivers import igb
from uspnet.errors import DeviceFault
from uspnet.ports import qemu as port_module
from uspnet.ports.qemu import models
from uspnet.telemetry import drops_by_reason
from uspnet.transports.qemu.machine import SLOT, Machine

pytestmark = pytest.mark.usefixtures("qemu")
SPECS = sorted(f"qemu:{name}" for name in models())
CYCLES, FEWER = by_tier(5, 1000), by_tier(5, 150, 1000)  # of e1000e, and of each other model
STORM = by_tier(20, 200, 1000)
EJECT = 0xAE08  # QEMU, docs/specs/acpi_pci_hotplug.rst: writing a slot's bit ejects its device


class Chassis(Machine):
    """A machine whose slots can be emptied: QEMU's pc, as q35 has no such slots on its root."""

    def _command(self, *fds):
        return ["pc" if word == "q35" else word for word in super()._command(*fds)]

    def take_out(self, link):
        """Remove the NIC, as a guest that is asked for it ejects it."""
        self.monitor_command("device_del", {"id": "nic"})
        link.ask(f"outl {EJECT:#x} {1 << SLOT:#x}")

    def put_back(self):
        """Put a new one in, whose link is up."""
        driver, *pairs = self.device.split(",")
        words = {"on": True, "off": False}
        options = {
            name: words.get(value, int(value) if value.isdigit() else value)
            for name, value in (pair.split("=") for pair in pairs)
        }
        slot = {"id": "nic", "addr": str(SLOT), "netdev": "wire"}
        self.monitor_command("device_add", {"driver": driver, **options, **slot})


@pytest.fixture(params=SPECS)
def looped(request, station, monkeypatch):
    """A started station whose only port is in such a machine, and what it told."""
    monkeypatch.setattr(port_module, "Machine", Chassis)
    monkeypatch.setattr(igb, "RESET_S", 0.01)  # QEMU's never says that its NVM has been read

    def make(more=""):
        made, told = station(f"{request.param},loop=on{more}"), []
        made.ports[0].notice = told.append
        return made.start(), made.ports[0], told

    return make


def accounts(made, port, sent, got):
    """Is each frame that was offered sent or dropped, and are those received counted?"""
    tx, rx = (made.queues[port, way, 0].base.counters for way in ("tx", "rx"))
    assert tx.packets + sum(drops_by_reason([tx]).values()) == sent
    assert rx.packets == got


def arrive(made, port, batch):
    """Sends the batch and waits until all has arrived, behind what the wire still held."""
    got = []
    made.send(port, batch, lambda: got.extend(made.take(port)))

    def whole():
        got.extend(made.take(port))
        return got[-len(batch) :] == batch

    made.until(whole)


def test_a_nic_that_is_taken_out_and_put_back_works(looped, make_frames):
    made, port, told = looped()
    batch, sent, got = make_frames(32, 60, 300), 0, 0
    cycles = CYCLES if port.name.startswith("qemu:e1000e,") else FEWER
    for _ in range(cycles):
        sent += made.offer(port, batch)
        got += len(made.take(port))
        port.machine.take_out(port.transport.link)
        until(lambda: port.control() or not port.up())
        port.control()
        assert "the device is gone" in port.why_down()
        port.machine.put_back()
        made.until(lambda: not port.outage.fault)
        accounts(made, port, sent, got)
    made.until(port.up)
    arrive(made, port, batch)
    assert len(told) == cycles == made.counter(port, "rx", "interruptions")
    assert "the device is gone; back after" in told[0]
    port.stop()
    assert made.held() == 0


def test_a_nic_that_stays_out_ends_the_job(looped):
    made, port, _ = looped(",outage=0.3")
    port.machine.take_out(port.transport.link)
    with pytest.raises(DeviceFault, match=r"did not come back in 0\.3 s") as caught:
        made.until(lambda: False)
    assert "outage=" in caught.value.hint
    assert port.extra_counters()["rx_missed_errors"] is None
    port.stop()
    assert made.held() == 0


def test_another_nic_in_its_place_is_not_taken_for_it(looped):
    made, port, _ = looped(",outage=0.3")
    port.machine.take_out(port.transport.link)
    other = "rtl8139"
    slot = {"driver": other, "id": "nic", "addr": str(SLOT), "netdev": "wire"}
    port.machine.monitor_command("device_add", slot)
    with pytest.raises(DeviceFault, match="did not come back"):
        made.until(lambda: False)


def test_a_storm_of_link_changes_loses_nothing_unseen(looped, make_frames):
    made, port, told = looped()
    batch, sent, got = make_frames(32, 60, 300), 0, 0
    for cycle in range(STORM):
        port.machine.plug_cable(on=False)
        sent += made.offer(port, batch[: cycle % 32])
        port.control()
        port.machine.plug_cable(on=True)
        sent += made.offer(port, batch)
        port.control()
        got += len(made.take(port))
        accounts(made, port, sent, got)
    made.until(port.up)
    made.send(port, batch[:1])
    made.until(lambda: made.take(port)[-1:] == batch[:1])
    assert not told
    assert made.counter(port, "rx", "interruptions") == 0
    port.stop()
    assert made.held() == 0
