# SPDX-License-Identifier: Apache-2.0
"""Devices that are reset, removed and replaced while they work: every model, frame by frame."""

import pytest

from tests.support.tiers import by_tier
from uspnet.drivers import igb
from uspnet.drivers.e1000 import E1000
from uspnet.drivers.virtio_net import VirtioNet
from uspnet.drivers.vmxnet3 import Vmxnet3
from uspnet.errors import DeviceTimeout
from uspnet.nic.intel import Intel
from uspnet.pci.config import config_of
from uspnet.ports.qemu import models
from uspnet.telemetry import drops_by_reason

pytestmark = pytest.mark.usefixtures("qemu")
CYCLES, FEWER = by_tier(5, 1000), by_tier(5, 150, 1000)  # of e1000e, and of each other model
SPECS = sorted(f"qemu:{name}" for name in models())
SPECS += ["qemu:virtio-net,packed=on,rx-ring=64,tx-ring=64"]
RESETS = {  # as another program would do it, through the same registers
    E1000: lambda nic: (nic.regs.RCTL.write(0), nic.regs.TCTL.write(0)),  # RST does nothing there
    Intel: lambda nic: nic.regs.CTRL.update(RST=1),
    VirtioNet: lambda nic: nic.set_status(0),
    Vmxnet3: lambda nic: nic.command("RESET_DEV"),
}


def reset_device(port):
    """Reset the device behind its driver's back, where only its own registers show that."""
    nic = port.device
    next(how for kind, how in RESETS.items() if isinstance(nic, kind))(nic)


def reset_function(port):
    """Have the whole function forget everything, its BARs and Bus Master Enable too."""
    port.machine.monitor_command("system_reset")


@pytest.fixture(params=SPECS)
def looped(request, station, monkeypatch):
    """A station with one port, whose cable returns what is sent; what it told, and the port."""
    monkeypatch.setattr(igb, "RESET_S", 0.01)  # QEMU's never says that its NVM has been read

    def make(**options):
        more = "".join(f",{name.replace('_', '-')}={value}" for name, value in options.items())
        made = station(f"{request.param},loop=on{more}")
        made.told = []
        made.ports[0].notice = made.told.append
        return made.start(), made.ports[0]

    return make


def identity(made, port, sent, got):
    """Is each frame that was offered received, or in one counter?"""
    tx, rx = (made.queues[port, way, 0].base.counters for way in ("tx", "rx"))
    assert tx.packets + sum(drops_by_reason([tx]).values()) == sent
    assert rx.packets == got


def works(made, port, batch):
    """Does the port carry frames as if nothing had been? Those that were under way come first."""
    made.until(port.up)
    made.send(port, batch[-1:])
    made.until(lambda: batch[-1] in made.take(port))
    return made.carry(port, port, batch[:-1]) == batch[:-1]


@pytest.mark.parametrize("reset", [reset_device, reset_function])
def test_a_reset_in_the_middle_of_bursts_is_survived(looped, make_frames, reset):
    made, port = looped()
    batch, sent, got = make_frames(40, 60, 300), 0, 0
    cycles = CYCLES if port.name.startswith("qemu:e1000e,") else FEWER
    for cycle in range(1, cycles + 1):
        sent += made.offer(port, batch[:20])
        got += len(made.take(port))
        reset(port)
        sent += made.offer(port, batch[20:])  # nobody has noticed yet
        made.until(lambda: made.counter(port, "rx", "interruptions") >= cycle)  # noqa: B023
        if cycle % (cycles // 5) == 0:  # some models' links take a second to come up
            made.until(port.up)
        got += len(made.take(port))
        identity(made, port, sent, got)
    assert works(made, port, make_frames(100, 60, 300))
    assert made.counter(port, "rx", "interruptions") == cycles == len(made.told)
    assert "the device was reset; back after 0." in made.told[0]
    assert made.counter(port, "rx", "interrupted_ns") > 0
    assert made.counter(port, "tx", "errors") == 0
    port.stop()
    assert made.held() == 0


def test_a_device_that_can_not_be_stopped_accesses_no_memory(looped, monkeypatch):
    _, port = looped()
    command = config_of(port.device.transport).COMMAND
    assert command.read().BUS_MASTER

    def stop():
        raise DeviceTimeout("it does not answer")

    monkeypatch.setattr(port.nic, "stop", stop)
    port.stop()
    assert not command.read().BUS_MASTER
