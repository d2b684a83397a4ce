# SPDX-License-Identifier: Apache-2.0
"""A job as a library object, on ports that the test plays."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.support.fake_port import FakePort, still
from tests.support.identity import ran
from tests.support.waiting import scaled, until
from uspnet.errors import DeviceFault
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.cold import Cold
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.ports.registry import make_port

MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
LIFE = ["open", "queue rx 0", "start", "finish", "stop", "close"]


def traffic(rate=0.0):
    return Traffic([udp_template(60, *MACS, *IPS, 1024, 9)], rate)


def fwd(a, b, **limits):
    return ForwardJob([a, b], Limits(**limits), Forwarding())


def test_no_other_version_goes_on_after_the_duration(monkeypatch):
    with fwd(make_port("null:"), make_port("null:"), duration=0.05) as job:
        job.run()
        for worker in job.workers:
            worker.c.start += worker.hz // 100  # a loop's clock begins after the job's
        assert job.elapsed() < 0.05
        job.stop_reason = "upgrade"
        monkeypatch.setattr(job.crew.upgrades, "leaving", lambda: Cold.__new__(Cold))
        assert job.hand_over() is None
        assert job.stop_reason == "duration"


def test_a_port_lives_from_open_to_close():
    port = FakePort(packets=100)
    with CaptureJob(port, Limits(), None) as job:
        result = ran(job.run())
    assert port.log == LIFE
    assert (result.received, result.discarded, result.ended) == (100, 100, "source")


@pytest.mark.parametrize(
    ("limits", "ended"), [({"count": 1000}, "count"), ({"duration": 0.5}, "duration")]
)
def test_it_says_why_it_ended(limits, ended):
    with CaptureJob(FakePort(), Limits(**limits), None) as job:
        result = ran(job.run())
        assert job.wait()  # again: nothing is left to do
    assert result.ended == ended
    assert result.asked.count == limits.get("count")
    assert result.asked.duration_s == limits.get("duration")
    assert result.received == limits.get("count", result.discarded) > 0


def test_it_is_started_looked_at_and_stopped():
    with fwd(FakePort(), FakePort()) as job:
        job.start()
        assert not job.wait(timeout=0.05)
        early = job.result()
        assert early.ended is None
        until(lambda: job.result().forwarded > early.forwarded)
        job.stop()
        assert job.wait()
        late = ran(job.result())
    assert late.ended == "stopped"
    assert late.received == late.forwarded + late.dropped


def test_the_first_reason_is_the_one_that_counts():
    with fwd(FakePort(), FakePort()) as job:
        job.start()
        job.stop("signal")
        job.stop()
        job.wait()
    assert ran(job.result()).ended == "signal"


def test_two_jobs_run_in_two_threads_and_change_no_signal_handler():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    results, barrier = {}, threading.Barrier(2)

    def work(name, count):
        with GenerateJob(FakePort(), Limits(count=count), traffic()) as job:
            barrier.wait(timeout=scaled(10))
            results[name] = ran(job.run())

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", 5000), ("b", 7000))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=scaled(60))
    assert {name: result.sent for name, result in results.items()} == {"a": 5000, "b": 7000}
    assert all(result.ended == "count" for result in results.values())
    assert handlers == [signal.getsignal(number) for number in signal.valid_signals()]


def test_it_prints_nothing(capfd):
    with GenerateJob(FakePort(), Limits(count=10), traffic()) as job:
        ran(job.run())
    assert capfd.readouterr() == ("", "")


def test_an_error_takes_the_result_so_far_with_it():
    port = FakePort()
    with CaptureJob(port, Limits(), None) as job:
        job.start()
        until(lambda: job.result().received > 1000)
        port.error = DeviceFault("gone")
        with pytest.raises(DeviceFault) as caught:
            job.wait()
    assert caught.value.partial["ended"] == "error"
    assert caught.value.partial["received"] > 1000
    assert port.log[-2:] == ["stop", "close"]
    assert "finish" not in port.log


def test_while_it_is_paused_no_worker_touches_a_ring():
    a, b = FakePort(), FakePort()
    with fwd(a, b) as job:
        job.start()
        until(lambda: a.bursts > 10)
        with job.paused():
            assert still(lambda: (a.bursts, b.bursts))
        until(lambda seen=a.bursts: a.bursts > seen)
        job.stop()
        job.wait()


def test_it_waits_for_a_port_that_is_down_and_says_so():
    port, notices = FakePort(), []
    port.is_up = False
    with GenerateJob(port, Limits(count=10), traffic()) as job:
        job.on_notice = notices.append
        thread = threading.Thread(target=job.start)
        thread.start()
        until(lambda: notices)
        assert port.bursts == 0
        port.is_up = True
        thread.join(timeout=scaled(10))
        assert job.wait()
    assert notices == [f"waiting: {port.name}: link is down"]
    assert ran(job.result()).sent == 10


def test_it_can_be_stopped_while_it_waits():
    port = FakePort()
    port.is_up = False
    with GenerateJob(port, Limits(count=10), traffic()) as job:
        threading.Timer(0.05, job.stop).start()
        job.start()
        assert job.wait()
    result = ran(job.result())
    assert (result.sent, result.ended) == (0, "stopped")


class Far(FakePort):
    """Gives what a test lets arrive, and nothing before."""

    arrived = 0

    def receive(self, q, packets, n):
        n, self.bursts = min(n, self.arrived), self.bursts + 1
        self.arrived -= n
        return lib.null_rx(q, packets, n)


@pytest.mark.parametrize("cores", [[0], [0, 0]], ids=["one thread", "two threads"])
def test_what_is_on_its_way_when_it_is_stopped_still_arrives(cores):
    near, far = FakePort(), Far()
    with GenerateJob(near, Limits(cores=cores), traffic(), far) as job:
        job.start()
        until(lambda: job.result().sent > 100)
        job.stop()
        far.arrived = 10
        job.wait()
    result = ran(job.result())
    assert (result.ports[-1].rx_packets, result.ended) == (10, "stopped")


def test_who_stops_it_twice_waits_for_nothing_on_its_way():
    with GenerateJob(FakePort(), Limits(), traffic(), Far()) as job:
        job.start()
        job.stop()
        job.stop()
        assert all(worker.c.stop for worker in job.workers)
        job.wait()


def test_it_lingers_as_long_as_asked_and_serves_its_ports_meanwhile():
    port = FakePort()
    with GenerateJob(port, Limits(count=10, linger=0.3), traffic()) as job:
        job.start()
        until(lambda: not any(worker.running() for worker in job.workers))
        start, before = time.monotonic(), port.controls
        job.wait()
    assert time.monotonic() - start >= 0.3
    assert port.controls > before + 2


def test_what_a_full_ring_never_takes_is_dropped_by_name():
    with fwd(FakePort(packets=100), FakePort(packets=0, room=60)) as job:
        result = ran(job.run())
    assert (result.received, result.forwarded, result.drops) == (100, 60, {"no_room": 40})
    assert result.received == result.forwarded + result.dropped


def test_every_queue_is_made_once_where_lanes_share_it():
    a, b = FakePort(packets=10, queues=3), FakePort(packets=0, queues=2)
    with fwd(a, b) as job:
        result = ran(job.run())
    made = sorted(line for line in b.log if line.startswith("queue"))
    assert made == ["queue rx 0", "queue rx 1", "queue tx 0", "queue tx 1"]
    assert result.received == result.forwarded == 10


def test_a_source_without_end_into_a_file_is_told(tmp_path):
    from uspnet.ports.null import Null
    from uspnet.ports.pcap.sink import Sink

    def notices(**limits):
        heard = []
        with CaptureJob(Null.make(), Limits(**limits), Sink.make(out=tmp_path / "x")) as job:
            job.on_notice = heard.append
            job.start()
            job.stop()
            job.wait()
        return [text for text in heard if "disk" in text]

    assert notices() == [
        f"pcap:out={tmp_path}/x grows until the disk is full: give --count or --duration"
    ]
    assert notices(count=5) == []


class Late(FakePort):
    """Gives nothing until it is told to."""

    told = False

    def receive(self, q, packets, n):
        return super().receive(q, packets, n) if self.told else 0


def test_receivers_begin_also_when_the_senders_have_ended_before_anybody_looked():
    back = Late(packets=10)
    with GenerateJob(FakePort(), Limits(count=10), traffic(), back) as job:
        job.start()
        until(lambda: not job.workers[0].running())  # as on a busy machine
        back.told = True
        job.wait()
        result = ran(job.result())
    assert (result.sent, result.foreign, back.packets) == (10, 10, 0)


def test_a_run_stopped_before_it_began_begins_no_receivers():
    with GenerateJob(FakePort(), Limits(count=10), traffic(), Late(packets=10)) as job:
        job.stop()
        job.start()
        assert job.wait()
        assert ran(job.result()).sent == 0
