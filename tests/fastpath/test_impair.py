# SPDX-License-Identifier: Apache-2.0
"""fwd --mode impair: what is counted is what happened, and it happens as often as it should."""

from __future__ import annotations

import collections
import itertools
import math
import os
import struct
import time

import pytest

from tests.support.captures import write_pcap
from tests.support.identity import ran
from tests.support.tiers import by_tier
from tests.support.wire import Wire
from uspnet.errors import Usage
from uspnet.jobs.forward.impair import Impair, Impairing, Links
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.forward.netem import GilbertElliott, Queue, read_loss
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port

COUNT = by_tier(5_000, 20_000, 200_000)
SIGMAS = 6


def numbered(count, size=64):
    """Frames that say their number three times, so that one wrong bit does not hide it."""
    return [struct.pack("!12x3I", *[number] * 3) + bytes(size - 24) for number in range(count)]


def number_of(data):
    numbers = collections.Counter(struct.unpack_from("!3I", data, 12))
    return numbers.most_common(1)[0][0]


def run(ports, limits=None, on_full="drop", **options):
    how = Forwarding("impair", on_full, options)
    with ForwardJob(ports, limits or Limits(), how) as job:
        return ran(job.run())


def is_likely(count, share, of):
    return abs(count - share * of) <= SIGMAS * math.sqrt(of * share * (1 - share))


def stamps(path):
    """The time of each packet of a pcap file, in ns."""
    data, at, found = path.read_bytes(), 24, []
    scale = 1 if data[:4] == bytes.fromhex("4d3cb2a1") else 1000
    while at < len(data):
        seconds, part, length = struct.unpack_from("III", data, at)
        found.append(seconds * 10**9 + part * scale)
        at += 16 + length
    return found


def through_files(folder, count, **options):
    """How long each packet of a file was on its way, by the stamps of the file that is written."""
    write_pcap(folder / "in.pcap", numbered(count))
    ports = [make_port(f"pcap:{folder}/in.pcap"), make_port(f"pcap:out={folder}/o,format=pcap")]
    result = run(ports, **options)
    assert (result.forwarded, result.dropped) == (count, 0)
    return stamps(folder / "o"), result.impaired


def test_loss_duplicates_and_corruption_are_as_many_as_counted_and_as_likely_as_asked():
    frames, seen = numbered(COUNT), []
    how = {"loss": 0.1, "duplicate": 0.05, "corrupt": 0.03}
    for seed in (1, 1, 2):
        sink = Wire()
        result = run([Wire(frames), sink], seed=seed, **how)
        did, lost = result.impaired, result.drops.pop("loss")
        assert not result.drops
        times = collections.Counter(map(number_of, sink.taken))
        assert (len(times), times.total()) == (COUNT - lost, result.forwarded)
        assert set(times.values()) == {1, 2}
        assert list(times.values()).count(2) == did.duplicated == result.copied
        wrong = [data for data in sink.taken if data != frames[number_of(data)]]
        assert len(wrong) == did.corrupted
        for data in wrong:
            pair = int.from_bytes(data, "big"), int.from_bytes(frames[number_of(data)], "big")
            assert (pair[0] ^ pair[1]).bit_count() == 1
        assert is_likely(lost, 0.1, COUNT)
        assert is_likely(did.duplicated, 0.05, COUNT - lost)
        assert is_likely(did.corrupted, 0.03, result.forwarded)
        assert list(map(number_of, sink.taken)) == sorted(map(number_of, sink.taken))
        seen.append(sink.taken)
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("how", ["gemodel:2%,30%", "gemodel:5%,20%,80%,1%", "5%,25%"])
def test_a_gilbert_elliott_line_loses_in_bursts_as_long_and_as_often_as_asked(how):
    model, found = read_loss(how), []
    share, same = model.p / (model.p + model.r), 1 - model.p - model.r
    for seed in (3, 3, 4):
        sink = Wire()
        result = run([Wire(numbered(COUNT)), sink], loss=model, seed=seed)
        bad, lost = result.impaired.bad_state, result.drops["loss"]
        arrived = set(map(number_of, sink.taken))
        assert COUNT - len(arrived) == lost
        good = COUNT - bad
        spread = math.sqrt(COUNT * share * (1 - share) * (1 + same) / (1 - same))
        assert abs(bad - COUNT * share) <= SIGMAS * spread
        spread = math.sqrt(bad * model.bad * (1 - model.bad) + good * model.good * (1 - model.good))
        assert abs(lost - bad * model.bad - good * model.good) <= SIGMAS * spread
        if model.bad == 1.0:  # what is lost shows the state
            states = [number not in arrived for number in range(COUNT)]
            changes = collections.Counter(itertools.pairwise(states))
            assert is_likely(changes[False, True], model.p, good)
            assert is_likely(changes[True, False], model.r, bad)
        found.append(sink.taken)
    assert found[0] == found[1] != found[2]


def test_a_share_with_a_correlation_is_one_from_the_first_packet_on():
    for share in (0, 1):
        sink = Wire()
        run([Wire(numbered(COUNT)), sink], loss=read_loss(f"{100 * share}%,25%"))
        assert len(sink.taken) == (1 - share) * COUNT
    lines, port = 2000, make_port("null:")
    lanes = [((port, index), []) for index in range(lines)]
    links = Links(Impairing(loss=read_loss("30%,90%"), limit=1))
    states = [line.state for line in Impair.make([port, port], lanes, 0, links).lines]
    assert is_likely(sum(states), 0.3, lines)


def test_a_file_passes_a_bottleneck_at_the_times_of_its_trace(tmp_path):
    (tmp_path / "link").write_text("5\n5\n8\n20\n")
    write_pcap(tmp_path / "in.pcap", numbered(10, 1514))
    ports = [make_port(f"pcap:{tmp_path}/in.pcap"), make_port(f"pcap:out={tmp_path}/o,format=pcap")]
    how = {"link_trace": [f"{tmp_path}/link"], "queue": Queue(50), "delay": 0.1}
    result = run(ports, **how)
    assert (result.forwarded, result.dropped, result.impaired.most_queued) == (10, 0, 10)
    at = [(each - 100 * 10**6) / 1e6 for each in stamps(tmp_path / "o")]
    assert at == pytest.approx([5, 5, 8, 20, 25, 25, 28, 40, 45, 45], abs=0.002)
    assert abs(result.impaired.longest_queued_ns - 45e6) < 2000


def test_a_queue_that_is_full_drops_and_codel_does_by_its_own_name():
    sink = Wire()
    result = run([Wire(numbered(300)), sink], Limits(burst=50), rate=1e5, queue=Queue(20))
    assert result.drops == {"queue_full": 300 - len(sink.taken)}
    assert sink.taken[:20] == numbered(20)
    assert result.impaired.most_queued == 20
    sink = Wire()
    codel = Queue(1000, target=0.001, interval=0.01)
    result = run([Wire(numbered(600, 1000)), sink], rate=8e6, queue=codel, duplicate=0.1)
    assert set(result.drops) <= {"codel", "queue_full"}
    assert result.drops["codel"] > 0
    assert len(sink.taken) == 600 + result.copied - result.dropped
    for burst in (1, 64):  # and what a bucket lets pass at once waits for nothing
        how = {"rate": 8e6, "bucket": 64 * 300, "queue": Queue(8)}
        result = run([Wire(numbered(64)), Wire()], Limits(burst=burst), **how)
        assert (result.dropped, result.impaired.most_queued) == (0, 1)
        how = {"rate": 8e6, "bucket": 128 * 300, "queue": Queue(1), "duplicate": 1.0}
        result = run([Wire(numbered(64)), Wire()], Limits(burst=burst), **how)
        assert (result.dropped, result.copied, result.forwarded) == (0, 64, 128)
    how = {"rate": 1e4, "queue": Queue(50)}
    result = run([Wire(numbered(30), ends=False), Wire()], Limits(duration=0.5), **how)
    assert set(result.drops) == {"ended"}
    result = run([Wire(numbered(100)), Wire()], on_full="wait", rate=1e7, queue=Queue(10))
    assert result.dropped == 0


def test_what_is_certain_happens_to_each_packet_and_what_is_never_to_none():
    sink = Wire()
    result = run([Wire(numbered(500)), sink], loss=1.0)
    assert (result.drops, sink.taken) == ({"loss": 500}, [])
    sink = Wire()
    result = run([Wire(numbered(500)), sink], duplicate=1.0, corrupt=1.0)
    assert (result.forwarded, result.impaired.corrupted) == (1000, 1000)
    assert all(data != numbered(500)[number_of(data)] for data in sink.taken)
    plain = Wire()
    assert run([Wire(numbered(500)), plain], loss=0.0).forwarded == 500
    assert plain.taken == numbered(500)


class Timed(Wire):
    """A wire that notes when."""

    def __init__(self, given=()):
        super().__init__(given)
        self.times = []

    def receive(self, q, packets, n):
        n = super().receive(q, packets, n)
        self.times += [time.monotonic()] * n
        return n

    def send(self, q, packets, n):
        self.times += [time.monotonic()] * n
        return super().send(q, packets, n)


def test_no_packet_leaves_before_its_delay_nor_faster_than_the_rate():
    source, sink = Timed(numbered(200)), Timed()
    result = run([source, sink], delay=0.05)
    assert (result.impaired.delayed, sink.taken) == (200, numbered(200))
    waits = [after - before for before, after in zip(source.times, sink.times, strict=True)]
    assert min(waits) > 0.05 * 0.999
    source, sink = Timed(numbered(50, 125)), Timed()
    result = run([source, sink], rate=1e6)
    assert sink.taken == numbered(50, 125)
    for number, at in enumerate(sink.times, 1):
        assert at - source.times[0] > number * 0.001 * 0.999, "1,000 bits take 1 ms"


def test_delay_and_jitter_are_in_the_stamps_and_jitter_reorders(tmp_path):
    took, did = through_files(tmp_path, 1000, delay=0.02)
    assert set(took) <= {19_999_000, 20_000_000}
    assert did.delayed == 1000
    took, did = through_files(tmp_path, 2000, delay=0.01, jitter=0.004, seed=3)
    assert all(0.006e9 - 1000 <= each < 0.014e9 for each in took)
    assert abs(sum(took) / 2000 - 0.01e9) < 0.004e9 / math.sqrt(3 * 2000) * SIGMAS
    assert 0 < did.most_waiting <= 2000


@pytest.mark.parametrize(("share", "gap"), [(0.25, 1), (1.0, 5), (0.5, 3)])
def test_reordered_packets_do_not_wait(tmp_path, share, gap):
    count = 1000
    took, did = through_files(tmp_path, count, delay=0.05, reorder=share, gap=gap)
    at_once = [each for each in took if each < 1000]
    assert len(at_once) == did.reordered
    assert len(took) - len(at_once) == did.delayed
    assert all(each >= 0.05e9 - 1000 for each in took if each >= 1000)
    mean = gap - 1 + 1 / share  # packets from one to the next
    assert abs(did.reordered - count / mean) < SIGMAS * math.sqrt(count)
    if share == 1.0:
        assert did.reordered == count // gap


def test_packets_for_which_there_is_no_place_are_dropped_or_wait_outside():
    source, sink = Wire(numbered(100)), Wire()
    result = run([source, sink], Limits(burst=50), delay=0.2, limit=10)
    assert sink.taken[:10] == numbered(10)
    assert result.drops == {"impair_full": 100 - len(sink.taken)}
    assert result.impaired.most_waiting == 10
    for limit, share in ((10, 0.5), (11, 1.0)):
        source, sink = Wire(numbered(100)), Wire()
        result = run([source, sink], on_full="wait", delay=0.001, limit=limit, duplicate=share)
        assert (result.dropped, len(sink.taken)) == (0, 100 + result.impaired.duplicated)
    how = {"duplicate": 1e-9, "delay": 0.2, "rate": 1e9, "queue": Queue(1)}
    result = run([Wire(numbered(20)), Wire()], on_full="wait", **how)
    assert result.impaired.most_waiting > 1, "one place before the line holds up nothing behind"


class Stuck(Wire):
    """Takes nothing until the loop has slept, and has a descriptor that never says that it can."""

    tries = 0

    def make_queue(self, direction, index):
        self.fds = getattr(self, "fds", None) or os.pipe()
        queue = super().make_queue(direction, index)
        queue.q.wake_fd = self.fds[0]
        return queue

    def send(self, q, packets, n):
        self.tries += 1
        return super().send(q, packets, n) if q.counters.sleeps or self.tries > 10_000 else 0

    def close(self):
        for each in self.fds:
            os.close(each)


def test_a_loop_sleeps_while_its_exit_is_full():
    sink = Stuck()
    limits = Limits(count=20, poll="sleep")
    result = run([Wire(numbered(30), ends=False), sink], limits, on_full="wait", delay=0.001)
    assert (result.ended, sink.taken) == ("count", numbered(20))
    assert sink.tries < 10_000, "it has slept"


def test_what_waits_at_the_end_is_delivered_after_a_count_and_dropped_after_a_stop():
    sink = Wire()
    result = run([Wire(numbered(100)), sink], Limits(count=50), delay=0.05)
    assert (result.ended, sink.taken) == ("count", numbered(50))
    result = run([Wire(numbered(100), ends=False), Wire()], Limits(duration=0.5), delay=3600)
    assert (result.ended, result.drops) == ("duration", {"ended": 100})


def test_options_that_mean_nothing_are_refused():
    for wrong in (
        {"jitter": 0.1},
        {"reorder": 0.1},
        {"delay": 0.1, "gap": 5},
        {"loss": 1.5},
        {"delay": -1.0},
        {"rate": 1.0},
        {"limit": 0},
        {"loss": GilbertElliott(0.1, 0.2), "duplicate": 2.0},
        {"queue": Queue()},
        {"bucket": 1000},
        {"bucket": 1 << 50, "rate": 1e6},
        {"rate": 1e6, "link_trace": ["x"]},
        {"link_trace": ["x", "y", "z"]},
    ):
        with pytest.raises(Usage) as raised:
            Impairing(**wrong)
        assert raised.value.hint
    assert Impairing(delay=0.01).places() == 10_000 + 1024
    assert Impairing(delay=1, rate=480e3).places() == 1000 + 1024
    assert Impairing(delay=10).places() == 65536
