# SPDX-License-Identifier: Apache-2.0
"""Which packets were lost, for how long, and the packets themselves."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import Counter

import pytest
from scapy.layers.all import Ether
from scapy.utils import RawPcapNgReader

from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.identity import ran
from tests.support.tiers import by_tier
from tests.support.wire import Echo
from uspnet.errors import NoDevice, Usage
from uspnet.fastpath import lib
from uspnet.jobs.capture import make_sink
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.losses import WINDOW, Losses
from uspnet.jobs.plan import Limits
from uspnet.jobs.saving import Files
from uspnet.jobs.traffic import Traffic
from uspnet.memory import new
from uspnet.packets.craft import craft
from uspnet.packets.fields.field import find_field
from uspnet.packets.frames import udp_template
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program
from uspnet.ports.registry import make_port

HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9)
COUNT = 5000
LOSSES = {
    "none": set(),
    "chosen": set(random.Random(1).sample(range(COUNT), 137)),
    "first": {0, 1},
    "last": {COUNT - 1},
    "row": set(range(1000, 1100)),
    "all": set(range(COUNT)),
}


class Lossy(Echo):
    """Loses the packets of these numbers, and keeps them."""

    def __init__(self, lost):
        super().__init__(lambda frame, number: [] if number in lost else [frame])
        self.numbers = lost

    @property
    def lost(self):
        return [frame for number, frame in enumerate(self.taken) if number in self.numbers]


def plain(*sizes):
    return Traffic([udp_template(size, *HEADER) for size in sizes], sequence=True)


def varied(text, change, order=()):
    templates, program = compile_program(craft(text, 100), change)
    return Traffic(templates, sequence=True, fields=[program], change=change, order=order)


UDP = "Ether()/IP(dst='10.0.0.1')/UDP(dport=[7,9])"
TRAFFIC = {
    "one frame": lambda: plain(60),
    "sizes": lambda: plain(60, 61, 1514),
    "weights": lambda: Traffic(plain(60, 100).templates, sequence=True, order=(0, 1, 1, 0, 1)),
    "sctp": lambda: Traffic(craft("Ether()/IP()/SCTP()/('x'*40)", None), sequence=True),
    "random": lambda: varied(UDP, Change(["ip.src=10.0.0.0/8:random", "udp.sport=random"], 7)),
    "flows": lambda: varied(UDP, Change(["ip.src=10.0.0.0/16", "udp.sport=random"], 7, 50, 1.2)),
    "bytes": lambda: varied(UDP, Change(["u16@50=1-999:step=7"], 7)),
}


def measure(port, traffic, path, count=COUNT, **more):
    """The result of pktgen, and what the file of lost packets holds: frames and times in ns."""
    sink = make_sink(str(path)) if path else None
    with GenerateJob(port, Limits(count=count, **more), traffic, port, Files(lost=sink)) as job:
        result = ran(job.run())
    if not path:
        return result, None, None
    with RawPcapNgReader(str(path)) as reader:
        read = list(reader)
    times = [((meta.tshigh << 32) | meta.tslow) * 10**9 // meta.tsresol for _, meta in read]
    return result, [frame for frame, _ in read], times


@pytest.mark.parametrize("traffic", TRAFFIC)
def test_lost_packets_are_written_as_they_were_sent(tmp_path, traffic):
    port = Lossy(LOSSES["chosen"])
    result, frames, times = measure(port, TRAFFIC[traffic](), tmp_path / "lost.pcapng")
    assert len(port.lost) == 137
    assert frames == port.lost
    assert times == sorted(times)
    assert (result.lost_file.written, result.lost_file.not_written) == (137, 0)


def test_losses_are_told_by_size(tmp_path):
    port = Lossy(LOSSES["chosen"])
    result, frames, _ = measure(port, plain(60, 61, 1514), tmp_path / "lost.pcapng")
    sizes = Counter(map(len, frames))
    assert result.lost_by_size == {str(size): sizes[size] for size in sorted(sizes)}
    assert (len(sizes), result.lost_by_flow, result.flows_with_losses) == (3, (), None)


@pytest.mark.parametrize("zipf", [None, 1.2])
def test_losses_are_told_by_flow(tmp_path, zipf):
    change = Change(["ip.src=10.0.0.0/16", "u32@60=1-999", "udp.sport=random"], 7, 50, zipf)
    port = Lossy(LOSSES["chosen"] | LOSSES["row"])
    result, frames, _ = measure(port, varied(UDP, change), tmp_path / "lost.pcapng")
    flows = Counter((str(Ether(frame)["IP"].src), Ether(frame)["UDP"].sport) for frame in frames)
    named = {f"ip.src={src} udp.sport={sport}": n for (src, sport), n in flows.items()}
    assert result.flows_with_losses == len(flows) > 10
    assert len(result.lost_by_flow) == 10
    assert all(named[each.flow] == each.packets for each in result.lost_by_flow)
    assert [e.packets for e in result.lost_by_flow] == sorted(flows.values(), reverse=True)[:10]


@pytest.mark.parametrize("lost", LOSSES)
def test_losses_are_runs_of_lost_packets(tmp_path, lost):
    port = Lossy(LOSSES[lost])
    result, frames, _ = measure(port, plain(60), tmp_path / "lost.pcapng")
    assert frames == port.lost
    numbers = sorted(LOSSES[lost])
    groups = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in groups]
    found = [(each.first, each.last, each.packets) for each in result.losses]
    assert found == [(run[0], run[-1], len(run)) for run in runs]
    assert [each.ended for each in result.losses] == [run[-1] != COUNT - 1 for run in runs]
    assert result.losses_left_out == 0
    longest = max((each.duration_s for each in result.losses), default=None)
    assert (result.longest_loss.duration_s if runs else None) == longest


def test_without_a_file_losses_are_told_too():
    result, *_ = measure(Lossy(LOSSES["row"]), plain(60), None)
    assert [(each.first, each.last) for each in result.losses] == [(1000, 1099)]
    assert result.lost_file is None


def test_more_losses_than_there_is_room_for_are_counted(tmp_path):
    lost = set(range(0, COUNT, 3)) | {COUNT - 3, COUNT - 2}
    result, frames, _ = measure(Lossy(lost), plain(60), tmp_path / "lost.pcapng")
    assert len(frames) == len(lost)
    assert len(result.losses) - lib.LOSSES_KEPT in (0, 1)
    assert len(result.losses) + result.losses_left_out == len(range(0, COUNT, 3))
    assert result.longest_loss in result.losses


def test_what_is_lost_is_found_out_beyond_the_window(tmp_path):
    count = 3 * WINDOW
    lost = {5, 64, WINDOW - 1, WINDOW, 150_000} | set(range(70_000, 140_000))
    port = Lossy(lost)
    result, frames, _ = measure(port, plain(60), tmp_path / "lost.pcapng", count)
    assert frames == port.lost
    assert (result.lost, result.lost_file.written) == (len(lost), len(lost))
    rows = [(5, 5), (64, 64), (WINDOW - 1, WINDOW), (70_000, 139_999), (150_000, 150_000)]
    assert [(each.first, each.last) for each in result.losses] == rows


class Queues(Lossy):
    """The same with several queues, each with a thread of its own."""

    def __init__(self, lost, queues):
        super().__init__(lost)
        self.queues, self.lock = queues, threading.Lock()

    def receive(self, q, packets, n):
        with self.lock:
            return super().receive(q, packets, n)

    def send(self, q, packets, n):
        with self.lock:
            return super().send(q, packets, n)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_several_queues_and_cores_have_their_losses_in_order(tmp_path, workers):
    port = Queues(LOSSES["chosen"] | LOSSES["row"], 3)
    change = Change(["ip.src=10.0.0.0/8:random", "u32@50=1-999999"], 7)
    traffic = varied(UDP, change, order=(0, 1, 1))
    result, frames, times = measure(
        port, traffic, tmp_path / "lost.pcapng", cores=[*os.sched_getaffinity(0)][:1] * workers
    )
    assert sorted(frames) == sorted(port.lost)
    assert times == sorted(times)
    assert {each.queue for each in result.losses} <= {0, 1, 2}, "a busy machine may starve one"
    assert sum(each.packets for each in result.losses) == len(port.lost)


def test_packets_that_come_late_are_not_lost(tmp_path):
    held = []

    def change(frame, number):
        if number % 1000 == 500:
            held.append(frame)
            return []
        return [frame, held.pop()] if held and number % 1000 == 700 else [frame]

    result, frames, _ = measure(Echo(change), plain(60), tmp_path / "lost.pcapng")
    assert (result.reordered, result.lost, frames, result.losses) == (COUNT // 1000, 0, [], ())


def test_what_is_lost_at_the_end_lasts_until_all_was_sent(tmp_path):
    """And not until the receiver, which waits a second for it, has ended."""
    traffic = plain(60)
    traffic.rate = 2000.0
    result, _, _ = measure(Lossy({*range(100, 300), 399}), traffic, tmp_path / "lost.pcapng", 400)
    assert [(each.packets, each.ended) for each in result.losses] == [(200, True), (1, False)]
    assert result.longest_loss == result.losses[0]


def test_more_queues_than_a_signature_can_name(tmp_path):
    port = Queues({7, 8}, 300)
    result, frames, _ = measure(port, plain(60), tmp_path / "lost.pcapng", 20_000)
    assert (result.lost, result.duplicated, sorted(frames)) == (2, 0, sorted(port.lost))


def test_a_loss_lasts_from_its_neighbour_to_its_neighbour(tmp_path):
    traffic = plain(60)
    traffic.rate = 2000.0
    result, _, times = measure(Lossy(set(range(300, 500))), traffic, tmp_path / "lost.pcapng", 800)
    (loss,) = result.losses
    assert (loss.first, loss.last) == (300, 499)
    assert loss.duration_s * 1e9 >= times[-1] - times[0]


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
def test_after_deaths_of_the_process_all_that_is_lost_is_one_loss(tmp_path, mortal):  # noqa: F811
    """Nothing comes back: what was numbered is lost, once, and in the file or known not to be."""
    sink, traffic = make_sink(str(tmp_path / "lost.pcapng")), plain(60)
    traffic.rate = 1e6
    ports = make_port("null:"), make_port("null:")
    cores = [*os.sched_getaffinity(0)][:1] * 2  # the receiver has a thread of its own
    limits = Limits(count=100_000, cores=cores)
    with GenerateJob(ports[0], limits, traffic, ports[1], Files(lost=sink)) as job:
        life = mortal(job)
        torment(life, by_tier(5, 15, 500))
        result = ran(life.end())
        (loss,) = job.losses.as_json(final=True)["losses"]
    assert (loss.first, loss.ended) == (0, False)
    assert loss.packets >= result.sent
    assert loss.packets - result.sent <= result.drops.get("worker_lost", 0) + 64 * life.kills
    assert result.lost_file.written + result.lost_file.not_written == loss.packets
    with RawPcapNgReader(str(tmp_path / "lost.pcapng")) as reader:
        numbers = [int.from_bytes(frame[-16:-8], "little") for frame, _ in reader]
    # One that is killed between writing a burst and counting it has written more than is known.
    assert 0 <= len(numbers) - result.lost_file.written <= 64 * life.kills
    assert all(one < other for one, other in itertools.pairwise(numbers))


def test_a_folder_that_is_not_there_is_told_before_anything_is_sent(tmp_path):
    port = Lossy(set())
    sink = make_sink(str(tmp_path / "no" / "lost.pcapng"))
    job = GenerateJob(port, Limits(count=10), plain(60), port, Files(lost=sink))
    with pytest.raises(NoDevice, match="No such file"):
        job.__enter__()
    assert port.log == [], "the port was not opened"


def test_what_can_not_be_made_once_more_is_refused(tmp_path):
    field = find_field("rewrite")
    traffic = Traffic(plain(60).templates, sequence=True, fields=[field()])
    port = Lossy(set())
    sink = make_sink(str(tmp_path / "lost.pcapng"))
    with (
        GenerateJob(port, Limits(count=10), traffic, port, Files(lost=sink)) as job,
        pytest.raises(Usage, match="once more"),
    ):
        job.run()


def test_what_a_stalled_file_has_missed_is_not_what_was_sent_later_by_that_number():
    losses, worker, lane, file = Losses(1, sink=object()), *(
        new(f"struct {kind} *") for kind in ("worker", "lane", "exit"))  # fmt: skip
    queue, stack, sender = (new(f"struct {kind} *") for kind in ("queue", "stack", "stream"))
    file.tx, lane.exits, lane.n_exits = queue, file, 1
    worker.lanes, worker.n_lanes, worker.stack, worker.burst = lane, 1, stack, 32
    stream, log = losses._streams[0], losses.logs + 0
    stream.log, stream.sender, stream.marks[0] = log, sender, 0b1110  # lost, and not yet written
    stream.decided = sender.next = log.room + 1000
    assert not lib.losses_write(losses.c, worker, 1)
    assert stream.written == stream.decided, "all others came back"
