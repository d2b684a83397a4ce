# SPDX-License-Identifier: Apache-2.0
"""Devices that another program left in any state: every register that can be written has been, and
rings, interrupts and DMA may be on. Every driver, on QEMU's model of its device.
"""

from __future__ import annotations

import random

import pytest

from tests.support.tiers import by_tier
from uspnet.drivers.e1000 import E1000, Regs
from uspnet.pci.config import set_command
from uspnet.ports.nic import NicPort
from uspnet.ports.qemu import models

pytestmark = pytest.mark.usefixtures("qemu")
SPECS = sorted(f"qemu:{name}" for name in models())
MAY = {  # bits that may be set, where not all of them
    "SW_FW_SYNC": 0xFFFF,  # the others are firmware's
}
# MEASURED: QEMU's e1000 ignores CTRL.RST, so half a frame of its transmitter would stay.
MAY_E1000 = {"TCTL": 0xFFFFFFFF ^ Regs.TCTL.mask("EN")}


def scribble(nic, seed):
    """Write random values, or all ones, to every register that can be written."""
    noise = random.Random(seed)
    may = MAY | (MAY_E1000 if type(nic) is E1000 else {})
    set_command(nic.transport, MEMORY=1, BUS_MASTER=1)
    for table in nic.tables():
        for register in table.in_window():
            if register.row.access not in ("RW", "WO"):
                continue
            value = noise.choice((noise.getrandbits(register.row.width), register.row.ones))
            register.write(value & may.get(register.row.name, value))


@pytest.fixture(params=SPECS)
def dirty(request, station, monkeypatch):
    """`dirty(seed)`: a station with one port, whose device was scribbled on before it opened."""
    find = NicPort.find

    def make(seed):
        def find_dirty(port):
            nic = find(port)
            scribble(nic, seed)
            return nic

        monkeypatch.setattr(NicPort, "find", find_dirty)
        return station(f"{request.param},loop=on")

    return make


@pytest.mark.full
def test_a_device_left_in_any_state_works(dirty, make_frames):
    batch = make_frames(200)
    for seed in range(by_tier(3, 5, 300)):
        made = dirty(seed)
        port = made.ports[0]
        for _ in range(2):
            made.start()
            assert made.carry(port, port, batch) == batch
            assert not any(port.extra_counters().values())
            port.stop()
            assert made.held() == 0
            scribble(port.device, seed + 1000)
        made.undo.close()
