# SPDX-License-Identifier: Apache-2.0
"""virtio-net on QEMU's model, frame by frame against the far end of the cable, and on a script."""

import time
from dataclasses import replace

import pytest

from tests.far import FarEnd, connected, fill
from tests.flows import check_queues, flows, receive_by_queue
from uspnet.errors import DeviceFault, DeviceTimeout, NotSupported, Usage
from uspnet.fastpath import ffi, lib
from uspnet.nic import NICS
from uspnet.pool import Pool
from uspnet.transports.fake import Fake

pytestmark = pytest.mark.usefixtures("qemu")
MODEL = "virtio-net"
KINDS = {
    "split": {},
    "packed": {"packed": "on"},
    "split, merging": {"mrg_rxbuf": "on"},
    "packed, merging": {"packed": "on", "mrg_rxbuf": "on"},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request):
    return request.param


def carry_out(made, port, far, batch):
    """Sends frames from the port and returns what came out at the far end."""
    far.got.clear()
    made.send(port, batch, far.take)
    made.until(lambda: far.take() or len(far.got) >= len(batch))
    return far.got


@pytest.mark.parametrize("model", [MODEL, "virtio-net-transitional"])
def test_ten_thousand_frames_each_way_are_byte_equal(
    station, model, kind, tmp_path, far, make_frames
):
    made, port = connected(station, model, tmp_path, rx_ring=128, tx_ring=128, **kind)
    batch = make_frames(10_000)
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch) == batch
    assert made.counter(port, "tx", "packets") == made.counter(port, "rx", "packets") == 10_000
    assert made.counter(port, "rx", "errors") == 0
    assert made.counter(port, "tx", "doorbells") <= 10_000 // 32 * 2 + 2


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_rings_of_all_sizes(station, kind, size, tmp_path, far, make_frames):
    made, port = connected(station, MODEL, tmp_path, rx_ring=size, tx_ring=size, **kind)
    assert port.device.sizes == (size, min(size, 256)), "QEMU has no larger ones to send"
    batch = make_frames(3 * size)
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch) == batch


def test_jumbo_frames_are_byte_equal(station, kind, tmp_path, far, make_frames):
    made, port = connected(station, MODEL, tmp_path, mtu=9000, **kind)
    batch = make_frames(300, 1500, 9014)
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch) == batch


@pytest.mark.parametrize("packed", ["off", "on"])
def test_frames_spread_over_several_buffers_are_joined(station, packed, tmp_path, far, make_frames):
    options = f"mtu=9000,mrg-rxbuf=on,packed={packed}"
    made = station(f"qemu:{MODEL},wire={tmp_path}/wire,{options}")
    port = made.ports[0]
    port.device.rx[0].limit = 1024  # as if buffers were that small
    made.start()
    batch = make_frames(1000, 60, 9014)
    assert fill(made, port, far, batch) == batch
    assert made.counter(port, "rx", "errors") == 0


def test_a_starved_ring_loses_nothing(station, kind, tmp_path, far, make_frames):
    """QEMU waits for buffers, and what the device drops it could not say."""
    made, port = connected(station, MODEL, tmp_path, rx_ring=64, **kind)
    batch = make_frames(500)
    sent = 0
    end = time.monotonic() + 0.5
    while sent < len(batch) and time.monotonic() < end:  # nobody takes anything meanwhile
        sent += far.give(batch[sent])
    assert made.receive(port, sent) == batch[:sent]
    assert port.extra_counters() == {"rx_missed_errors": None}


def test_the_link_follows_the_cable(station, kind, tmp_path, make_frames):
    options = "".join(f",{name.replace('_', '-')}={value}" for name, value in kind.items())
    made = station(f"qemu:{MODEL},wire={tmp_path}/wire{options}")
    port = made.ports[0]
    port.start()
    port.control()
    assert not port.device.link().up
    assert "other end" in port.why_down()
    for _ in range(3):
        end = FarEnd(tmp_path / "wire")
        made.until(port.up)
        batch = make_frames(200)
        assert carry_out(made, port, end, batch) == batch
        end.socket.close()
        (tmp_path / "wire.b").unlink()
        made.until(lambda: not port.up())


def test_addresses_are_set_and_filtered_after_every_start(station, tmp_path, far, make_frames):
    address = bytes.fromhex("020000000002")
    made, port = connected(station, MODEL, tmp_path, mac=address.hex(":"), promisc="off")
    mine = address + make_frames(1)[0][6:]
    others = [
        b"\x02\0\0\0\0\x77" + mine[6:],
        b"\x01\0\x5e\0\0\1" + mine[6:],
        b"\xff" * 6 + mine[6:],
    ]
    for _ in range(2):
        assert port.device.mac == address
        for frame in (others[0], mine, *others[1:]):
            assert far.give(frame)
        assert made.receive(port, 3) == [mine, *others[1:]]
        made.stop()
        made.start()


def test_without_multicast_only_our_own_and_broadcasts_come(station, tmp_path, far, make_frames):
    made, port = connected(station, MODEL, tmp_path, promisc="off", multicast="off")
    mine = port.device.mac + make_frames(1)[0][6:]
    for frame in (b"\x01\0\x5e\0\0\1" + mine[6:], mine):
        assert far.give(frame)
    assert made.receive(port, 1) == [mine]


def test_frames_that_the_device_cannot_send_are_counted(station, kind, tmp_path, far, make_frames):
    made, port = connected(station, MODEL, tmp_path, **kind)
    good = make_frames(1, 100, 100)[0]
    made.send(port, [good[:13], good, good * 30, good[:14]])
    made.until(lambda: far.take() or len(far.got) == 2)
    assert far.got == [good, good[:14]]
    assert made.counter(port, "tx", "errors") == 2


def test_an_mtu_beyond_a_buffer_is_refused(station):
    with pytest.raises(Usage, match="no MTU above"):
        station(f"qemu:{MODEL},mtu=9700")


# -- several queues, against the kernel's end of the cable ---------------------------------------


@pytest.fixture
def inside(namespace):
    """This test runs in a network namespace of its own."""
    with namespace.entered():
        yield namespace


def tapped(station, model, name, **options):
    """A started port whose cable ends in the kernel."""
    return station(
        f"qemu:{model},tap={name}" + "".join(f",{k}={v}" for k, v in options.items())
    ).start()


def giver(sock):
    """Sends a frame into the interface: the port is to receive it."""
    return lambda frame: sock.send(frame) == len(frame)


@pytest.mark.parametrize("packed", ["off", "on"])
def test_each_queue_gets_its_flows_and_no_others(station, inside, packed):
    made = tapped(station, MODEL, "t0", queues=4, packed=packed)
    port = made.ports[0]
    assert port.device.features.RSS
    assert inside.link("t0")["linkinfo"]["info_data"]["numqueues"] == 4
    check_queues(made, port, giver(inside.socket("t0")))
    made.stop()
    made.start()
    check_queues(made, port, giver(inside.socket("t0")))


@pytest.mark.parametrize("packed", ["off", "on"])
def test_every_queue_sends(station, inside, packed, make_frames, read_frames):
    made = tapped(station, MODEL, "t0", queues=4, packed=packed)
    port, sock = made.ports[0], inside.socket("t0")
    for index in range(4):
        batch = make_frames(100 + index)
        for start in range(0, len(batch), 32):
            part = batch[start : start + 32]
            made.until(lambda: made.offer(port, part, index) == len(part))  # noqa: B023
            assert read_frames(sock, len(part)) == part
        assert made.queues[port, "tx", index].base.counters.packets == len(batch)
    made.until(lambda: port.pending() == 0)


def test_without_rss_the_device_spreads_flows_by_itself(station, inside, monkeypatch):
    model = replace(NICS[0x1AF4, 0x1041].models[MODEL], several="mq=on")
    monkeypatch.setitem(NICS[0x1AF4, 0x1041].models, MODEL, model)
    made = tapped(station, MODEL, "t0", queues=4)
    port, given = made.ports[0], flows(300, 4)
    assert not port.device.features.RSS
    got = receive_by_queue(made, port, giver(inside.socket("t0")), given)
    assert sorted(frame for queue in got for frame in queue) == sorted(frame for frame, _ in given)
    assert sum(bool(queue) for queue in got) > 1


def test_more_queues_than_the_device_has_are_refused(station, inside):
    with pytest.raises(Usage, match="one queue"):
        station(f"qemu:{MODEL},queues=4,wire=x")


# -- what the driver says, on a device that is only a script ------------------------------------

COMMON, NOTIFY, DEVICE, BAR = 0x0, 0x1000, 0x2000, 0x3000
OFFERED = 1 << 32 | 1 << 16 | 1 << 5 | 1 << 3  # VERSION_1, STATUS, MAC, MTU
LEGACY = {0: 0x1AF4, 2: 0x1000}


def capability(at, after, kind, offset, length, multiplier=0):
    fields = [(0, 9), (1, after), (2, 20), (3, kind), (4, 4), (8, offset), (12, length)]
    return {at + field: value for field, value in [*fields, (16, multiplier)]}


class Scripted:
    """A device of two queues on a fake transport, and its driver."""

    def __init__(self, offered=OFFERED, **options):
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
        kind = NICS[0x1AF4, 0x1000]
        values = {name: option.default for name, option in kind.known_options().items()}
        self.nic = kind(self.device, "fake", values | options)

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


def test_start_up_is_the_specifications():
    script = Scripted()
    nic, bar = script.open()
    assert nic.mac.hex(":") == "02:01:02:03:04:05"
    script.device.log.clear()
    nic.start()
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
    assert bar.cells[0x24] == 1, "the pool lies at 4 GiB: both halves are written"
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


def test_a_reset_that_never_ends_is_named():
    script = Scripted()
    script.device.bar.on_write[0x14] = lambda value: value | 4
    start = time.monotonic()
    with pytest.raises(DeviceTimeout, match=r"reset.*DRIVER_OK"):
        script.nic.open()
    assert time.monotonic() - start < 5


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


def test_the_ring_faults_by_name(station):
    made = station(f"qemu:{MODEL},loop=on").start()
    port = made.ports[0]
    port.device.rx[0].used.index = 0x7FFF  # as a device that lies would write it
    made.take(port)
    assert port.device.rx[0].q.fault == lib.FAULT_RING
    with pytest.raises(DeviceFault, match="did not have"):
        port.control()
