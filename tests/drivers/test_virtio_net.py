# SPDX-License-Identifier: Apache-2.0
"""virtio-net on QEMU's model, frame by frame against the far end of the cable."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.support.cable_end import FarEnd, connected, fill, options_text
from tests.support.rss_flows import check_queues, flows, receive_by_queue
from uspnet.drivers.virtio_net import VirtioNet
from uspnet.errors import DeviceFault, Usage
from uspnet.fastpath import lib
from uspnet.transports.qemu.machine import binary

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
    rx, tx = port.device.sizes
    assert rx == size
    assert tx in {size, min(size, 256)}, "an older QEMU has no larger ones to send"
    batch = make_frames(3 * size)
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch) == batch


@pytest.mark.parametrize("mtu", [9000, 9694])
def test_jumbo_frames_are_byte_equal(station, kind, mtu, tmp_path, far, make_frames):
    made, port = connected(station, MODEL, tmp_path, mtu=mtu, **kind)
    batch = [*make_frames(300, 1500, mtu + 14), *make_frames(1, mtu + 22, mtu + 22)]
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch) == batch


def altered(monkeypatch, **changes):
    """The model as QEMU has it with other properties."""
    models = VirtioNet.models
    monkeypatch.setitem(models, MODEL, replace(models[MODEL], **changes))


def test_a_device_that_keeps_the_order_is_believed(
    station, monkeypatch, kind, tmp_path, far, make_frames
):
    listed = subprocess.run(
        [binary(), "-device", "virtio-net-pci,help"], capture_output=True, text=True, check=True
    )
    if "in_order" not in listed.stdout:
        pytest.skip("this QEMU is too old: its virtio-net has no in_order")
    altered(monkeypatch, device="virtio-net-pci-non-transitional,in_order=on", since="9.2")
    made, port = connected(station, MODEL, tmp_path, rx_ring=64, tx_ring=64, **kind)
    taken = bool(port.device.features.IN_ORDER)
    assert taken == ("mrg_rxbuf" not in kind), "merged frames may skip reports"
    batch = make_frames(2000)
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch) == batch
    assert made.counter(port, "rx", "errors") == 0


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
    made = station(f"qemu:{MODEL},wire={tmp_path}/wire{options_text(**kind)}")
    port = made.ports[0]
    port.start()
    port.control()
    assert not port.device.link().up
    assert "no peer on wire" in port.why_down()
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
        tagged = mine[:12] + b"\x81\0\0\7" + mine[12:]  # the device does not filter VLANs
        for frame in (others[0], mine, tagged, *others[1:]):
            assert far.give(frame)
        assert made.receive(port, 4) == [mine, tagged, *others[1:]]
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
    return station(f"qemu:{model},tap={name}{options_text(**options)}").start()


def giver(sock):
    """Sends a frame into the interface: the port is to receive it."""
    return lambda frame: sock.send(frame) == len(frame)


def test_each_queue_gets_its_flows_and_no_others(station, kind, inside):
    made = tapped(station, MODEL, "t0", queues=4, **kind)
    port = made.ports[0]
    assert port.device.features.RSS
    assert inside.link("t0")["linkinfo"]["info_data"]["numqueues"] == 4
    check_queues(made, port, giver(inside.socket("t0")))
    made.stop()
    made.start()
    check_queues(made, port, giver(inside.socket("t0")))


def test_a_qemu_that_may_load_no_program_spreads_flows_itself(namespace, needs):
    """Else the kernel does it for QEMU, in eBPF."""
    needs("setpriv")
    powers = "-bpf,-perfmon,-sys_admin"
    spec = f"qemu:{MODEL},queues=4,tap=t0"
    script = [sys.executable, "-m", "tests.support.rss_flows", spec, "t0"]
    done = namespace.run("setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", *script)
    assert "software RSS" in done.stdout


def test_every_queue_sends(station, kind, inside, make_frames, read_frames):
    made = tapped(station, MODEL, "t0", queues=4, **kind)
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
    altered(monkeypatch, several="mq=on")
    made = tapped(station, MODEL, "t0", queues=4)
    port, given = made.ports[0], flows(300, 4)
    assert not port.device.features.RSS
    got = receive_by_queue(made, port, giver(inside.socket("t0")), given)
    assert sorted(frame for queue in got for frame in queue) == sorted(frame for frame, _ in given)
    assert sum(bool(queue) for queue in got) > 1


def test_the_ring_faults_by_name(station):
    made = station(f"qemu:{MODEL},loop=on,outage=0").start()
    port = made.ports[0]
    port.device.rx[0].used.index = 0x7FFF  # as a device that lies would write it
    made.take(port)
    assert port.device.rx[0].q.fault == lib.FAULT_RING
    with pytest.raises(DeviceFault, match="did not own"):
        port.control()
