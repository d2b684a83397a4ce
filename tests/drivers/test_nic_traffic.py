# SPDX-License-Identifier: Apache-2.0
"""What every NIC with a register-level driver does on QEMU's model, frame by frame against the far
end of the cable. virtio-net, which counts no losses, has a file of its own.
"""

import os
import signal

import pytest

from tests.support.cable_end import FarEnd, carry_out, connected, fill, lost, starve
from uspnet.errors import DeviceFault, Usage
from uspnet.packets.craft import craft
from uspnet.packets.frames import udp_frame
from uspnet.ports.qemu import models

MODELS = [name for name, nic in models().items() if not nic.unknown]  # they count every loss
WINDOW = {name: models()[name].models[name].window or 1 << 30 for name in MODELS}
CHECKING = [name for name in MODELS if "rx-checksum" in models()[name].options.known()]
SPREADING = [f"{name},queues=2" for name in CHECKING if "queues" in models()[name].options.known()]
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
LOSSES = {"rx_missed_errors", "rx_errors", "tx_errors", "tx_dropped"}
pytestmark = pytest.mark.usefixtures("qemu")


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


@pytest.fixture
def join(model, station, tmp_path, far):
    """`join(**options)`: a started port on the wire that `far` holds: its station, and the port."""
    return lambda **options: connected(station, model, tmp_path, **options)


def lost_nothing(made, port):
    """Is every counter of loss zero?"""
    extra = port.extra_counters()
    assert set(extra) <= LOSSES
    ours = [made.counter(port, way, "errors") for way in ("rx", "tx")]
    return not any([*extra.values(), *ours])


def test_ten_thousand_frames_each_way_are_byte_equal(join, model, far, make_frames):
    made, port = join(rx_ring=128, tx_ring=128)  # 78 times round
    batch = make_frames(10_000)
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch, WINDOW[model]) == batch
    for way in ("rx", "tx"):
        assert made.counter(port, way, "packets") == len(batch)
        assert made.counter(port, way, "bytes") == sum(map(len, batch))
    assert lost_nothing(made, port)
    assert made.counter(port, "tx", "doorbells") <= len(batch) // 32 * 2 + 2


def test_the_longest_frames_are_byte_equal(join, model, far, make_frames):
    longest = models()[model].frame_max
    made, port = join(mtu=longest - 22)
    batch = [*make_frames(1000, 1500, longest), make_frames(1, longest, longest)[0]]
    assert carry_out(made, port, far, batch) == batch
    assert fill(made, port, far, batch, 30) == batch
    assert lost_nothing(made, port)


def test_an_mtu_above_the_devices_is_refused(station, model):
    most = models()[model].frame_max - 22
    for mtu in (most + 1, 67):
        with pytest.raises(Usage, match=r"MTU|mtu="):
            station(f"qemu:{model},mtu={mtu}")


def test_a_starved_ring_loses_nothing_unseen(join, far, make_frames):
    made, port = join(rx_ring=32)
    batch = make_frames(500)
    sent, got = starve(far, batch), []
    made.until(lambda: got.extend(made.take(port)) or len(got) + lost(made, port) == sent)
    assert all(frame in batch for frame in got)
    assert fill(made, port, far, batch[:100], 5) == batch[:100], "and it goes on"
    missed = port.extra_counters()["rx_missed_errors"]
    made.until(lambda: made.counter(port, "rx", "missed") == missed)  # for other processes, too
    port.stop()
    assert len(got) + lost(made, port) == sent, "and it is not forgotten"


def test_a_full_wire_holds_packets_back(join, far, make_frames):
    made, port = join(tx_ring=64)
    batch = make_frames(4000)
    taken = 0
    while more := made.offer(port, batch[taken : taken + 32]):  # nobody reads at the far end
        taken += more
        port.control()
    rest = batch[taken:]
    assert rest, "the wire has an end"
    made.send(port, rest, far.take)
    made.until(lambda: far.take() or len(far.got) >= len(batch))
    assert far.got == batch
    assert lost_nothing(made, port)


def test_the_link_follows_the_cable(station, model, tmp_path):
    made = station(f"qemu:{model},wire={tmp_path}/wire")
    port = made.ports[0]
    port.start()
    port.control()
    assert not port.device.link().up
    assert "no peer on wire" in port.why_down()
    end = FarEnd(tmp_path / "wire")
    made.until(port.up)
    assert port.device.link().speed == 1000
    end.socket.close()
    made.until(lambda: not port.up())


def stations(mine):
    """The same frame for us, for another, for a group, and for all."""
    return mine, *(to + mine[6:] for to in (b"\x02\0\0\0\0\x77", b"\x01\0\x5e\0\0\1", b"\xff" * 6))


def test_the_devices_own_address_is_known(join, far, make_frames):
    made, port = join(promisc="off")
    address = port.device.mac
    assert address.startswith(b"\x52\x54\0"), "QEMU's"
    mine = address + make_frames(1)[0][6:]
    for frame in (b"\x02" + mine[1:], mine):
        assert far.give(frame)
    assert made.receive(port, 1) == [mine]


def test_an_address_is_set_and_filtered_after_every_start(join, far, make_frames):
    made, port = join(mac="02:00:00:00:00:02", promisc="off")
    assert port.device.mac == bytes.fromhex("020000000002")
    mine, other, group, everybody = stations(make_frames(1)[0])
    for _ in range(2):
        for frame in (other, mine, group, everybody):
            assert far.give(frame)
        assert made.receive(port, 3) == [mine, group, everybody]
        port.stop()
        made.start()


def test_multicast_may_be_left_out(join, far, make_frames):
    made, port = join(mac="02:00:00:00:00:02", promisc="off", multicast="off")
    mine, other, group, everybody = stations(make_frames(1)[0])
    for frame in (group, other, everybody, mine):
        assert far.give(frame)
    assert made.receive(port, 2) == [everybody, mine]


def test_a_promiscuous_port_takes_all(join, far, make_frames):
    made, port = join(mac="02:00:00:00:00:02")
    frames = list(stations(make_frames(1)[0]))
    assert fill(made, port, far, frames) == frames


def test_vlan_tags_are_stripped_and_inserted(join, far, make_frames):
    made, port = join(vlan_strip="on", vlan_insert=7, tx_ring=32)
    plain = make_frames(1, 100, 100)[0]
    tagged = plain[:12] + b"\x81\x00\x00\x07" + plain[12:]
    assert carry_out(made, port, far, [plain] * 100) == [tagged] * 100  # several times round
    assert fill(made, port, far, [tagged, plain]) == [plain, plain]


def test_tags_pass_as_they_are_by_default(join, far, make_frames):
    made, port = join()
    plain = make_frames(1, 1514, 1514)[0]
    tagged = [plain[:12] + b"\x81\x00\x00\x07" + plain[12:]]
    assert carry_out(made, port, far, tagged) == tagged
    assert fill(made, port, far, tagged) == tagged


def spoiled(frame, at):
    """The frame with another byte there."""
    return frame[:at] + bytes([frame[at] ^ 0xFF]) + frame[at + 1 :]


def checksummed():
    """Good frames of several protocols, and the same with a byte of a checksum changed."""
    udp = udp_frame(100, *MACS, "198.18.0.1", "198.18.0.2", 1024, 9)
    none = udp[:40] + bytes(2) + udp[42:]
    tcp, tcp6 = (craft(f"Ether()/{ip}/TCP()/('x' * 40)")[0].frame for ip in ("IP()", "IPv6()"))
    sctp = craft("Ether()/IP()/SCTP()/'padded'")[0].frame.ljust(60, b"\0")  # not looked at
    good = [udp, none, tcp, tcp6, sctp, bytes(12) + b"\x88\xb5" + bytes(46)]
    checksums = [(udp, 24), (udp, 40), (tcp, 24), (tcp, 50), (tcp6, 70), (sctp, 24)]
    return good, [spoiled(frame, at) for frame, at in checksums]


@pytest.mark.parametrize("nic", [*CHECKING, *SPREADING])
def test_wrong_checksums_are_refused_when_asked_for(nic, station, tmp_path, far):
    good, bad = checksummed()
    made, port = connected(station, f"{nic},rx-checksum=on", tmp_path)
    for frame in (frame for pair in zip(bad, good, strict=True) for frame in pair):
        made.until(lambda: far.give(frame))  # noqa: B023 - used at once
    got = []
    made.until(
        lambda: (
            got.extend(f for i in range(port.queues) for f in made.take(port, i))
            or len(got) == len(good)
        )
    )
    assert sorted(got) == sorted(good)
    assert made.counter(port, "rx", "errors") == len(bad)


@pytest.mark.parametrize("nic", CHECKING)
def test_wrong_checksums_pass_by_default(nic, station, tmp_path, far):
    _, bad = checksummed()
    made, port = connected(station, nic, tmp_path)
    assert fill(made, port, far, bad) == bad
    assert made.counter(port, "rx", "errors") == 0


def test_frames_that_the_device_cannot_send_are_counted(join, far, make_frames):
    made, port = join()
    good = make_frames(1)[0]
    made.send(port, [good[:13], good, good * 30])
    made.until(lambda: far.take() or far.got)
    assert far.got == [good]
    assert made.counter(port, "tx", "errors") == 2


def test_nonsense_from_a_foreign_program_is_survived(join, far, make_frames):
    made, port = join()
    good = make_frames(1)[0]
    for size in (1, 13, 14, 20, 59, 1523, 2048, 9730, 16384, 65000):
        made.until(lambda: far.give(bytes(size)))  # noqa: B023 - used at once
        made.until(lambda: far.give(good))
        got = []
        made.until(lambda: good in got or got.extend(made.take(port)))  # noqa: B023 - at once
        assert all(len(frame) <= made.pool.room for frame in got)
    port.stop()
    assert made.held() == 0


def test_a_qemu_that_ends_by_itself_is_a_fault(join, far):
    made, port = join()
    os.kill(port.machine.process.pid, signal.SIGTERM)
    with pytest.raises(DeviceFault, match="QEMU has ended") as caught:
        made.until(lambda: False)
    assert caught.value.hint
