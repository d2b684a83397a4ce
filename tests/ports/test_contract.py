# SPDX-License-Identifier: Apache-2.0
"""The same promises for every port that can be built here. New NIC models join by themselves."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time

import pytest

from tests.support.identity import answer
from tests.support.processes import opened
from tests.support.waiting import scaled
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, NotSupported
from uspnet.ports.pci import Pci
from uspnet.ports.qemu import models
from uspnet.spec import parse
from uspnet.telemetry import UNKNOWN
from uspnet.transports.fake import Fake

NUMBERS = itertools.count()
SPECS = [
    ",".join(filter(None, [f"qemu:{name}", variant]))
    for name, nic in sorted(models().items())
    for variant in ("", *nic.models[name].variants)
]


def wire() -> str:
    """The name of a wire that nobody else has."""
    return f"contract-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture(params=SPECS)
def spec(request, qemu):
    return request.param


@pytest.fixture
def built(station, spec):
    """`built(*options)`: ports of the tested kind, one for each text of options."""

    return lambda *options: station(*(f"{spec},{text}" for text in options))


@pytest.fixture
def pair(built):
    """Two of them on one cable, started: station, one port, the other."""
    cable = wire()
    made = built(f"wire={cable}", f"wire={cable}").start()
    return made, *made.ports


def test_what_one_sends_the_other_receives_both_ways(pair, make_frames):
    made, a, b = pair
    batch = make_frames(500)
    assert made.carry(a, b, batch) == batch
    assert made.carry(b, a, batch) == batch


@pytest.mark.full
def test_rings_wrap_more_than_fifty_times(built, make_frames):
    made = built("loop=on").start()
    port = made.ports[0]
    count = 51 * port.device.ring_slots()
    batch = make_frames(64)
    left = count
    while left > 0:
        assert made.carry(port, port, batch) == batch
        left -= len(batch)
    assert (
        made.counter(port, "rx", "packets") == made.counter(port, "tx", "packets") == count - left
    )
    for way, name in itertools.product(("rx", "tx"), ("errors", "dropped")):
        assert made.counter(port, way, name) == 0
    known = "rx_missed_errors" not in port.unknown
    assert made.counter(port, "rx", "missed") in ({0} if known else {0, UNKNOWN})
    assert not any(port.extra_counters().values())


def test_ports_start_and_stop_any_number_of_times(built, make_frames):
    made = built("loop=on")
    port = made.ports[0]
    batch = make_frames(50)
    for _ in range(3):
        made.start()
        assert made.held() > 0
        assert made.carry(port, port, batch) == batch
        made.stop()
        assert made.held() == 0, "buffers that nobody has"
        assert not port.extra_counters()["rx_missed_errors"], "0, or None: it can't know"


def test_doorbells_ring_once_a_burst_at_most(built, make_frames):
    made = built("loop=on").start()
    port = made.ports[0]
    batch = make_frames(32, 60, 200)
    rounds, received = 50, []  # frames of each burst that brought any
    for _ in range(rounds):
        made.send(port, batch)
        made.until(lambda: port.pending() == 0)  # so that most of them come in one burst
        got = []

        def pull(got=got):
            if frames := made.take(port):
                received.append(len(frames))
            got += frames
            return len(got) == len(batch)

        made.until(pull)
        assert got == batch
    assert made.counter(port, "tx", "doorbells") <= rounds + made.counter(port, "tx", "stalled")
    assert made.counter(port, "rx", "doorbells") <= len(received)
    assert len(received) < sum(received) / 2, "a doorbell a frame would not have been seen"


def test_what_cant_be_sent_is_dropped_by_reason(built, make_frames):
    from uspnet.telemetry import drops_by_reason

    made = built("loop=on").start()
    port = made.ports[0]
    good, most = make_frames(2), port.device.frame
    made.send(port, [good[0], b"", bytes(13), bytes(most + 1), bytes(most + 9), good[1]])
    assert made.receive(port, 2) == good
    counters = made.queues[port, "tx", 0].base.counters
    assert drops_by_reason([counters]) == {"too_long": 2, "too_short": 2}
    assert (counters.packets, counters.errors) == (2, 4)


def test_an_unplugged_port_is_down_and_says_so(built):
    made = built(f"wire={wire()}")
    port = made.ports[0]
    port.start()
    port.control()
    assert not port.up()
    assert "no peer on wire" in port.why_down()


def test_what_is_sent_is_pending_until_the_device_has_it(built, make_frames):
    made = built("loop=on").start()
    port = made.ports[0]
    made.send(port, make_frames(20))
    made.until(lambda: port.pending() == 0)
    assert made.receive(port, 20) == make_frames(20)


def test_a_killed_qemu_is_a_fault_within_a_second(pair, make_frames):
    made, a, b = pair
    os.kill(b.machine.process.pid, signal.SIGKILL)
    start = time.process_time()  # of ours: what else the machine does is no matter
    with pytest.raises(DeviceFault, match="signal 9") as caught:
        made.until(lambda: made.offer(a, make_frames(8)) + made.offer(b, make_frames(8)) < 0)
    assert time.process_time() - start < scaled(1)
    assert caught.value.hint
    bells = made.counter(b, "tx", "doorbells")
    made.offer(b, make_frames(8))
    if made.counter(b, "tx", "doorbells") > bells:
        assert made.queues[b, "tx", 0].fault(), "a ring that rang has seen it too"
    assert b.extra_counters()["rx_missed_errors"] is None, "nobody knows"
    b.stop()  # and nothing of that is an error


def test_closing_leaves_nothing_behind(station, spec):
    before = opened()
    made = station(f"{spec},loop=on")
    process = made.ports[0].machine.process
    made.start()
    made.undo.close()
    assert process.returncode is not None
    assert opened() == before


@pytest.mark.parametrize("kind", sorted(set(nics().values()), key=lambda kind: kind.__name__))
def test_a_device_that_is_gone_fails_in_bounded_time(kind):
    device = Fake({}, 0x20000)
    device.removed = True
    with pytest.raises((DeviceFault, NotSupported)):
        kind(device, "fake", {}).open()

    class Slot(Pci):
        def connect(self):
            return device

    with pytest.raises(DeviceFault, match="VENDOR reads as all ones"):
        Slot(parse("03:00.0")).open()


def test_counters_name_the_driver(spec):
    command = ["-m", "uspnet", "pktgen", f"{spec},loop=on", "--count", "10", "--json"]
    done = subprocess.run(
        [os.sys.executable, *command], capture_output=True, text=True, check=False
    )
    found = answer(done.stdout)
    if found.get("error") == "NotSupported":
        pytest.skip(f"this QEMU is too old: {found['message']}")
    assert done.returncode == 0, done
    model = spec.partition(":")[2].partition(",")[0]
    assert [port["driver"] for port in found["ports"]] == [models()[model].__name__.lower()]
