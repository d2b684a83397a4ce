# SPDX-License-Identifier: Apache-2.0
"""Several files replayed as one: packets leave by their times, whichever file they are in."""

from __future__ import annotations

import random
import struct
import subprocess
from itertools import chain, count

import lz4.frame
import pytest
from scapy.utils import PcapReader

from tests.fastpath.test_loops import Wire
from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.identity import ran
from tests.support.pcap_rig import FRAMES, block, classic, enhanced, interface, pcapng, section
from tests.support.waiting import scaled
from uspnet.errors import Malformed, Usage
from uspnet.fastpath import lib
from uspnet.jobs.plan import Limits
from uspnet.jobs.replay import Pace, Replaying, ReplayJob
from uspnet.packets.breaking import Wrong, read_breaks
from uspnet.packets.fields.rewrite import Rewrite
from uspnet.packets.filter import compile_filter
from uspnet.ports.pcap.port import Pcap
from uspnet.ports.registry import make_port

NS, SECOND = 0xA1B23C4D, 10**9
KINDS = {  # byte order, and bytes of a file with these packets
    "pcapng": lambda packets: ng("<", packets),
    "pcapng, other order": lambda packets: ng(">", packets),
    "ns": lambda packets: pcap("<", NS, packets),
    "us, other order": lambda packets: pcap(">", 0xA1B2C3D4, packets),
}


def ng(order, packets):
    blocks = (enhanced(order, ns, frame) for ns, frame in packets)
    return section(order) + interface(order) + b"".join(blocks)


def pcap(order, magic, packets):
    unit = 1 if magic == NS else 1000
    data = classic(order, magic)[:24]
    for ns, frame in packets:
        length = len(frame)
        data += struct.pack(order + "4I", ns // SECOND, ns % SECOND // unit, length, length) + frame
    return data


def stream(packets, files, seed=1):
    """Lists of packets, one for each file, numbered in the order of time; times are in whole µs."""
    chance, made = random.Random(seed), [[] for _ in range(files)]
    ns = 1_700_000_000 * SECOND
    for number in range(packets):
        ns += 1000 * chance.randint(1, 50)
        chance.choice(made).append((ns, struct.pack("I", number) * chance.randint(4, 90)))
    return made, [frame for _, frame in sorted(chain.from_iterable(made))]


@pytest.fixture
def merge(tmp_path):
    """Replays files of these contents as one; returns the result, and what was sent."""

    def run(contents, passes=1, pace=None, wrong=None, **limits):
        names = [tmp_path / f"{number}.pcap" for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            name.write_bytes(content)
        wire, how = Wire(), Replaying(passes, pace or Pace(), merge=True, wrong=wrong or Wrong())
        with ReplayJob(wire, Limits(**limits), [Pcap.make(name) for name in names], how) as job:
            return ran(job.run()), wire.taken

    return run


def test_no_pass_is_the_last_because_no_packet_is_due_yet(merge):
    result, taken = merge([pcapng(), pcapng()], passes=200, pace=Pace(20_000), poll="busy")
    assert (result.sent, result.ended) == (len(taken), "source")
    assert len(taken) == 200 * 2 * len(FRAMES)


@pytest.mark.parametrize("burst", [1, 32, 64])
@pytest.mark.parametrize("passes", [1, 3])
def test_files_of_all_kinds_are_one_stream(merge, passes, burst):
    files, frames = stream(2000, len(KINDS))
    contents = [make(each) for make, each in zip(KINDS.values(), files, strict=True)]
    result, taken = merge(contents, passes, burst=burst)
    assert taken == frames * passes
    assert (result.offered, result.sent, result.ended) == (len(taken), len(taken), "source")
    told = [(each.passes, each.packets, each.share) for each in result.replayed]
    assert told == [(passes, len(each) * passes, 1.0) for each in files]
    assert result.asked.merge


def test_mergecap_merges_alike(needs, merge, tmp_path):
    needs("mergecap")
    files, _ = stream(500, 3, seed=7)
    _, taken = merge([ng("<", each) for each in files])
    command = ["mergecap", "-F", "nsecpcap", "-w", tmp_path / "x",
               *(tmp_path / f"{number}.pcap" for number in range(3))]  # fmt: skip
    subprocess.run(command, check=True, timeout=scaled(30))
    with PcapReader(str(tmp_path / "x")) as reader:
        assert taken == [bytes(each) for each in reader]


def test_at_the_same_time_the_first_file_is_first(merge):
    files = [[(SECOND, bytes([number] * 20))] * 40 for number in range(3)]
    _, taken = merge([ng("<", each) for each in files])
    assert taken == [frame for each in files for _, frame in each]


def test_a_packet_without_a_time_follows_the_one_before_it(merge):
    simple = block("<", 3, struct.pack("<I", 20) + b"s" * 20)
    first = ng("<", [(5000, b"a" * 20)]) + simple
    second = ng("<", [(4000, b"b" * 20), (6000, b"c" * 20)])
    _, taken = merge([first, second])
    assert [frame[:1] for frame in taken] == [b"b", b"a", b"s", b"c"]


def test_a_file_without_packets_holds_nothing_up(merge):
    result, taken = merge([ng("<", []), pcapng()], passes=2)
    assert len(taken) == 12
    assert merge([ng("<", []), ng("<", [])], passes=None)[0].ended == "source"
    assert [each.packets for each in result.replayed] == [0, 12]


@pytest.mark.parametrize("count", [1, 7, 777])
def test_a_count_is_exact_and_what_was_read_ahead_is_uncounted(merge, count):
    files, frames = stream(1000, 3)
    result, taken = merge([ng("<", each) for each in files], None, count=count)
    assert taken == frames[:count]
    assert (result.offered, result.sent, result.ended) == (count, count, "count")
    assert sum(each.packets for each in result.replayed) == count
    assert sum(each.bytes for each in result.replayed) == sum(map(len, taken))


@pytest.mark.parametrize("count", [2, 50, 2000])
def test_every_third_packet_of_the_stream_is_broken_and_none_that_was_only_read_ahead(merge, count):
    """Whichever file it is in: each has more packets than are sent."""
    files, frames = stream(1000, 2)
    contents = [ng("<", each) for each in files]
    result, taken = merge(contents, 2, wrong=Wrong(read_breaks(["runt=18"]), 3), count=count)
    asked = [frame if (n + 1) % 3 else frame[:18] for n, frame in enumerate((frames * 2)[:count])]
    assert (result.sent, taken) == (count, asked)
    cut = sum(len(frame) > 18 for frame in (frames * 2)[2:count:3])
    assert result.broken == {"runt": cut}


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize(("tag", "tagging"), [(b"", {"vlan": 7}),
                                              (b"\x81\0\0\x05", {"untag": True})])  # fmt: skip
def test_what_was_read_ahead_is_uncounted_as_it_was_read(tmp_path, count, tag, tagging):
    """With its length in the file: a tag that was added, or removed, is not counted."""
    frame = bytes([2, 0, 0, 0, 0, 1] * 2) + tag + b"\x88\xb5" + bytes(46)
    for name in "ab":
        (tmp_path / name).write_bytes(ng("<", [(SECOND + n, frame) for n in range(100)]))
    wire, how = Wire(), Replaying(rewrite=[Rewrite(**tagging)], merge=True)
    given = [Pcap.make(tmp_path / name) for name in "ab"]
    with ReplayJob(wire, Limits(count=count), given, how) as job:
        result = ran(job.run())
    assert {len(each) for each in wire.taken} == {60 if tag else 64}
    assert sum(each.packets for each in result.replayed) == count
    assert sum(each.bytes for each in result.replayed) == count * len(frame)


def test_a_packet_is_never_due_before_one_that_waits_for_ages(merge):
    hours = [(0, b"a" * 60), (3 * 3600 * SECOND, b"b" * 60)]
    result, taken = merge([ng("<", hours)], pace=Pace(speed=1e-6), duration=0.5)
    assert [frame[:1] for frame in taken] == [b"a"]
    assert result.ended == "duration"


def test_packets_without_a_time_at_first_hold_nothing_up(merge):
    simple = block("<", 3, struct.pack("<I", 20) + b"s" * 20)
    now = 1_700_000_000 * SECOND
    first = section("<") + interface("<") + simple + enhanced("<", now, b"a" * 20)
    second = ng("<", [(now + 10**7, b"b" * 20)])
    result, taken = merge([first, second], pace=Pace(speed=1.0), duration=20)
    assert [frame[:1] for frame in taken] == [b"s", b"a", b"b"]
    assert result.ended == "source"


def test_compressed_files_are_merged_too(merge):
    files, frames = stream(3000, 2)
    _, taken = merge([lz4.frame.compress(ng("<", files[0])), ng("<", files[1])])
    assert taken == frames


def test_a_broken_file_ends_alone(merge):
    files, frames = stream(100, 2)
    cut = ng("<", files[0])[:-20]
    with pytest.raises(Malformed, match=r"0\.pcap: packet") as caught:
        merge([cut, ng("<", files[1])])
    assert caught.value.partial["sent"] == len(frames) - 1


def test_their_own_timing_is_that_of_the_stream(merge):
    files = [[(at * 10**7 + n * 10**8, bytes(60)) for n in range(3)] for at in (1, 5)]
    contents = [ng("<", each) for each in files]
    result, taken = merge(contents, pace=Pace(speed=2.0))
    assert len(taken) == 6
    assert result.elapsed_s >= (0.25 - 0.01) / 2 * 0.99
    assert result.asked.speed == 2.0


def test_a_rate_is_kept(merge):
    files, frames = stream(200, 2)
    result, taken = merge([ng("<", each) for each in files], pace=Pace(4000.0))
    assert taken == frames
    assert result.elapsed_s >= 199 / 4000 * 0.99


@pytest.mark.parametrize("times", [SECOND, 1_700_000_000_123_456_789])
def test_filters_rewriting_and_two_exits(tmp_path, times):
    """As if the merged file was replayed: short frames are skipped, in whichever file."""
    chance, numbers = random.Random(3), count()
    files = [[], []]
    for _ in range(600):
        number = next(numbers)
        length = chance.choice([13, 60, 61, 90])
        frame = (bytes([number % 251, number >> 8]) * 45)[:length]
        chance.choice(files).append((times + number * 1000, frame))
    merged = sorted(chain.from_iterable(files))
    for name, packets in zip("abm", [*files, merged], strict=True):
        (tmp_path / name).write_bytes(ng("<", packets))
    how = {
        "rewrite": [Rewrite(vlan=7)],
        "only": compile_filter("not greater 90"),
        "split": compile_filter("ether[0] & 1 = 0"),
    }
    told = {}
    for names in ("ab", "m"):
        outs = [make_port(f"pcap:out={tmp_path}/{names}{i},format=nsecpcap") for i in range(2)]
        given = [Pcap.make(tmp_path / name) for name in names]
        replaying = Replaying(2, merge=len(names) == 2, **how)
        with ReplayJob(outs[0], Limits(), given, replaying, outs[1]) as job:
            told[names] = ran(job.run())
    for i in range(2):
        assert (tmp_path / f"ab{i}").read_bytes() == (tmp_path / f"m{i}").read_bytes()
    assert told["ab"].skipped == told["m"].skipped
    assert {"filtered", "too_short"} == told["m"].skipped.keys()
    assert told["ab"].sent == told["m"].sent


def test_timing_of_one_of_the_files_is_refused(tmp_path):
    files = [Pcap.make(tmp_path / "x", timing=True)]
    with pytest.raises(Usage, match="timing=on of one of several merged files"):
        ReplayJob(Wire(), Limits(), files, Replaying(merge=True))


def test_a_pass_that_one_process_began_and_another_goes_on_with_is_whole(tmp_path):
    """It was killed when one file had begun again, and the other one had not."""
    files, frames = stream(100, 2)
    for name, packets in zip("ab", files, strict=True):
        (tmp_path / name).write_bytes(ng("<", packets))
    given = [Pcap.make(tmp_path / name) for name in "ab"]
    wire = Wire()
    job = ReplayJob(wire, Limits(), given, Replaying(3, merge=True))

    def killed():
        job.loop.c.turning = 4  # the second of three passes
        job.loop.c.empty = 1
        given[1].c.q.ended = 1

    set_up, job.set_up = job.set_up, lambda: (set_up(), killed())
    with job:
        result = ran(job.run())
    assert wire.taken == frames * 2
    assert [each.passes for each in result.replayed] == [3, 3]


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
@pytest.mark.parametrize("pace", [Pace(), Pace(1e6), Pace(speed=1.0)])
def test_a_merge_goes_on_when_its_process_is_killed(tmp_path, mortal, pace):  # noqa: F811
    files, _ = stream(3000, 2)
    for name, packets in zip("ab", files, strict=True):
        (tmp_path / name).write_bytes(ng("<", packets))
    how = Replaying(None, pace, merge=True)
    given = [Pcap.make(tmp_path / name) for name in "ab"]
    with ReplayJob(make_port("null:"), Limits(), given, how) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.stop())
    assert result.sent > 0
    lost = result.drops.get("worker_lost", 0) + result.skipped.get("worker_lost", 0)
    assert lost == life.lost <= 4 * 32 * life.kills
