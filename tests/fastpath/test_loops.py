# SPDX-License-Identifier: Apache-2.0
"""The loops on a wire that the test plays: what is sent comes back, changed as the test likes."""

from __future__ import annotations

import threading

import pytest

from tests.support.fake_port import FakePort
from tests.support.identity import ran
from tests.support.wire import Echo, Wire
from uspnet.fastpath import ffi
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template

MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
COUNT = 1000


def frame(number, size=60):
    return bytes(range(12)) + number.to_bytes(4, "big") + bytes(size - 16)


@pytest.mark.parametrize("count", [1, 63, 64, 65, COUNT])
def test_frames_leave_as_they_came(count):
    frames = [frame(number, 60 + number % 1400) for number in range(count)]
    left, right = Wire(frames), Wire()
    with ForwardJob([left, right], Limits(), Forwarding()) as job:
        assert ran(job.run()).forwarded == count
    assert (left.taken, right.taken) == ([], frames)


def test_addresses_are_exchanged_where_there_are_two():
    sizes = (1, 5, 6, 11, 12, 13, 14, 60, 1500)
    frames = [bytes(number % 256 for number in range(size)) for size in sizes]
    right = Wire()
    with ForwardJob([Wire(frames), right], Limits(), Forwarding(mode="macswap")) as job:
        assert ran(job.run()).forwarded == len(frames)
    swapped = [f[6:12] + f[:6] + f[12:] if len(f) >= 12 else f for f in frames]
    assert right.taken == swapped


class Unwilling(Wire):
    """A wire that is to be flushed again, so many times."""

    def make_queue(self, direction, index):
        queue = super().make_queue(direction, index)
        if direction == "tx":
            queue.q.flush = self.callback = ffi.callback("int(struct queue *)", self.flush)
        return queue

    def flush(self, _):
        self.times = getattr(self, "times", 0) + 1
        return self.times < 5


@pytest.mark.parametrize("poll", ["sleep", "adaptive"])
def test_what_waits_in_a_queue_is_flushed_until_it_has_left(poll):
    left, right = Wire([frame(0)], ends=False), Unwilling()
    with ForwardJob([left, right], Limits(duration=0.8, poll=poll), Forwarding()) as job:
        ran(job.run())
    assert right.times == 6, "the last time at the end"


class Narrow(Wire):
    """A wire that takes three frames of a burst."""

    def send(self, q, packets, n):
        return super().send(q, packets, min(n, 3))


@pytest.mark.parametrize(("on_full", "arrived"), [("wait", 100), ("drop", 12)])
def test_a_port_without_room_holds_packets_back_or_has_them_dropped(on_full, arrived):
    frames = [frame(number) for number in range(100)]
    left, right = Wire(frames), Narrow()
    with ForwardJob([left, right], Limits(burst=32), Forwarding(on_full=on_full)) as job:
        result = ran(job.run())
    assert (len(right.taken), result.dropped) == (arrived, 100 - arrived)
    first = [each for at, each in enumerate(frames) if at % 32 < 3]
    assert right.taken == (frames if on_full == "wait" else first)


def test_the_buffers_of_dropped_packets_are_used_again():
    with ForwardJob([FakePort(packets=20_000), FakePort(packets=0, room=0)], Limits(),
                    Forwarding()) as job:  # fmt: skip
        result = ran(job.run())
        assert job.pool.count < 20_000
    assert (result.received, result.drops) == (20_000, {"no_room": 20_000})


class Both(FakePort):
    """Its two queues receive their first burst at the same time."""

    def __init__(self):
        super().__init__(queues=2)
        self.barrier, self.seen = threading.Barrier(2), []

    def receive(self, q, packets, n):
        n = super().receive(q, packets, n)
        if q not in self.seen:
            self.seen.append(q)
            self.barrier.wait(60)
        return n


def test_what_came_beyond_the_count_is_in_no_counter():
    port, sink = Both(), FakePort(queues=2)
    sink.can_receive = False  # each worker has one way
    with ForwardJob([port, sink], Limits(count=10, cores=[0, 0]), Forwarding()) as job:
        result = ran(job.run())
    assert (result.received, result.forwarded, result.dropped) == (10, 10, 0)
    assert result.ports[0].rx_bytes == result.ports[1].tx_bytes == 10 * 60


def measured(change):
    """The result of pktgen on a wire that changes what is sent."""
    port = Echo(change)
    template = udp_template(100, *MACS, *IPS, 1024, 9)
    limits = Limits(count=COUNT, linger=0.1)
    with GenerateJob(port, limits, Traffic([template], sequence=True), port) as job:
        return ran(job.run())


WIRES = {
    "good": (lambda frame, _: [frame], {"received": COUNT}),
    "loses": (lambda frame, n: [frame] * (n % 10 != 5), {"lost": COUNT // 10}),
    "doubles": (lambda frame, n: [frame] * (1 + (n % 10 == 5)), {"duplicated": COUNT // 10}),
    "foreign": (lambda frame, n: [frame, bytes(60)][: 1 + n % 2], {"foreign": COUNT // 2}),
    "short": (lambda frame, n: [frame, bytes(n % 100)][: 1 + n % 2], {"foreign": COUNT // 2}),
}


@pytest.mark.parametrize("wire", WIRES)
def test_what_became_of_each_packet_is_counted(wire):
    change, wanted = WIRES[wire]
    result = measured(change)
    zero = {"lost": 0, "duplicated": 0, "reordered": 0, "foreign": 0, "stale": 0}
    found = {name: getattr(result, name) for name in zero}
    assert found == zero | {name: n for name, n in wanted.items() if name in zero}
    assert result.received == COUNT - result.lost
    assert result.latency_ns["min"] <= result.latency_ns["p50"] <= result.latency_ns["max"]


def test_packets_that_change_places_are_reordered():
    held = []

    def change(frame, number):
        held.append(frame)
        if number % 2 == 0:
            return []
        return [held.pop(), held.pop()]

    result = measured(change)
    assert (result.received, result.lost, result.reordered) == (COUNT, 0, COUNT // 2)
