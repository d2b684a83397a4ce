# SPDX-License-Identifier: Apache-2.0
"""igb on QEMU's 82576: what only it does, RSS above all; and what it says to a script."""

import struct

import pytest

from tests.support.cable_end import connected
from tests.support.rss_flows import check_queues, toeplitz
from tests.support.transcript import written
from tests.support.vanishing import vanish_at_any_access
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, DeviceTimeout, Usage
from uspnet.fastpath import ffi
from uspnet.pool import Pool
from uspnet.telemetry import UNKNOWN
from uspnet.transports.fake import Fake


def test_frames_above_the_mtu_do_not_come_in(qemu, station, tmp_path, far, make_frames):
    made, port = connected(station, "igb", tmp_path)
    small, long = make_frames(1, 60, 60)[0], make_frames(1, 1523, 1523)[0]
    assert far.give(long)
    assert far.give(small)
    assert made.receive(port, 1) == [small]


# -- several queues -----------------------------------------------------------------------------


def test_the_hash_is_the_published_one():
    ports = struct.pack("!HH", 2794, 1766)
    assert toeplitz(bytes([66, 9, 149, 187, 161, 142, 100, 80]) + ports) == 0x51CCC178


def test_each_queue_gets_its_flows_and_no_others(qemu, station, tmp_path, far):
    made, port = connected(station, "igb", tmp_path, queues=4)
    check_queues(made, port, far.give)


def test_every_queue_sends(qemu, station, tmp_path, far, make_frames):
    made, port = connected(station, "igb", tmp_path, queues=8)
    batch = make_frames(8 * 20)
    for index in range(8):
        part = batch[20 * index : 20 * index + 20]
        made.until(lambda: far.take() or made.offer(port, part, index) == 20)  # noqa: B023
    made.until(lambda: far.take() or len(far.got) == len(batch))
    assert sorted(far.got) == sorted(batch)
    made.until(lambda: port.pending() == 0)


def test_what_the_model_loses_uncounted_is_unknown(qemu, station, tmp_path, far, make_frames):
    made, port = connected(station, "igb", tmp_path, queues=2, rx_ring=32)
    batch = make_frames(200)  # not IP: all for the first queue
    sent = sum(far.give(frame) for frame in batch)
    made.until(lambda: port.extra_counters()["rx_missed_errors"] is None)
    made.until(lambda: made.counter(port, "rx", "missed") == UNKNOWN)  # for other processes, too
    assert len(made.receive(port, 31)) < sent


# -- what the driver says, on a device that is only a script --------------------------------------

TABLES = ("MTA", "RAL", "RAH", "RSSRK", "RETA")  # addresses and hashes, entry by entry
# The semaphore is taken, the PHY marked as ours; read by MDIC; and both given back.
PHY_ASKED = ("SWSM", "SW_FW_SYNC", "SWSM", "MDIC", "SWSM", "SW_FW_SYNC", "SWSM")


def script(device_id, **given):
    """A NIC on a fake device, and the device."""
    device = Fake({0: 0x8086, 2: device_id}, 0x20000)
    bar = device.bar
    bar.on_write[0] = lambda value: value & ~(1 << 26)  # the reset is done
    bar.on_read[8] = lambda _: 0x80000783 | (0 if bar.cells.get(0, 0) & 4 else 1 << 19)
    bar.on_write[0x20] = lambda value: value | 1 << 28 | 0x20  # the PHY has negotiated
    bar.cells |= {0x10: 1 << 9, 0x5400: 0x03020100 | 2, 0x5404: 0x80000504}
    nic = nics()[0x8086, device_id](device, "fake", given)
    nic.open()
    return nic, device


@pytest.fixture(params=[0x10C9, 0x150E, 0x1521, 0x1533, 0x1539])
def scripted(request):
    nic, device = script(request.param, queues=2)
    pool = Pool(2048, nic.frame, 2 * nic.ring_bytes())
    nic.attach(pool)
    stack = pool.stack(2048)
    for index in (1, 0):  # as workers happen to ask
        for queue in (nic.make_rx(index), nic.make_tx(index)):
            queue.q.pool, queue.q.stack = pool.c, stack
            queue.q.counters = device.keep = ffi.new("struct counters *")
    yield nic, device, stack
    pool.close()


def test_start_up_is_the_manuals(scripted):
    nic, device, _ = scripted
    steps = written(nic.start, TABLES)
    assert nic.mac.hex(":") == "02:01:02:03:04:05"
    rx = ("RXDCTL", "RDBA", "RDLEN", "SRRCTL", "RDH", "RDT", "RXDCTL", "RDT")
    tx = ("TXDCTL", "TDBA", "TDLEN", "TDH", "TDT", "TXDCTL", "TDT")
    assert steps == [
        *("IMC", "EIMC", "CTRL", "CTRL", "IMC", "EIMC"),  # masked, DMA ended, reset, masked
        "COMMAND",  # bus master
        *("CTRL_EXT", "VET", "CTRL"),  # ours; tags, link up
        *PHY_ASKED,  # and left alone
        *("RXCSUM", "RLPML", "RCTL", "RXCSUM", "MRQC"),  # rules, still closed; RSS
        *(f"{name}[1]" for name in rx),
        *(f"{name}[0]" for name in rx),
        *("RCTL", "TCTL"),  # open
        *(f"{name}[1]" for name in tx),
        *(f"{name}[0]" for name in tx),
    ]
    cells = device.bar.cells
    assert cells[0xC004] == cells[0xE044] == 1  # the pool lies at 4 GiB: both halves are written
    assert cells[0xC00C] == 1 << 31 | 1 << 25 | 2  # drops when full, one buffer of 2 KiB
    assert cells[0xC018] == 511
    assert cells[0x5004] == 1526
    assert cells[0x100] == 0x0400803A
    assert cells[0x5C00] == 0x01000100
    assert cells[0x5C80] == 0xDA565A6D
    assert nic.link().up
    assert nic.link().speed == 1000


def test_each_receive_queue_has_a_masked_vector(scripted):
    nic, device, _ = scripted
    nic.events = [-1, -1]  # somebody listens
    steps = written(nic.start)
    assert "EIMS" not in steps, "no interrupt is let through before a worker sleeps"
    routed = max(steps.index(each) for each in ("GPIE", "EIAC", "EIAM", "IVAR[0]"))
    assert routed < steps.index("RXDCTL[0]")
    cells, stores = device.bar.cells, device.bar.stores
    assert cells[0x1514] == 1 << 31 | 1 << 30 | 1 << 4 | 1
    assert cells[0x152C] == cells[0x1530] == 3
    if nic.title == "82576":
        assert (cells[0x1700], cells[0x1704]) == (0x80, 0x81)
    else:
        assert cells[0x1700] == 0x00810080
    for index, ring in nic.rx_rings.items():
        vector = ring.queue.vector
        assert vector.unmask.mmio == stores + 0x1524 // 4
        assert vector.mask.mmio == stores + 0x1528 // 4
        assert vector.unmask_value == vector.mask_value == 1 << index


def test_stop_gives_every_buffer_back(scripted):
    nic, device, stack = scripted
    for _ in range(3):
        nic.start()
        assert stack.room - stack.top == 2 * 512
        nic.stop()
        assert stack.room == stack.top
        assert device.config[4] & 4 == 0  # no bus master any more


def test_a_reset_that_never_ends_is_named(scripted):
    nic, device, _ = scripted
    del device.bar.on_write[0]
    with pytest.raises(DeviceTimeout, match=r"CTRL .*wanted RST=0"):
        nic.start()


def test_a_phy_that_others_hold_is_named(scripted, monkeypatch):
    monkeypatch.setattr("uspnet.nic.intel.SEMAPHORE_S", 0.01)
    nic, device, _ = scripted
    device.bar.cells[0x5B5C] = 1 << 17  # firmware has it
    with pytest.raises(DeviceTimeout, match="SW_FW_SYNC"):
        nic.start()
    assert device.bar.cells[0x5B50] == 0, "the semaphore is free again"


def test_a_removed_device_is_a_fault(scripted):
    nic, device, stack = scripted
    nic.start()
    device.removed = True
    with pytest.raises(DeviceFault, match="STATUS reads as all ones"):
        nic.link()
    with pytest.raises(DeviceFault, match="all ones"):
        nic.counters()
    with pytest.raises(DeviceFault):
        nic.stop()
    assert stack.room == stack.top


def test_drops_of_every_queue_are_missed_packets(scripted):
    nic, device, _ = scripted
    nic.start()
    clearing = "I21" not in nic.title
    counts = {0xC030: 3, 0xC070: 4, 0x4010: 5}
    for offset in counts:
        clears = clearing or offset == 0x4010
        device.bar.on_read[offset] = lambda _, at=offset, clears=clears: (
            counts.pop(at, 0) if clears else counts[at]
        )
    for _ in range(2):
        assert nic.counters() == {"rx_missed_errors": 12, "rx_errors": 0}


def test_more_queues_than_the_device_has_are_refused():
    script(0x10C9, queues=8)
    for device_id, most in ((0x1533, 4), (0x1539, 2)):
        script(device_id, queues=most)
        with pytest.raises(Usage, match=f"has {most} queues"):
            script(device_id, queues=most + 1)


@pytest.mark.full
def test_a_device_that_vanishes_at_any_access_is_an_error(scripted):
    errors = vanish_at_any_access(*scripted)
    assert len(errors) > 10
    assert all(error.hint for error in errors)
