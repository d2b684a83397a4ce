# SPDX-License-Identifier: Apache-2.0
"""What virtio-net's driver says to a device that is only a script, honest, broken or gone."""

import pytest

from tests.support.transcript import written
from tests.support.vanishing import Last
from uspnet.drivers.virtio_net import VirtioNet
from uspnet.errors import DeviceFault, DeviceTimeout, NotSupported, Usage, UspnetError
from uspnet.fastpath import ffi
from uspnet.pool import Pool
from uspnet.transports.fake import Fake

COMMON, NOTIFY, DEVICE, BAR = 0x0, 0x1000, 0x2000, 0x3000
OFFERED = 1 << 32 | 1 << 16 | 1 << 5 | 1 << 3  # VERSION_1, STATUS, MAC, MTU
LEGACY = {0: 0x1AF4, 2: 0x1000}


def capability(at, after, kind, offset, length, multiplier=0):
    fields = [(0, 9), (1, after), (2, 20), (3, kind), (4, 4), (8, offset), (12, length)]
    return {at + field: value for field, value in [*fields, (16, multiplier)]}


class Scripted:
    """A device of two queues on a fake transport, and its driver."""

    def __init__(self, offered=OFFERED, **given):
        config = LEGACY | {6: 0x10, 0x34: 0x40}
        config |= capability(0x40, 0x60, 1, COMMON, 0x38)
        config |= capability(0x60, 0x80, 2, NOTIFY, 0x100, 4)
        config |= capability(0x80, 0, 4, DEVICE, 12)
        self.device = Fake(config, BAR)
        bar = self.device.bar
        bar.on_read[0x04] = lambda _: offered >> 32 * bar.cells[0] & 0xFFFFFFFF
        bar.on_read[0x1E] = lambda _: bar.cells[0x16]
        bar.cells |= {0x18: 256, DEVICE + 6: 1, DEVICE + 10: 1500}
        bar.cells |= {DEVICE + i: byte for i, byte in enumerate(b"\x02\1\2\3\4\5")}
        self.nic = VirtioNet(self.device, "fake", given)

    def open(self):
        nic = self.nic
        nic.open()
        self.pool = Pool(1024, nic.frame, nic.ring_bytes())
        nic.attach(self.pool)
        self.stack = self.pool.stack(1024)
        self.keep = [ffi.new("struct counters *") for _ in range(2)]
        nic.rx.append(nic.make_rx(0))
        nic.tx.append(nic.make_tx(0))
        for queue, counters in zip((*nic.rx, *nic.tx), self.keep, strict=True):
            queue.q.pool, queue.q.stack, queue.q.counters = self.pool.c, self.stack, counters
        return nic, self.device.bar

    def start(self):
        self.open()
        self.nic.start()
        self.nic.check()


def test_start_up_is_the_specifications():
    script = Scripted()
    nic, bar = script.open()
    assert nic.mac.hex(":") == "02:01:02:03:04:05"
    script.device.log.clear()
    offered = ("DEVICE_FEATURE_SELECT", "DRIVER_FEATURE_SELECT", "DRIVER_FEATURE")
    queue = ("SELECT", "SIZE", "DESC", "DRIVER", "DEVICE", "ENABLE")
    assert (
        written(nic.start)
        == [
            "DEVICE_STATUS",  # reset
            "COMMAND",  # bus master
            *("DEVICE_STATUS", "DEVICE_STATUS"),  # acknowledged, a driver
            *(offered[0], offered[0], *offered[1:], *offered[1:], "DEVICE_STATUS"),
            *(f"QUEUE_{name}" for name in (*queue, *queue)),
            "DEVICE_STATUS",  # driver OK
            "QUEUE_SELECT",  # for the receive queue's doorbell
        ]
    )
    said = [(at, value) for way, at, value in script.device.log if way == "write"]
    features = [(0x08, 0), (0x0C, OFFERED & 0xFFFFFFFF), (0x08, 1), (0x0C, 1)]
    assert said[:10] == [
        *((0x14, 0), (0x14, 1), (0x14, 3)),  # reset, acknowledged, a driver
        *((0x00, 0), (0x00, 1), *features, (0x14, 0x0B)),
    ]
    ring = [0x16, 0x18, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x1C]
    assert [at for at, _ in said[10:29]] == [*ring, *ring, 0x14]
    assert said[28] == (0x14, 0x0F)  # driver OK
    assert said[29:] == [(0x16, 0), (NOTIFY, 0)], "the receive queue's doorbell"
    assert bar.cells[0x24] == 1, "the rings lie above 4 GiB: both halves are written"
    assert nic.link().up
    nic.check()
    nic.stop()
    assert script.stack.top == script.stack.room
    assert script.device.config[4] & 4 == 0, "no bus master any more"
    script.pool.close()


def test_the_receive_queue_alone_has_a_vector():
    script = Scripted()
    nic, bar = script.open()
    nic.events = [-1]  # somebody listens
    script.device.log.clear()
    nic.start()
    said = [(at, value) for way, at, value in script.device.log if way == "write"]
    assert [value for at, value in said if at == 0x1A] == [0]
    assert nic.rx[0].available.flags == nic.tx[0].available.flags == 1, "quiet until one sleeps"
    nic.stop()
    bar.on_write[0x1A] = lambda _: 0xFFFF
    with pytest.raises(DeviceFault, match="queue 0 gets no MSI-X vector"):
        nic.start()
    nic.stop()
    assert script.stack.top == script.stack.room
    script.pool.close()


def test_a_device_that_asks_for_a_reset_is_a_fault():
    script = Scripted()
    nic, bar = script.open()
    nic.start()
    bar.cells[0x14] |= 0x40
    with pytest.raises(DeviceFault, match="NEEDS_RESET") as caught:
        nic.check()
    assert caught.value.hint
    script.device.removed = True
    with pytest.raises(DeviceFault, match="all ones"):
        nic.check()
    script.pool.close()


def test_a_device_that_vanishes_at_any_moment_is_an_error():
    """Every read is all ones from then on; nothing waits for it, and no buffer is lost."""
    script = Scripted()
    nic, _ = script.open()
    nic.start()
    accesses = len(script.device.log)
    script.pool.close()
    for count in range(accesses):
        script = Scripted()
        script.device.log = Last(script.device, count)
        with pytest.raises(UspnetError):
            script.start()
        if script.nic.rx:
            with pytest.raises(DeviceFault):
                script.nic.stop()
            assert script.stack.top == script.stack.room
            script.pool.close()


def test_a_reset_that_never_ends_is_named():
    script = Scripted()
    script.device.bar.on_write[0x14] = lambda value: value | 4
    with pytest.raises(DeviceTimeout, match=r"reset.*DRIVER_OK"):
        script.nic.open()


def test_features_that_are_missing_are_named():
    script = Scripted(packed=True)
    with pytest.raises(NotSupported, match="does not offer RING_PACKED"):
        script.nic.open()
    assert script.device.bar.cells[0x14] & 0x80, "and the device knows that we gave up"
    with pytest.raises(NotSupported, match="does not offer CTRL_VQ MQ"):
        Scripted(queues=4).nic.open()
    with pytest.raises(NotSupported, match="VERSION_1"):
        Scripted(offered=0).nic.open()


def test_a_device_that_takes_back_its_features_is_refused():
    script = Scripted()
    script.device.bar.on_write[0x14] = lambda value: value & ~8
    with pytest.raises(NotSupported, match="refuses"):
        script.nic.open()


def test_an_mtu_above_the_devices_is_refused():
    with pytest.raises(Usage, match="no MTU above 1500"):
        Scripted(mtu=9000).nic.open()


def test_more_queues_than_the_device_has_are_refused():
    script = Scripted(offered=OFFERED | 1 << 22 | 1 << 17, queues=4)  # MQ, CTRL_VQ
    script.device.bar.cells[DEVICE + 8] = 2
    with pytest.raises(Usage, match="has 2 queue pairs"):
        script.nic.open()


def test_a_device_with_more_queues_than_have_numbers_is_a_fault():
    script = Scripted(offered=OFFERED | 1 << 22 | 1 << 17, queues=2)  # MQ, CTRL_VQ
    script.device.bar.cells[DEVICE + 8] = 0x8000
    with pytest.raises(DeviceFault, match="says that it has 32768 queue pairs"):
        script.nic.open()


def test_a_configuration_is_read_until_it_stands_still():
    script = Scripted()
    bar = script.device.bar
    moves = iter(range(1000))
    bar.on_read[0x15] = lambda _: min(next(moves), 7)
    bar.on_read[DEVICE + 5] = lambda byte: (
        byte + len([1 for each in script.device.log if each[1] == 0x15])
    )
    script.nic.open()
    assert script.nic.mac[5] > 5 + 7
    bar.on_read[0x15] = lambda _: next(moves) % 256
    with pytest.raises(DeviceFault, match="never stops changing"):
        script.nic.open()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({0x34: 0}, NotSupported, "legacy"),
        ({0x41: 0x40}, NotSupported, "legacy"),  # a list that bites its tail
        ({0x48: BAR - 0x37}, DeviceFault, "outside of its BAR"),
        ({0x4C: 0xFFFFFFFF}, DeviceFault, "outside of its BAR"),
        ({0x4C: 0x37}, NotSupported, "legacy"),  # too short to be the common structure
        ({0x8C: 4}, NotSupported, "legacy"),
        ({0x44: 6}, NotSupported, "legacy"),  # reserved BARs
        ({0x84: 255}, NotSupported, "legacy"),
        ({0x34: 0xFC, 0xFC: 9}, DeviceFault, "of a structure of 4 bytes"),
    ],
)
def test_capabilities_that_lie_are_refused(change, error, text):
    script = Scripted()
    script.device.config |= change
    with pytest.raises(error, match=text):
        script.nic.open()


def test_a_doorbell_out_of_bounds_is_refused():
    script = Scripted()
    script.device.bar.on_read[0x1E] = lambda _: 0xFFFF
    with pytest.raises(DeviceFault, match="doorbell of queue 0"):
        script.open()
    script.pool.close()


def test_a_queue_that_does_not_exist_is_a_fault():
    script = Scripted()
    script.device.bar.cells[0x18] = 0
    with pytest.raises(DeviceFault, match="queue 0 does not exist"):
        script.nic.open()


def test_a_control_queue_without_room_for_a_command_is_refused():
    script = Scripted(OFFERED | 1 << 17)
    sizes = [256, 256, 1]
    script.device.bar.on_read[0x18] = lambda _: sizes[script.device.bar.cells[0x16]]
    script.open()
    with pytest.raises(NotSupported, match="control queue of 1 descriptor"):
        script.nic.start()
    script.pool.close()
