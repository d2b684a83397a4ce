# SPDX-License-Identifier: Apache-2.0
"""Worker processes killed under load, port by port: packets move again, nothing is lost without a
name, and descriptors stay as many.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.jobs.test_crew import forward, limits, replaced
from tests.jobs.test_recovery import (  # noqa: F401 - a fixture
    MEMIF,
    Beside,
    arrived,
    memif,
    traffic,
)
from tests.support.identity import ran
from tests.support.processes import children_of, descriptors
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
from uspnet.telemetry import look

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
KILLS = by_tier(10, 20, 300)


def killed(job, beside=None, kills=KILLS):
    """Runs a job of which the process is killed so often; returns its result, and the peer's."""
    with ExitStack() as stack:
        stack.enter_context(job)
        peer = stack.enter_context(Beside(beside)) if beside else None
        job.start()
        moved = lambda: job.total("tx", "packets") + job.total("rx", "packets")  # noqa: E731
        until(lambda: not job.wait(0.001) and moved())
        replaced(job, 2)
        fds = descriptors()
        replaced(job, kills - 2)
        until(lambda: descriptors() <= fds)  # others may be on their way out
        theirs = peer.stop() if peer and job.command == "capture" else None
        until(lambda: job.wait(0.2) or not theirs or arrived(job) >= theirs.sent)
        job.stop(hurry=True)
        job.wait()
        result = ran(job.result())
        assert result.restarts == kills
        return result, theirs or (peer and peer.stop())


@pytest.mark.parametrize(("ours", "theirs", "zero"), MEMIF)
def test_memif_receives(memif, ours, theirs, zero):  # noqa: F811
    port, peers = memif(ours, theirs, zero)
    job = CaptureJob(port, limits(restart=KILLS), None)
    result, peer = killed(job, GenerateJob(peers, Limits(), traffic(sequence=True)))
    lost = result.drops.get("worker_lost", 0)
    assert peer.sent <= result.received <= peer.sent + lost + 64 * KILLS
    assert result.drops.keys() <= {"worker_lost"}


@pytest.mark.parametrize(("ours", "theirs", "zero"), MEMIF)
def test_memif_sends(memif, ours, theirs, zero):  # noqa: F811
    port, peers = memif(ours, theirs, zero)
    job = ForwardJob([make_port("null:"), port], limits(restart=KILLS), Forwarding())
    result, peer = killed(job, CaptureJob(peers, Limits(), None))
    sent = result.forwarded - result.ports[0].tx_packets
    left = result.drops.get("peer_left", 0)  # the peer may have taken them later, when we had gone
    assert sent <= peer.received + left
    assert peer.received <= sent + left + result.drops.get("worker_lost", 0)


def test_a_file_to_a_file(tmp_path):
    source, copy = tmp_path / "in.pcapng", tmp_path / "out.pcapng"
    sink = make_sink(str(source), "pcapng", 262144, 64)
    with CaptureJob(make_port("null:"), Limits(count=100_000), sink) as job:
        job.run()
    result, _ = killed(forward(f"pcap:{source},loop=on", f"pcap:out={copy}", restart=KILLS))
    with CaptureJob(make_port(f"pcap:{copy}"), Limits(), None) as job:
        again = ran(job.run())
    assert result.forwarded <= again.received
    assert again.received <= result.forwarded + result.drops.get("worker_lost", 0)


def test_a_nic_is_started_again(qemu):
    kills = by_tier(6, 8, 100)
    job = forward("null:", "qemu:e1000e,loop=on", restart=kills)
    result, _ = killed(job, kills=kills)
    assert result.drops["worker_lost"] > 0
    assert set(result.drops) <= {"worker_lost", "no_room", "peer_left", "down"}


def worker_of(pid):
    """The process id of a command's worker process; 0: there is none just now."""
    for child in children_of(pid):
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "uspnet-worker\n":
                return child
    return 0


def kill_workers(running, kills):
    """Kills a command's worker process again and again while it receives."""

    def received():
        jobs = look(running.process.pid).jobs
        return sum(port.rx_packets or 0 for job in jobs for port in job.ports)

    victim = 0
    for _ in range(kills):
        victim = until(lambda old=victim: (pid := worker_of(running.process.pid)) != old and pid)
        before = received()
        until(lambda before=before: received() > before)
        os.kill(victim, signal.SIGKILL)
    before = received()
    until(lambda: received() > before)


def coming(running):
    """The packets that have come to a command so far, and those that it could not take."""
    return sum(port["rx_packets"] + (port["rx_missed_errors"] or 0) for port in running.ports())


@pytest.mark.parametrize("way", ["packet", "xdp", "tap"])
def test_kernel_interfaces(namespace, way):
    kills = by_tier(6, 15, 100)
    if way != "tap":
        namespace.veth("a0", "b0")
        job = namespace.start("capture", f"{way}:b0", "--restart", kills)
        sender = "packet:a0"
    else:
        job = namespace.start("capture", "tap:t0", "--restart", kills)
        sender = "packet:t0"
    source = namespace.start("pktgen", sender, "--rate", "200kpps")
    kill_workers(job, kills)
    sent = source.end()
    if way != "tap":  # of a TAP device nobody knows what it had no room for
        until(lambda: coming(job) >= sent["sent"] - 64)
    result = job.end()
    assert result["restarts"] == kills
    rx = result["ports"][0]
    arrived = result["received"] + (rx["rx_missed_errors"] or 0)
    assert arrived <= sent["sent"] + 64 * kills
    if way != "tap":
        assert sent["sent"] <= arrived + 64
    assert set(result["drops"]) <= {"worker_lost"}
