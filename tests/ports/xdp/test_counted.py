# SPDX-License-Identifier: Apache-2.0
"""xdp: what the kernel counts of its sockets, in results, in `stats`, and over replaced loops."""

from __future__ import annotations

import os
import signal
from dataclasses import fields
from types import SimpleNamespace

import pytest

from tests.jobs.test_port_deaths import worker_of
from tests.support.identity import answer
from tests.support.waiting import until
from uspnet.cli.views.summary import format_summary
from uspnet.fastpath import lib
from uspnet.kernel import xsk
from uspnet.memory import new
from uspnet.ports.xdp.counted import count
from uspnet.telemetry import STATISTICS, statistics_of

LIMITED = ("pktgen", "xdp:a", "--rate", "2k", "--poll", "sleep")


class Socket:
    """Has counted what it is told; counts how often it is asked."""

    def __init__(self, **told):
        self.told, self.asked = told, 0

    def statistics(self):
        """What the kernel would say."""
        self.asked += 1
        return xsk.Statistics(**self.told)


def test_names_are_the_kernels_and_have_a_place_each():
    assert STATISTICS["xdp"] == tuple(each.name for each in fields(xsk.Statistics))
    assert len(STATISTICS["xdp"]) <= len(new("struct counters *").statistics)


def test_sockets_are_asked_once_and_summed_up():
    blocks = [new("struct counters *") for _ in range(4)]
    places = [("rx", 0), ("tx", 0), ("rx", 1), ("tx", 1)]
    made = [
        SimpleNamespace(direction=direction, index=index, counters=block)
        for (direction, index), block in zip(places, blocks, strict=True)
    ]
    sockets = [Socket(rx_ring_full=3, tx_invalid_descs=1), Socket(rx_dropped=4, rx_ring_full=2)]
    for asked in (1, 2):
        assert count(made, sockets, ()) == 9
        assert [block.missed for block in blocks] == [3, 0, 6, 0]
        told = {name: value for name, value in statistics_of("xdp", blocks).items() if value}
        assert told == {"rx_dropped": 4, "tx_invalid_descs": 1, "rx_ring_full": 5}
        assert [each.asked for each in sockets] == [asked] * 2
    assert statistics_of("igb", blocks) == {}
    assert count(made, [], ()) == 0
    assert blocks[0].missed == 3, "what was counted stays when the sockets are closed"


def test_a_summary_says_what_is_not_0_and_not_usual(namespace):
    namespace.veth("a", "b")
    run = namespace.uspnet("pktgen", "xdp:a", "--rx-port", "xdp:b", "--count", 100, "--json")
    result = answer(run.stdout)
    near, far = (port["statistics"] for port in result["ports"])
    near["tx_ring_empty_descs"] = 7
    far |= {"rx_ring_full": 1234, "rx_fill_ring_empty_descs": 0, "tx_ring_empty_descs": 0}
    *_, sends, receives = format_summary(result, None)
    assert "kernel" not in sends
    assert receives.endswith("kernel rx_ring_full 1,234")


def looked(namespace, process):
    """What `stats` says that the kernel has counted of the first port of a job; {}: no job yet."""
    jobs = answer(namespace.uspnet("stats", "--json").stdout)["jobs"]
    (port,) = [each["ports"][0] for each in jobs if each["pid"] == process.pid] or [{}]
    return port.get("statistics", {})


@pytest.fixture
def sender(namespace):
    """A job that sends, and what `stats` says of sends that its kernel counts: one a call."""
    namespace.veth("a", "b")
    job = namespace.start(*LIMITED)

    def calls():
        return looked(namespace, job.process).get("tx_ring_empty_descs", 0)

    until(lambda: calls() > 0)
    return job, calls


def test_stats_shows_them(namespace, sender):
    job, _ = sender
    shown = namespace.uspnet("stats", job.process.pid, "--once").stdout
    assert f"{job.process.pid}: xdp:a  kernel tx_ring_empty_descs " in shown
    assert set(looked(namespace, job.process)) == set(STATISTICS["xdp"])


def test_they_go_on_when_a_worker_process_is_replaced(sender):
    job, calls = sender
    before = calls()
    os.kill(worker_of(job.process.pid), signal.SIGKILL)
    sent = job.count("tx_packets")
    until(lambda: job.count("tx_packets") > sent)
    result = job.end()
    assert result["restarts"] == 1
    assert result["ports"][0]["statistics"]["tx_ring_empty_descs"] > before


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
@pytest.mark.parametrize("words", [(), ("--cold",)], ids=["warm", "cold"])
def test_they_go_on_over_an_upgrade(namespace, sender, words):
    job, calls = sender
    before = calls()
    done = namespace.uspnet("upgrade", job.process.pid, *words, "--json")
    assert answer(done.stdout)["kind"] == ("cold" if words else "warm")
    until(lambda: calls() > (0 if words else before))
    result = job.end()
    lives = [*result["before"], result]
    assert len(lives) == 1 + len(words)
    assert sum(each["ports"][0]["statistics"]["tx_ring_empty_descs"] for each in lives) > before
