# SPDX-License-Identifier: Apache-2.0
"""Each packet is in exactly one counter, however a run ends: every command on ports that the test
plays.
"""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.support.fake_port import FakePort
from tests.support.identity import ran
from tests.support.waiting import scaled, until
from uspnet.errors import DeviceFault, UspnetError
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.reflect import Reflecting, ReflectJob
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template

MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")


class Picky(FakePort):
    """Refuses every third packet, as too long; keeps `debt` packets that its other side never
    takes, which it finds out at the end.
    """

    def __init__(self, debt=0, **more):
        super().__init__(**more)
        self.debt, self.seen = debt, 0

    def send(self, q, packets, n):
        n = n if self.room is None else min(n, self.room)
        for i in range(n):
            self.seen += 1
            if self.seen % 3:
                lib.null_tx(q, packets + i, 1)
            else:
                q.counters.drops[lib.DROP_TOO_LONG] += 1
                q.counters.errors += 1
                q.stack.free[q.stack.top] = packets[i].index
                q.stack.top += 1
        if self.room is not None:
            self.room -= n
        return n

    def finish(self):
        super().finish()
        for queue in self.made:
            if queue.direction == "tx":
                owed = min(self.debt, queue.base.counters.packets)
                queue.take_back(owed, owed * 60, lib.DROP_PEER_LEFT)


def traffic(rate=0.0, sequence=False):
    return Traffic([udp_template(60, *MACS, *IPS, 1024, 9)], rate, sequence)


def capture(port, limits, path):
    return CaptureJob(port, limits, make_sink(str(path / "x.pcap"), "pcap", 262144, 4))


JOBS = {
    "capture": lambda limits, _: CaptureJob(Picky(packets=5000), limits, None),
    "capture-w": lambda limits, path: capture(Picky(packets=5000), limits, path),
    "fwd": lambda limits, _: ForwardJob(
        [Picky(packets=5000), Picky(debt=7, packets=900)], limits, Forwarding()
    ),
    "fwd-full": lambda limits, _: ForwardJob(
        [FakePort(packets=5000), Picky(debt=7, packets=0, room=100)], limits, Forwarding()
    ),
    "fwd-wait": lambda limits, _: ForwardJob(
        [FakePort(packets=5000), Picky(packets=0, room=100)], limits, Forwarding(on_full="wait")
    ),
    "reflect": lambda limits, _: ReflectJob(Picky(debt=7, packets=5000), limits, Reflecting()),
    "pktgen": lambda limits, _: GenerateJob(Picky(debt=7), limits, traffic()),
    "pktgen-rate": lambda limits, _: GenerateJob(Picky(debt=7), limits, traffic(1e5)),
    "pktgen-full": lambda limits, _: GenerateJob(Picky(debt=7, room=300), limits, traffic(1e6)),
    "pktgen-rx": lambda limits, _: GenerateJob(
        Picky(debt=7), limits, traffic(1e5), FakePort(packets=500)
    ),
    "pktgen-numbers": lambda limits, _: GenerateJob(
        Picky(), limits, traffic(1e5, sequence=True), FakePort(packets=500)
    ),
}
NEVER = {  # that a source ends while another still sends, and that a count is reached
    "source": {name for name in JOBS if name.startswith("pktgen")} | {"fwd-wait"},
    "count": {"fwd-wait", "pktgen-full"},
}
ENDS = ["count", "duration", "signal", "source", "error"]
CASES = [(name, end) for name in JOBS for end in ENDS if name not in NEVER.get(end, ())]


@pytest.mark.parametrize(("name", "end"), CASES)
def test_the_sums_hold_however_it_ends(name, end, tmp_path):
    limits = {"count": Limits(count=150), "duration": Limits(duration=0.1)}.get(end, Limits())
    with JOBS[name](limits, tmp_path) as job:
        if end in {"signal", "error"}:
            for port in job.ports:
                port.packets = None if isinstance(port, FakePort) else 0
        job.start()
        found = ended(job, end)
    assert found.ended in ({end, "source"} if end == "duration" else {end})
    if name == "pktgen-full":
        assert found.sent + found.dropped == 300
    if "pktgen" in name and end != "error" and name != "pktgen-numbers":
        assert found.drops["peer_left"] == 7


def ended(job, end):
    """End a run as wanted; return its result, checked."""
    if end == "signal":
        until(lambda: moved(job) > 100)
        job.stop("signal")
    if end == "error":
        until(lambda: moved(job) > 100)
        job.ports[0].error = DeviceFault("gone")
    with contextlib.suppress(UspnetError) if end != "error" else pytest.raises(DeviceFault):
        job.wait()
    return ran(job.result())


def moved(job):
    return sum(job.total(way, "packets") for way in ("rx", "tx"))


def test_a_count_inside_a_burst_leaves_the_rest_where_it_was():
    port = FakePort(packets=640)
    with CaptureJob(port, Limits(count=70, burst=64), None) as job:
        found = ran(job.run())
    assert (found.received, found.ended) == (70, "count")
    assert found.ports[0].rx_bytes == 70 * 60


def test_workers_that_share_a_count_do_not_exceed_it_together():
    port = FakePort(queues=4)
    with CaptureJob(port, Limits(count=1001, cores=None), None) as job:
        found = ran(job.run())
    assert found.received == found.discarded == 1001


def test_two_jobs_in_two_threads_count_apart(tmp_path):
    results = {}

    def work(name, packets):
        job = capture(FakePort(packets=packets), Limits(), tmp_path / name)
        with job:
            results[name] = ran(job.run())

    for name in "ab":
        (tmp_path / name).mkdir()
    threads = [threading.Thread(target=work, args=one) for one in (("a", 3000), ("b", 4000))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=scaled(60))
    assert {name: found.written for name, found in results.items()} == {"a": 3000, "b": 4000}
