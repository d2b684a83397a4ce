# SPDX-License-Identifier: Apache-2.0
"""What e1000 and e1000e say, on a device that is a script; test_nic_traffic.py has the rest."""

import pytest

from tests.support.transcript import written
from tests.support.vanishing import vanish_at_any_access
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, DeviceTimeout
from uspnet.fastpath import ffi, lib
from uspnet.pool import Pool
from uspnet.transports.fake import Fake


@pytest.fixture(params=[0x100E, 0x10D3], ids=["82540EM", "82574L"])
def scripted(request):
    """A NIC on a fake device whose reset bit clears itself."""
    device = Fake({0: 0x8086, 2: request.param}, 0x20000)
    device.bar.on_write[0] = lambda value: value & ~(1 << 26)
    device.bar.cells |= {0x5400: 0x03020100 | 2, 0x5404: 0x80000504, 8: 0x80080783}
    kind = nics()[0x8086, request.param]
    nic = kind(device, "fake", {})
    nic.open()
    pool = Pool(2048, nic.frame, nic.ring_bytes())
    nic.attach(pool)
    stack = pool.stack(2048)
    for made, queue in ((nic.rx, nic.make_rx(0)), (nic.tx, nic.make_tx(0))):
        made.append(queue)
        queue.q.pool, queue.q.stack = pool.c, stack
        queue.q.counters = device.keep = ffi.new("struct counters *")
    yield nic, device, stack
    pool.close()


def test_start_up_is_the_manuals(scripted):
    nic, device, _ = scripted
    steps = written(nic.start, ("MTA", "RAL", "RAH"))
    only_82574l = {"TXDCTL", "RXCSUM", "RFCTL", "MRQC"}
    assert nic.mac.hex(":") == "02:01:02:03:04:05"
    assert [each for each in steps if each not in only_82574l] == [
        *("IMC", "CTRL", "IMC"),  # masked, reset, masked
        "COMMAND",  # bus master
        *("VET", "CTRL"),  # tags, link up
        *("RDBA", "RDLEN", "RDH", "RDT", "RCTL"),  # the ring, then the receiver
        *("TDBA", "TDLEN", "TDH", "TDT", "TIPG", "TCTL"),
    ]
    assert device.bar.cells[0x2804] == 1  # the pool lies at 4 GiB: both halves are written
    assert device.bar.cells[0x100] & ~(0xF << 27) == 0x0400801A  # FLXBUF aside
    assert nic.link().up
    assert nic.link().speed == 1000


def test_what_is_said_to_be_longer_than_its_buffer_is_no_frame(scripted):
    nic, _, _ = scripted
    nic.start()
    queue, packets = nic.rx[0], ffi.new("struct packet[64]")
    room = nic.pool.room
    assert nic.slot_bytes() > room
    for length, taken in ((room + 1, 0), (nic.slot_bytes(), 0), (room, 1)):
        queue.ring[queue.next % queue.size].word = length | 3 << 32  # DD, EOP
        assert lib.intel_legacy_rx(ffi.cast("struct queue *", queue), packets, 32) == taken
    assert packets[0].length == room
    assert queue.q.counters.drops[lib.DROP_TOO_LONG] + queue.q.counters.drops[lib.DROP_BAD_LENGTH]


@pytest.mark.parametrize("scripted", [0x10D3], indirect=True)
def test_what_a_kernel_driver_left_is_put_right(scripted):
    nic, device, _ = scripted
    device.bar.cells |= {0x5008: 1 << 15, 0x5818: 1}  # extended descriptors, spread over queues
    nic.start()
    assert device.bar.cells[0x5008] == device.bar.cells[0x5818] == 0


def test_stop_gives_every_buffer_back(scripted):
    nic, device, stack = scripted
    for _ in range(3):
        nic.start()
        assert stack.room - stack.top == 512
        nic.stop()
        assert stack.room == stack.top
        assert device.config[4] & 4 == 0  # no bus master any more


def test_a_reset_that_never_ends_is_named(scripted):
    nic, device, _ = scripted
    del device.bar.on_write[0]
    with pytest.raises(DeviceTimeout, match=r"CTRL .*wanted RST=0"):
        nic.start()


def test_a_removed_device_is_a_fault(scripted):
    nic, device, stack = scripted
    nic.start()
    device.removed = True
    with pytest.raises(DeviceFault, match="STATUS reads as all ones"):
        nic.link()
    with pytest.raises(DeviceFault, match="all ones"):
        nic.counters()
    with pytest.raises(DeviceFault, match="all ones"):
        nic.stop()
    assert stack.room == stack.top


def test_interrupts_are_routed_and_stay_masked(scripted):
    nic, device, _ = scripted
    nic.events = [-1]  # somebody listens
    steps = written(nic.start)
    assert "IMS" not in steps, "no interrupt is let through before a worker sleeps"
    vector, stores = nic.rx[0].vector, device.bar.stores
    assert (vector.unmask.mmio, vector.mask.mmio) == (stores + 0xD0 // 4, stores + 0xD8 // 4)
    assert vector.unmask_value == vector.mask_value
    if nic.interrupts == "INTx":
        assert vector.unmask_value == 1 << 7
        assert vector.cause.mmio == stores + 0xC0 // 4
        return
    assert vector.unmask_value == 1 << 20
    assert not vector.cause.mmio
    assert steps.index("IVAR") < steps.index("RCTL"), "before the receiver"
    assert device.bar.cells[0xE4] == 1 << 3  # vector 0, valid
    assert device.bar.cells[0xDC] == device.bar.cells[0xE0] == 1 << 20
    assert device.bar.cells[0x18] == 1 << 31 | 1 << 24


def test_a_device_that_vanishes_at_any_access_is_an_error(scripted):
    errors = vanish_at_any_access(*scripted)
    assert len(errors) > 10
    assert all(error.hint for error in errors)
