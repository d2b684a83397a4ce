# SPDX-License-Identifier: Apache-2.0
"""vmxnet3 on QEMU's model: what only it does; and what it says to a script."""

import pytest

from tests.support.cable_end import connected, fill, lost, starve
from tests.support.transcript import written
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, DeviceTimeout, NotSupported
from uspnet.fastpath import ffi, lib
from uspnet.pool import Pool
from uspnet.transports.fake import Fake, FakeBar

WINDOW = 30  # frames under way: the model drops at once what finds no descriptor
LOST = {"rx_missed_errors": 0, "rx_errors": 0, "tx_errors": 0, "tx_dropped": 0}


@pytest.fixture
def join(qemu, station, tmp_path, far):
    """`join(**options)`: a started port on the wire that `far` holds: its station, and the port."""
    return lambda **options: connected(station, "vmxnet3", tmp_path, **options)


@pytest.mark.parametrize(("mtu", "longest"), [(1500, 1514), (9000, 6000)])
def test_frames_in_pieces_are_byte_equal(join, far, make_frames, mtu, longest):
    made, port = join(mtu=mtu, rx_ring=64, rx_buffer=256)
    batch = make_frames(2000, 60, longest)
    assert fill(made, port, far, batch, 63 // (longest // 256 + 1)) == batch
    assert port.extra_counters() == LOST
    port.stop()
    assert made.held() == 0


@pytest.mark.parametrize("options", [{}, {"rx_buffer": 256}], ids=["whole", "in pieces"])
def test_a_starved_ring_loses_nothing_unseen(join, far, make_frames, options):
    made, port = join(rx_ring=32, **options)
    batch = make_frames(500)
    sent, got = starve(far, batch), []
    made.until(lambda: got.extend(made.take(port)) or len(got) + lost(made, port) == sent)
    assert port.extra_counters()["rx_missed_errors"] > 0
    assert all(frame in batch for frame in got)
    assert fill(made, port, far, batch[:100], 5) == batch[:100]
    port.stop()
    assert len(got) + lost(made, port) == sent, "and it is not forgotten"


def test_a_frame_longer_than_its_buffer_is_one_error(join, far, make_frames):
    made, port = join()
    good = make_frames(1)[0]
    assert far.give(good * 60)
    assert far.give(good)
    assert made.receive(port, 1) == [good]
    assert made.counter(port, "rx", "errors") == 1, "the device delivers it, marked as bad"
    assert port.extra_counters() == LOST, "and counts it, too: it is not added again"


def test_what_the_model_cannot_parse_it_does_not_send_and_we_say_so(join, far, make_frames):
    """MEASURED: QEMU's model sends no IPv4 packet whose header is impossible."""
    made, port = join()
    good = make_frames(1)[0]
    made.send(port, [good[:12] + b"\x08\x00" + bytes(46), good])
    made.until(lambda: far.take() or far.got)
    assert far.got == [good]
    assert port.extra_counters() == LOST | {"tx_errors": 1}
    assert port.pending() == 0


def test_the_filter_lets_every_vlan_pass(join, far, make_frames):
    made, port = join(mac="02:00:00:00:00:02", promisc="off")
    mine = make_frames(1)[0]
    tagged = mine[:12] + b"\x81\x00\x01\x23" + mine[12:]
    for frame in (b"\x02\0\0\0\0\x77" + tagged[6:], tagged):
        assert far.give(frame)
    assert made.receive(port, 1) == [tagged]


# -- what the driver says, on a device that is only a script ------------------------------------

VRRS, DSAL, DSAH, CMD, MACL, MACH = 0x0, 0x10, 0x18, 0x20, 0x28, 0x30
ACTIVATE, QUIESCE, RESET = 0xCAFE0000, 0xCAFE0001, 0xCAFE0002
LINK_UP = 10000 * 65536 + 1


class Script(Fake):
    """A VMXNET3 of revisions 1 to 3. `commands`: those it was given; `results`: their answers."""

    def __init__(self):
        super().__init__({0: 0x15AD, 2: 0x07B0}, 0x1000)
        self.doors, self.commands = FakeBar(self, 0x1000), []
        self.results = {0xF00D0002: LINK_UP}
        self.bar.cells = {VRRS: 0b111, 0x8: 1, MACL: 0x03020102, MACH: 0x0504}
        self.bar.on_write[CMD] = self.obey

    def obey(self, command):
        self.commands.append(command)
        return self.results.get(command, 0)

    def map_bar(self, number):
        return [self.doors, self.bar][number]


@pytest.fixture
def device():
    return Script()


@pytest.fixture
def scripted(device):
    """The driver on the script: NIC, free buffers."""
    nic = nics()[0x15AD, 0x07B0](device, "fake", {"rx-ring": 512})
    nic.open()
    pool = Pool(1024, nic.frame, nic.ring_bytes())
    nic.attach(pool)
    stack = pool.stack(1024)
    counters = ffi.new("struct counters[2]")
    for number, made, queue in ((0, nic.rx, nic.make_rx(0)), (1, nic.tx, nic.make_tx(0))):
        made.append(queue)
        queue.q.pool, queue.q.stack, queue.q.counters = pool.c, stack, counters + number
    yield nic, stack
    pool.close()


def test_the_newest_revision_that_both_know_is_chosen(scripted, device):
    assert device.bar.cells[VRRS] == 4
    assert scripted[0].mac.hex(":") == "02:01:02:03:04:05"
    for offered, chosen in ((0b001, 1), (0b1111111, 4), (0b011, 2)):
        device.bar.cells[VRRS] = offered
        scripted[0].negotiate()
        assert device.bar.cells[VRRS] == chosen


def test_a_device_without_a_revision_that_we_know_is_refused(device):
    device.bar.cells[VRRS] = 0b1000000
    with pytest.raises(NotSupported, match="VRRS offers only"):
        nics()[0x15AD, 0x07B0](device, "fake", {}).open()


def test_start_up_is_in_order(scripted, device):
    nic, stack = scripted
    device.commands.clear()
    device.log.clear()
    steps = written(nic.start)
    assert steps == [
        *("VRRS", "UVRS"),
        *("CMD", "CMD", "DSAL", "DSAH"),  # quiet, reset, no shared area
        "COMMAND",  # bus master
        *("DSAL", "DSAH", "CMD"),  # the shared area, then activated
        "IMR[0]",
        *("MACL", "MACH"),
        *("CMD", "CMD", "CMD"),  # filters
        *("RXPROD[0]", "RXPROD2[0]"),
        "CMD",  # the first look at its statistics
    ]
    assert device.commands[:3] == [QUIESCE, RESET, ACTIVATE]
    writes = [(at, value) for way, at, value in device.log if way == "write"]
    shared, active = (
        writes.index((DSAL, nic.area_memory.address % 2**32)),
        writes.index((CMD, ACTIVATE)),
    )
    assert writes[shared + 1] == (DSAH, 1)  # the rings lie above 4 GiB
    assert shared < active < writes.index((MACH, 0x0504)) < writes.index((0x800, 511))
    assert (0xA00, 31) in writes
    assert stack.room - stack.top == 511 + 31


def test_the_shared_area_is_what_the_device_expects(scripted):
    nic, _ = scripted
    nic.start()
    area = bytes(ffi.buffer(nic.area))
    word = lambda at, size=4: int.from_bytes(area[at : at + size], "little")  # noqa: E731
    assert (word(0), word(4)) == (0xBABEFEE1, 720)
    assert word(40, 8) == nic.area_memory.address + 1024
    assert (word(52), word(56), word(62, 1), word(63, 1)) == (512, 1500, 1, 1)
    assert word(108) == 1, "interrupts are off"
    assert word(120) == 0x1D, "unicast, broadcast, all multicast, promiscuous"
    assert area[136:648] == b"\xff" * 512, "every VLAN"
    assert word(1040, 8) == nic.tx_memory.address
    assert (word(1080), word(1088)) == (512, 512)
    assert (word(1296, 8), word(1304, 8)) == tuple(each.address for each in nic.rx_memory)
    assert (word(1336), word(1340), word(1344)) == (512, 32, 1024)
    assert nic.link().speed == 10000


def test_only_received_frames_may_interrupt(scripted, device):
    nic, _ = scripted
    nic.events = [-1]  # somebody listens
    nic.start()
    assert (nic.area.interrupts, nic.area.interrupt_control) == (2, 0)
    assert (nic.area.rx.interrupt, nic.area.tx.interrupt, nic.area.event_interrupt) == (0, 1, 1)
    assert (device.doors.cells[0], device.doors.cells[8]) == (1, 1), "both masked"
    vector, stores = nic.rx[0].vector, device.doors.stores
    assert (vector.unmask.mmio, vector.unmask_value) == (stores, 0)
    assert (vector.mask.mmio, vector.mask_value) == (stores, 1)


def test_stop_gives_every_buffer_back(scripted, device):
    nic, stack = scripted
    for _ in range(3):
        nic.start()
        nic.stop()
        assert stack.room == stack.top
        assert device.config[4] & 4 == 0  # no bus master any more
        assert device.bar.cells[DSAL] == device.bar.cells[DSAH] == 0


def test_counters_begin_at_each_start(scripted):
    nic, _ = scripted
    nic.start()
    nic.area.rx.out_of_buffer = nic.area.tx.errors = 7
    nic.area.rx.errors, nic.area.tx.discarded = 2, 3
    assert nic.counters() == {
        "rx_missed_errors": 7, "rx_errors": 2, "tx_errors": 7, "tx_dropped": 3,
    }  # fmt: skip
    nic.rx[0].rx_bad = 5  # the queue has counted those: two errors and three of the missed frames
    counters = nic.counters()
    assert (counters["rx_missed_errors"], counters["rx_errors"]) == (4, 0)
    nic.rx[0].rx_bad = 12  # the device did not count them all
    counters = nic.counters()
    assert (counters["rx_missed_errors"], counters["rx_errors"]) == (0, 0)
    nic.rx[0].rx_bad = 0
    nic.stop()
    assert nic.counters()["rx_missed_errors"] == 7
    nic.start()
    assert not any(nic.counters().values())


def test_a_device_that_refuses_is_named(scripted, device):
    nic, stack = scripted
    device.results[ACTIVATE] = 1
    with pytest.raises(DeviceTimeout, match=r"CMD .*wanted RESULT=0"):
        nic.start()
    nic.stop()
    assert stack.room == stack.top


def test_a_device_that_is_gone_is_a_fault(scripted, device):
    nic, stack = scripted
    nic.start()
    device.removed = True
    for act in (nic.link, nic.counters, nic.stop):
        with pytest.raises(DeviceFault, match="all ones"):
            act()
    assert stack.room == stack.top


def test_a_device_that_stops_a_queue_is_a_fault(scripted):
    nic, _ = scripted
    nic.start()
    nic.area.events, nic.area.tx.error = 2, 0x80000001
    with pytest.raises(DeviceFault, match="transmit error 0x80000001"):
        nic.link()


def test_receive_doorbells_ring_when_the_device_asks(scripted, device):
    nic, _ = scripted
    nic.start()
    nic.area.rx.wants_doorbell = 1
    packets = ffi.new("struct packet[64]")
    for slot in range(64):
        nic.rx[0].completions[slot].low = slot + 0xC000
        nic.rx[0].completions[slot].high = (1 << 63) + 100
    base = ffi.addressof(nic.rx[0].q)

    assert lib.vmxnet3_rx(base, packets, 64) == 64
    assert device.doors.stores[0x800 // 4] == (511 + 64) % 512
    for packet in packets:
        nic.rx[0].q.stack.free[nic.rx[0].q.stack.top] = packet.index
        nic.rx[0].q.stack.top += 1
