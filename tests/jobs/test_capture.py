# SPDX-License-Identifier: Apache-2.0
"""Captures whose worker process is killed again and again."""

from __future__ import annotations

import pytest

from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.captures import counted
from tests.support.identity import ran
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.less import First, Less
from uspnet.jobs.plan import Limits
from uspnet.packets.filter import compile_filter
from uspnet.ports.pcap.trigger import Trigger, make_armed
from uspnet.ports.registry import make_port

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")


@pytest.mark.parametrize("text", ["len = 60", "len > 60"])
def test_a_filter_loses_only_what_was_under_way(mortal, tmp_path, text):  # noqa: F811
    sink = make_sink(str(tmp_path / "x.pcapng"), snaplen=20)
    with CaptureJob(make_port("null:"), Limits(), sink, compile_filter(text)) as job:
        life = mortal(job)
        torment(life)
        life.live(0.2)
        result = ran(life.stop())
    assert result.received > 0
    assert (result.filtered == 0) is (text == "len = 60")
    lost = result.drops.get("worker_lost", 0)  # or written, and not counted any more
    assert lost <= 2 * 32 * life.kills
    assert result.written <= counted(tmp_path / "x.pcapng") <= result.written + lost


def test_what_is_remembered_of_flows_outlives_the_process_that_looked(mortal):  # noqa: F811
    less = Less(first=First(20_000))
    with CaptureJob(make_port("null:"), Limits(), None, less=less) as job:
        life = mortal(job)
        torment(life)
        life.live_until(lambda: job.received() > 100_000)
        result = ran(life.stop())
    under_way = 2 * 32 * life.kills  # counted as received, and not looked at; or looked at again
    assert result.first.flows == result.first.cut_flows == 1
    assert abs(result.discarded - 20_000) <= under_way
    assert abs(result.drops["beyond_first"] - result.first.packets) <= under_way


@pytest.mark.parametrize("pulled", [True, False])
def test_what_is_held_before_a_trigger_outlives_the_worker(mortal, tmp_path, pulled):  # noqa: F811
    sink = make_armed(str(tmp_path / "x.pcapng"), Trigger(4 << 20, after=0.05), None, buffer=4)
    with CaptureJob(make_port("null:"), Limits(), sink) as job:
        life = mortal(job)
        torment(life)
        life.live_until(lambda: sink.writer.shared.positions[0].untriggered)
        if pulled:
            sink.pull()
        life.live(0.2)
        result = ran(life.stop())
    lost = result.drops.get("worker_lost", 0)
    assert lost <= 2 * 32 * life.kills
    assert result.written <= counted(tmp_path / "x.pcapng") <= result.written + lost
    assert (result.written > 0) is (result.triggered_ns is not None) is pulled
    assert result.drops["untriggered"] > 0
