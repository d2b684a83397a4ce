# SPDX-License-Identifier: Apache-2.0
"""Replay of capture files: what leaves is what is in them, in order, as often as asked for."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import lz4.frame
import pytest
import zstandard
from scapy.utils import PcapReader

from tests.fastpath.test_loops import Wire
from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.captures import write_pcap
from tests.support.identity import ran
from tests.support.pcap_rig import (
    FRAMES,
    KINDS,
    STAMPS,
    classic,
    enhanced,
    interface,
    pcapng,
    section,
)
from uspnet.errors import Malformed, NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs.plan import Limits
from uspnet.jobs.replay import Pace, Replaying, ReplayJob
from uspnet.packets.answering import read_answers
from uspnet.packets.fields.rewrite import Rewrite
from uspnet.packets.filter import compile_filter
from uspnet.ports.pcap.port import Pcap
from uspnet.ports.registry import make_port

PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
    "lz4": lz4.frame.compress,
}
ALL, BYTES = len(FRAMES), sum(map(len, FRAMES))


@pytest.fixture
def play(tmp_path):
    """Replays files of these contents; returns the result, and what was sent."""

    def run(*contents, passes=1, pace=None, timing=False, **limits):
        names = [tmp_path / f"{number}.pcap" for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            name.write_bytes(content)
        wire = Wire()
        files = [Pcap.make(name, timing=timing or None) for name in names]
        with ReplayJob(wire, Limits(**limits), files, Replaying(passes, pace or Pace())) as job:
            return ran(job.run()), wire.taken

    return run


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_all_formats_leave_as_they_are(play, kind, timing):
    result, taken = play(KINDS[kind], timing=timing)
    assert taken == FRAMES
    assert (result.offered, result.sent, result.ended) == (ALL, ALL, "source")
    (told,) = result.replayed
    assert (told.packets, told.bytes, told.passes, told.share) == (ALL, BYTES, 1, 1.0)
    assert told.skipped == result.skipped == {}


@pytest.mark.parametrize("kind", PACKED)
def test_compressed_files_are_unpacked(play, kind):
    result, taken = play(PACKED[kind](pcapng()))
    assert taken == FRAMES
    assert result.replayed[0].share is None


@pytest.mark.parametrize("burst", [1, 32])
@pytest.mark.parametrize("timing", [False, True])
def test_files_follow_each_other_in_every_pass(play, timing, burst):
    others = [bytes([number]) * 70 for number in range(5)]
    head = section("<") + interface("<")
    second = head + b"".join(map(enhanced, "<" * 5, STAMPS, others))
    result, taken = play(classic(">"), second, passes=3, timing=timing, burst=burst)
    assert taken == (FRAMES + others) * 3
    assert [(each.passes, each.packets) for each in result.replayed] == [(3, 3 * ALL), (3, 15)]


def test_passes_without_end_are_ended_by_a_count(play):
    result, taken = play(pcapng(), passes=None, count=100)
    assert taken == (FRAMES * 20)[:100]
    assert (result.offered, result.ended) == (100, "count")
    assert result.replayed[0].passes == 17


@pytest.mark.parametrize("contents", [[b""], [pcapng(), b""], [b"", b""]])
def test_files_without_packets_end_a_replay_without_end(play, contents):
    empty = [each or pcapng()[: len(section("<") + interface("<"))]
             for each in contents]  # fmt: skip
    passes = None if not any(contents) else 4
    result, taken = play(*empty, passes=passes)
    assert result.ended == "source"
    assert taken == (FRAMES * 4 if passes else [])


def test_a_rate_in_packets_takes_its_time(play):
    result, taken = play(pcapng(), passes=50, pace=Pace(2000.0))
    assert taken == FRAMES * 50
    assert result.elapsed_s >= (50 * ALL - 1) / 2000 * 0.99  # two clocks
    assert result.asked.rate_pps == 2000


@pytest.mark.parametrize(("unit", "more"), [("bps", 0), ("l1", 24)])
def test_a_rate_in_bits_takes_its_time(play, unit, more):
    bits = (50 * BYTES + 50 * ALL * more) * 8
    result, taken = play(pcapng(), passes=50, pace=Pace(bits / 0.1, unit))
    assert taken == FRAMES * 50
    last = (max(map(len, FRAMES)) + more) * 8
    assert result.elapsed_s >= (bits - last) / bits * 0.1 * 0.99


@pytest.mark.parametrize(("own", "expected"), [(None, 1e8), (2e9, 2e7)])
def test_a_rate_in_percent_is_of_the_ports_own_link(tmp_path, own, expected):
    (tmp_path / "x").write_bytes(pcapng())
    wire = Wire()
    wire.link_bps = lambda: own
    how = Replaying(1, Pace(1e8, "l1", percent=True))  # 1 % of 10G
    with ReplayJob(wire, Limits(), [Pcap.make(tmp_path / "x")], how) as job:
        assert ran(job.run()).asked.rate_l1_bps == expected
        assert job.loop.c.rate == expected


def test_their_own_timing_takes_its_time(play):
    result, taken = play(pcapng(), passes=3, timing=True)
    assert taken == FRAMES * 3
    assert result.elapsed_s >= 3 * (STAMPS[-1] - STAMPS[0]) / 1e9 * 0.99


@pytest.mark.parametrize("passes", [1, None])
def test_what_is_whole_of_a_broken_file_is_played(play, passes):
    with pytest.raises(Malformed, match="the file ends inside it") as caught:
        play(pcapng()[:-20], passes=passes)
    told = caught.value.partial
    assert (told["offered"], told["sent"], told["unsent"]) == (ALL - 1, ALL - 1, 0)
    assert told["skipped"] == {"bad_length": 1}
    assert told["replayed"][0]["skipped"] == {"bad_length": 1}


def test_what_follows_a_broken_file_is_played(play):
    with pytest.raises(Malformed, match=r"0\.pcap: packet 6"):
        play(pcapng()[:-20], classic())


def test_packets_of_other_links_are_skipped(play):
    foreign = enhanced("<", STAMPS[0], FRAMES[0], 1)
    data = pcapng() + interface("<", link=101) + foreign + foreign
    result, taken = play(data)
    assert taken == FRAMES
    assert result.skipped == {"not_ethernet": 2}
    assert (result.offered, result.unsent, result.dropped) == (ALL, 0, 0)


def test_a_stream_can_not_be_played_twice(play):
    with pytest.raises(NotSupported, match="a second pass needs a file"):
        play(gzip.compress(pcapng()), passes=2)


def test_times_go_on_to_a_file(tmp_path):
    (tmp_path / "a").write_bytes(pcapng())
    (tmp_path / "b").write_bytes(classic(magic=0xA1B23C4D))
    files = [Pcap.make(tmp_path / name) for name in "ab"]
    sink = Pcap.make(out=tmp_path / "out", format="nsecpcap")
    with ReplayJob(sink, Limits(), files) as job:
        ran(job.run())
    assert (tmp_path / "out").read_bytes()[24:] == classic(magic=0xA1B23C4D)[24:] * 2


def test_wrong_numbers_are_refused(tmp_path):
    file = Pcap.make(tmp_path / "x")
    with pytest.raises(Usage, match="nothing to replay"):
        ReplayJob(Wire(), Limits(), [])
    with pytest.raises(Usage, match="passes=0"):
        Replaying(0)
    with pytest.raises(Usage, match="nothing can be sent"):
        ReplayJob(file, Limits(), [file])


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
@pytest.mark.parametrize("rate", [None, 1e6])
def test_a_replay_goes_on_when_its_process_is_killed(tmp_path, mortal, rate):  # noqa: F811
    files = []
    for number, content in enumerate((pcapng(), classic(">"))):
        (tmp_path / f"{number}").write_bytes(content)
        files.append(Pcap.make(tmp_path / f"{number}"))
    how = Replaying(None, Pace(rate))
    with ReplayJob(make_port("null:"), Limits(), files, how) as job:
        life = mortal(job)
        torment(life)
        result = ran(life.stop())
    assert result.sent > 0
    lost = result.drops.get("worker_lost", 0) + result.skipped.get("worker_lost", 0)
    assert lost == life.lost <= 2 * 32 * life.kills
    assert result.drops.keys() <= {"worker_lost"}


@pytest.mark.parametrize("pace", [Pace(rate=10), Pace(speed=1)], ids=["rate", "timing"])
def test_who_asks_for_an_address_ends_a_sleep(tmp_path, pace):
    write_pcap(tmp_path / "in.pcap", [bytes(60)] * 3, [n * 100_000_000 for n in range(3)])
    files = [Pcap.make(tmp_path / "in.pcap", timing=(pace.speed is not None) or None)]
    name = f"@uspnet-replay-{os.getpid()}"
    ports = make_port(f"memif:{name},role=server"), make_port(f"memif:{name}")
    how = Replaying(pace=pace, split=compile_filter("greater 60"))
    with ReplayJob(ports[0], Limits(poll="sleep"), files, how, ports[1]) as job:
        job.answer(read_answers(["10.0.0.1"]), bytes(6))
        assert ran(job.run()).sent == 3
        ways = [each for port in ports for each in port.made if each.direction == "rx"]
        assert all(each.counters.sleeps for each in ways), "it waits for what comes in, too"


def test_packets_that_can_have_no_tag_are_skipped_and_times_stay_with_theirs(tmp_path):
    frames = [bytes([number]) * length for number, length in enumerate((13, 60, 13, 61, 62))]
    packets = [enhanced("<", 1000 + number, frame) for number, frame in enumerate(frames)]
    (tmp_path / "in.pcapng").write_bytes(section("<") + interface("<") + b"".join(packets))
    files = [Pcap.make(tmp_path / "in.pcapng")]
    how = Replaying(rewrite=[Rewrite(vlan=7)])
    out = make_port(f"pcap:out={tmp_path / 'out.pcap'},format=nsecpcap")
    with ReplayJob(out, Limits(), files, how) as job:
        result = ran(job.run())
    assert (result.offered, result.sent, result.skipped) == (3, 3, {"too_short": 2})
    assert result.ports[1].rx_bytes == 60 + 61 + 62
    with PcapReader(str(tmp_path / "out.pcap")) as reader:
        found = [(int(each.time * 10**9), bytes(each)) for each in reader]
    tag = b"\x81\0\0\x07"
    assert found == [(1000 + n, frames[n][:12] + tag + frames[n][12:]) for n in (1, 3, 4)]
