# SPDX-License-Identifier: Apache-2.0
"""Streams of a profile: each with its packets, rate, begin and end, in one loop."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from scapy.utils import RawPcapNgReader

from tests.fastpath.test_loops import Wire
from tests.support.identity import ran
from tests.support.mortal import Mortal
from tests.support.tiers import by_tier
from uspnet.errors import Usage
from uspnet.fastpath import ffi
from uspnet.jobs.capture import make_sink
from uspnet.jobs.cold import Cold
from uspnet.jobs.plan import Limits
from uspnet.jobs.profile import ProfileJob
from uspnet.jobs.stream import Stream
from uspnet.jobs.traffic import Traffic
from uspnet.packets.craft import craft
from uspnet.packets.frames import udp_template
from uspnet.packets.shape import Shape
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program
from uspnet.ports.null import Null
from uspnet.ports.registry import make_port
from uspnet.process.reach import Reach
from uspnet.spec import parse

HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1)
MARK = 37  # offset of the byte by which the streams' packets differ, of the UDP port
KILLS = by_tier(5, 15, 500)


def traffic(number, size=60, **more):
    return Traffic([udp_template(size, *HEADER, number)], **more)


def run(streams, **more):
    dry = more.pop("dry", False)
    with ProfileJob(streams, Limits(**more), "x.yaml", dry=dry) as job:
        return ran(job.run())


def counts(result):
    return {each.name: each.sent for each in result.streams}


def test_what_has_all_been_sent_is_sent_by_no_other_version():
    limits = Limits(duration=30.0, linger=30.0)
    with ProfileJob([Stream("count", Wire(), traffic(1), count=7)], limits, "x.yaml") as job:
        job.on_tick = lambda: job.total("tx", "packets") < 7 or job.leave()
        job.run()
        assert job.stop_reason == "upgrade"
        assert Cold.has_ended(Cold.__new__(Cold), job) == "source"


def test_each_stream_sends_what_it_is_to_send():
    wire = Wire()
    result = run([
        Stream("all", wire, traffic(1, rate=1000.0)),
        Stream("part", wire, traffic(2, rate=1000.0), 0.1, 0.1),
        Stream("count", wire, traffic(3, rate=1e5), count=77),
        Stream("fast", wire, traffic(4), 0.05, count=100),
        Stream("drawn", wire, traffic(5, shape=Shape((1e4,), poisson=True)), count=50),
    ], duration=0.3)  # fmt: skip
    sent = {"all": 300, "part": 100, "count": 77, "fast": 100, "drawn": 50}
    assert counts(result) == sent
    assert Counter(frame[MARK] for frame in wire.taken) == dict(
        enumerate(sent.values(), 1)
    )  # fmt: skip
    assert (result.offered, result.sent, result.ended) == (627, 627, "duration")
    assert [each.offered for each in result.streams] == list(sent.values())


def test_it_is_over_when_all_streams_are():
    result = run([
        Stream("a", make_port("null:"), traffic(1, rate=1e4), count=10),
        Stream("b", make_port("null:"), traffic(2, rate=1e4), 0.05, 0.05),
        Stream("c", make_port("null:"), traffic(3), 0.02, 0.2),
    ])  # fmt: skip
    assert result.ended == "source"
    assert (counts(result)["a"], counts(result)["b"]) == (10, 500)
    assert counts(result)["c"] > 0
    assert [row.tx_packets for row in result.ports] == list(counts(result).values())


@pytest.mark.parametrize("cores", [None, [0]], ids=str)
@pytest.mark.parametrize("spec", ["null:", "null:queues=2", "null:queues=3"])
def test_streams_share_the_queues_of_a_port(spec, cores):
    port = make_port(spec)
    streams = [Stream(f"s{n}", port, traffic(n, rate=1e4), count=100 + n) for n in range(5)]
    result = run(streams, cores=cores)
    assert counts(result) == {f"s{n}": 100 + n for n in range(5)}


def test_packets_of_a_stream_vary_as_if_it_were_alone():
    templates = craft("Ether()/IP(src='10.0.0.1',dst='10.0.0.2')/UDP(dport=9)/('x'*30)")
    change = Change(["ip.src=10.1.0.0/24"])
    made, program = compile_program(templates, change)
    wire = Wire()
    varied = Traffic(made, fields=[program], change=change, rate=1e4, sequence=True)
    run([Stream("a", wire, varied, count=300), Stream("b", wire, traffic(1, rate=1e4), count=300)])
    sources = [frame[29] for frame in wire.taken if frame[28] == 0 and frame[27] == 1]
    assert sources == [n % 256 for n in range(300)]
    numbers = [int.from_bytes(f[-16:-8], "little") for f in wire.taken if f[26:28] == b"\x0a\x01"]
    assert numbers == list(range(300))


def test_another_process_reaches_the_fields_of_every_stream():
    templates = craft("Ether()/IP(src='10.0.0.1',dst='10.0.0.2')/UDP(dport=9)/('x'*30)")
    streams = []
    for number in range(3):
        made, program = compile_program(templates, Change([f"ip.src=10.{number}.0.0/24"]))
        varied = Traffic(made, fields=[program])
        streams.append(Stream(f"s{number}", make_port("null:"), varied, count=1000))
    limits = Limits(process=True, restart=0)
    with ProfileJob(streams, limits) as job:
        result = ran(job.run())
        loop = job.workers[0].loop
        slots = Reach([loop.c], []).slots
        applied = [ffi.addressof(each.loop.c.fields, "apply") for each in loop.senders]
        assert {int(ffi.cast("uintptr_t", each)) for each in applied} <= slots.keys()
    assert counts(result) == {"s0": 1000, "s1": 1000, "s2": 1000}


@pytest.fixture
def dry(tmp_path):
    """Runs streams dry; the result, and pairs of due time in ns and number of the stream."""

    def play(make, **more):
        file = tmp_path / "dry.pcapng"
        result = run(make(make_sink(str(file))), dry=True, **more)
        with RawPcapNgReader(str(file)) as reader:
            rows = [((meta.tshigh << 32) | meta.tslow, frame[MARK]) for frame, meta in reader]
        assert len(rows) == result.sent == result.offered
        assert all(one[0] <= other[0] for one, other in pairwise(rows))
        return result, rows

    return play


@pytest.mark.parametrize("burst", [1, 7, 32])
def test_a_dry_run_merges_streams_by_their_due_times(dry, burst):
    _, rows = dry(lambda file: [
        Stream("a", file, traffic(1, rate=1000.0), 0.0, 0.1),
        Stream("b", file, traffic(2, rate=100.0), 0.05, 0.03),
        Stream("c", file, traffic(3), 0.02, count=10),
        Stream("d", file, traffic(4, shape=Shape((1000.0, 500.0), seconds=0.01)), 0.04, 0.02),
    ], burst=burst)  # fmt: skip
    times = {n: [at for at, number in rows if number == n] for n in range(1, 5)}
    assert times[1] == [10**6 * n for n in range(1, 101)]
    assert times[2] == [60_000_000, 70_000_000, 80_000_000]
    assert times[3] == [20_000_000] * 10
    assert times[4] == [40_000_000 + 10**6 * n for n in range(1, 11)] + [
        50_000_000 + 2 * 10**6 * n for n in range(1, 6)
    ]


def test_packets_that_are_due_at_once_are_in_order_too(dry):
    """At the highest rates the first ones of both streams are due at 0 ns."""
    dry(lambda file: [Stream(f"s{n}", file, traffic(n, rate=1e10), count=100) for n in (1, 2)])


def test_a_poisson_process_begins_when_its_stream_does(dry):
    shape = Shape((1000.0,), poisson=True, seed=5)
    _, alone = dry(lambda file: [Stream("a", file, traffic(1, shape=shape), 0.0, 1.0)])
    _, later = dry(lambda file: [Stream("a", file, traffic(1, shape=shape), 2.0, 1.0)])
    assert len(alone) > 800
    shifted = [(at + 2 * 10**9, number) for at, number in alone]
    assert all(abs(a[0] - b[0]) <= 1 for a, b in zip(shifted, later, strict=True))


def test_two_streams_of_a_seed_have_gaps_of_their_own(dry):
    shape = Shape((1000.0,), poisson=True)
    _, rows = dry(lambda file: [Stream(f"s{n}", file, traffic(n, shape=shape), 0.0, 1.0)
                                for n in (1, 2)])  # fmt: skip
    times = [{at for at, number in rows if number == n} for n in (1, 2)]
    assert not times[0] & times[1]


def test_a_duration_ends_streams_of_a_dry_run(dry):
    _, rows = dry(lambda file: [Stream("a", file, traffic(1, rate=1000.0))], duration=0.05)
    assert len(rows) == 50


class Linked(Null):
    """Has a link of 1 Gbit/s."""

    def link_bps(self):
        return 10**9


def test_percent_are_of_the_link_of_the_streams_port():
    shape = Shape((10_000.0,), percent=True)
    slow, other = Linked(parse("null:")), make_port("null:")
    streams = [Stream("a", slow, traffic(1, shape=shape)),
               Stream("b", other, traffic(2, shape=shape))]  # fmt: skip
    result = run(streams, duration=0.1)
    assert counts(result) == {"a": 100, "b": 1000}
    assert [each.pacing.asked_pps for each in result.streams] == [1000.0, 10_000.0]


def test_what_is_asked_of_a_stream_counts_from_its_begin():
    result = run([Stream("a", make_port("null:"), traffic(1, rate=1000.0), 0.1, 0.1)], duration=0.3)
    (row,) = result.streams
    assert row.pacing.asked_pps == pytest.approx(1000.0)
    assert row.pacing.error_percent == 0


@pytest.mark.parametrize("limits", [{}, {"duration": 0.3}], ids=str)
def test_streams_go_on_in_another_process(limits):
    chance = random.Random(1)
    port = make_port("null:queues=2")
    streams = [
        Stream("count", port, traffic(1, rate=1e6), count=200_000),
        Stream("time", port, traffic(2, rate=1e6), 0.05, 0.15),
        Stream("fast", port, traffic(3), count=10_000_000),
        Stream("later", port, traffic(4, rate=1e5), 0.2, count=5000),
    ]
    with ProfileJob(streams, Limits(**limits)) as job:
        life = Mortal(job)
        try:
            for _ in range(KILLS):
                if life.live(chance.uniform(0, 0.004)):
                    break
            result = ran(life.end())
        finally:
            life.close()
    assert result.drops.get("worker_lost", 0) == life.lost
    rows = {each.name: each for each in result.streams}
    assert rows["time"].offered == 150_000
    if not limits:
        assert rows["count"].offered == 200_000
        assert rows["later"].offered == 5000
        assert rows["fast"].offered == 10_000_000


def test_what_is_under_way_is_lost_by_the_port_that_it_was_for():
    """As if the process was killed when one packet of `b` was begun, and not sent."""
    ports = [make_port("null:"), make_port("null:")]
    streams = [Stream(name, port, traffic(n), count=10 * n)
               for n, (name, port) in enumerate(zip("ab", ports, strict=True), 1)]  # fmt: skip
    with ProfileJob(streams, Limits(cores=None)) as job:
        ran(job.run())
        job._senders[1].loop.c.offered += 1
        for worker in job.workers:
            worker.loop.settle(worker.lanes)
        rows = job.count().ports
        assert [each.drops.get("worker_lost", 0) for each in rows] == [0, 1]


WRONG = [
    ([], {}, "0 streams"),
    ([{}] * 257, {}, "257 streams"),
    ([{}], {"count": 5}, "no count of its own"),
    ([{}], {"dry": True}, "nothing ends the stream s0"),
    ([{"seconds": 1.0}], {"dry": True}, "nothing ends the stream s0"),
]


@pytest.mark.parametrize(("streams", "more", "told"), WRONG)
def test_what_makes_no_sense_is_refused(streams, more, told):
    port = make_port("null:")
    made = [Stream(f"s{n}", port, traffic(1), **each) for n, each in enumerate(streams)]
    dry = more.get("dry", False)
    with pytest.raises(Usage, match=told):
        ProfileJob(made, Limits(count=more.get("count")), dry=dry)


@pytest.mark.parametrize("wrong", [{"start": -1.0}, {"seconds": 0.0}, {"count": 0}], ids=str)
def test_a_stream_of_wrong_values_is_refused(wrong):
    with pytest.raises(Usage, match=f"{next(iter(wrong))}="):
        Stream("a", make_port("null:"), traffic(1), **wrong)


def test_a_frame_that_its_port_can_not_send_is_refused():
    class Narrow(Null):
        def send_limit(self, tags):
            return 1514, "ip link set IFNAME mtu 9000"

    streams = [Stream("a", make_port("null:"), traffic(1, 2000), count=1),
               Stream("b", Narrow(parse("null:")), traffic(1, 2000), count=1)]  # fmt: skip
    with pytest.raises(Usage, match=r"takes frames of at most 1,514 bytes.*2,000"):
        run(streams)
