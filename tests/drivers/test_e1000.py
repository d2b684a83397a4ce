# SPDX-License-Identifier: Apache-2.0
"""e1000 and e1000e on QEMU's models: frame by frame against the far end of the cable."""

import time

import pytest

from tests.far import FarEnd, connected, fill
from uspnet.errors import DeviceTimeout, Usage
from uspnet.fastpath import ffi
from uspnet.nic import NICS
from uspnet.pool import Pool
from uspnet.transports.fake import Fake

MODELS = ["e1000", "e1000e"]
pytestmark = pytest.mark.usefixtures("qemu")


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


def test_ten_thousand_frames_each_way_are_byte_equal(station, model, tmp_path, far, make_frames):
    made, port = connected(station, model, tmp_path, rx_ring=128, tx_ring=128)
    batch = make_frames(10_000)
    made.send(port, batch, far.take)
    made.until(lambda: far.take() or len(far.got) >= len(batch))
    assert far.got == batch
    assert fill(made, port, far, batch) == batch
    assert made.counter(port, "tx", "packets") == made.counter(port, "rx", "packets") == 10_000
    assert made.counter(port, "rx", "errors") == 0
    assert port.extra_counters() == {"rx_missed_errors": 0, "rx_errors": 0}
    assert made.counter(port, "tx", "doorbells") <= 10_000 // 32 * 2 + 2


def test_jumbo_frames_are_byte_equal(station, model, tmp_path, far, make_frames):
    made, port = connected(station, model, tmp_path, mtu=9000)
    batch = make_frames(300, 1500, 9014)
    made.send(port, batch, far.take)
    made.until(lambda: far.take() or len(far.got) >= len(batch))
    assert far.got == batch
    for frame in batch:
        assert fill(made, port, far, [frame]) == [frame]


def test_a_starved_ring_loses_nothing_unseen(station, model, tmp_path, far, make_frames):
    made, port = connected(station, model, tmp_path, rx_ring=32)
    batch = make_frames(500)
    sent = 0
    end = time.monotonic() + 1
    while sent < len(batch) and time.monotonic() < end:  # nobody takes anything meanwhile
        sent += far.give(batch[sent])
    missed = port.extra_counters()["rx_missed_errors"]
    got = made.receive(port, sent - missed)
    missed = port.extra_counters()["rx_missed_errors"]
    assert len(got) + missed == sent
    assert all(frame in batch for frame in got)


def test_the_link_follows_the_cable(station, model, tmp_path):
    made = station(f"qemu:{model},wire={tmp_path}/wire")
    port = made.ports[0]
    port.start()
    port.control()
    assert not port.device.link().up
    assert "other end" in port.why_down()
    end = FarEnd(tmp_path / "wire")
    made.until(port.up)
    assert port.device.link().speed == 1000
    end.socket.close()
    made.until(lambda: not port.up())


def test_addresses_are_read_set_and_filtered(station, model, tmp_path, far, make_frames):
    made, port = connected(station, model, tmp_path, mac="02:00:00:00:00:02", promisc="off")
    assert port.device.mac == bytes.fromhex("020000000002")
    mine = make_frames(1)[0]
    other = b"\x02\0\0\0\0\x77" + mine[6:]
    multicast = b"\x01\0\x5e\0\0\1" + mine[6:]
    broadcast = b"\xff" * 6 + mine[6:]
    for frame in (other, mine, multicast, broadcast):
        assert far.give(frame)
    assert made.receive(port, 3) == [mine, multicast, broadcast]


def test_vlan_tags_are_stripped_and_inserted(station, model, tmp_path, far, make_frames):
    made, port = connected(station, model, tmp_path, vlan_strip="on", vlan_insert=7)
    plain = make_frames(1, 100, 100)[0]
    tagged = plain[:12] + b"\x81\x00\x00\x07" + plain[12:]
    made.send(port, [plain])
    made.until(lambda: far.take() or far.got)
    assert far.got == [tagged]
    assert fill(made, port, far, [tagged]) == [plain]


def test_frames_that_the_device_cannot_send_are_counted(station, model, tmp_path, far, make_frames):
    made, port = connected(station, model, tmp_path)
    good = make_frames(1)[0]
    made.send(port, [good[:16], good, good * 30])
    made.until(lambda: far.take() or far.got)
    assert far.got == [good]
    assert made.counter(port, "tx", "errors") == 2


def test_an_mtu_above_the_devices_is_refused(station):
    with pytest.raises(Usage, match="82574L takes no MTU above 9194"):
        station("qemu:e1000e,mtu=9195")


# -- what the drivers say, on a device that is only a script ------------------------------------


@pytest.fixture(params=[0x100E, 0x10D3], ids=["82540EM", "82574L"])
def scripted(request):
    """A NIC on a fake device whose reset bit clears itself."""
    device = Fake({0: 0x8086, 2: request.param}, 0x20000)
    device.bar.on_write[0] = lambda value: value & ~(1 << 26)
    device.bar.cells |= {0x5400: 0x03020100 | 2, 0x5404: 0x80000504, 8: 0x80080783}
    kind = NICS[0x8086, request.param]
    values = {name: option.default for name, option in kind.known_options().items()}
    nic = kind(device, "fake", values)
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
    device.log.clear()
    nic.start()
    steps = [offset for way, offset, _ in device.log if way == "write" and offset < 0x5200]
    assert nic.mac.hex(":") == "02:01:02:03:04:05"
    assert [each for each in steps if each != 0x3828] == [
        *(0xD8, 0x0, 0xD8),  # masked, reset, masked
        *(0x38, 0x0),  # tags, link up
        *(0x2800, 0x2804, 0x2808, 0x2810, 0x2818, 0x100),  # the ring, then the receiver
        *(0x3800, 0x3804, 0x3808, 0x3810, 0x3818, 0x410, 0x400),
    ]
    assert device.bar.cells[0x2804] == 1  # the pool lies at 4 GiB: both halves are written
    assert device.bar.cells[0x100] & ~(0xF << 27) == 0x0400801A  # FLXBUF aside
    assert nic.link().up
    assert nic.link().speed == 1000


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
    start = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"CTRL .*wanted RST=0"):
        nic.start()
    assert time.monotonic() - start < 5


def test_interrupts_are_routed_and_stay_masked(scripted):
    nic, device, _ = scripted
    nic.events = [-1]  # somebody listens
    device.log.clear()
    nic.start()
    steps = [offset for way, offset, _ in device.log if way == "write"]
    assert 0xD0 not in steps, "no interrupt is let through before a worker sleeps"
    vector, stores = nic.rx[0].vector, device.bar.stores
    assert (vector.unmask.mmio, vector.mask.mmio) == (stores + 0xD0 // 4, stores + 0xD8 // 4)
    assert vector.unmask_value == vector.mask_value
    if nic.interrupts == "INTx":
        assert vector.unmask_value == 1 << 7
        assert vector.cause.mmio == stores + 0xC0 // 4
        return
    assert vector.unmask_value == 1 << 20
    assert not vector.cause.mmio
    assert steps.index(0xE4) < steps.index(0x100), "before the receiver"
    assert device.bar.cells[0xE4] == 1 << 3  # vector 0, valid
    assert device.bar.cells[0xDC] == device.bar.cells[0xE0] == 1 << 20
    assert device.bar.cells[0x18] == 1 << 31 | 1 << 24
