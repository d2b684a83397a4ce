# SPDX-License-Identifier: Apache-2.0
"""Worker processes that end too early, or hang, are replaced."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.identity import ran
from tests.support.processes import Running, descriptors
from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until
from uspnet.errors import DeviceFault
from uspnet.fastpath import ffi, lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.ports.registry import make_port
from uspnet.process import worker

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
KILLS, FEWER = by_tier(50, 1000), by_tier(20, 30, 200)


def limits(**given):
    return Limits(process=True, **given)


def forward(*specs, **given):
    ports = [make_port(spec) for spec in specs or ("null:", "null:")]
    return ForwardJob(ports, limits(**given), Forwarding())


def generate(spec, rate=0.0, **given):
    traffic = Traffic([udp_template(60, *MACS, *IPS, 1024, 9)], rate)
    return GenerateJob(make_port(spec), limits(**given), traffic)


def replaced(job, times, number=signal.SIGKILL):
    """Signals the worker process so often; each time packets move again."""
    for done in range(job.crew.restarts, job.crew.restarts + times):
        time.sleep(random.uniform(0, 0.01))
        os.kill(job.crew.process.pid, number)
        until(lambda done=done: not job.wait(0.001) and job.crew.restarts > done, scaled(10))
        before = job.total("tx", "packets") + job.total("rx", "packets")
        until(
            lambda before=before: (
                not job.wait(0.001)
                and job.total("tx", "packets") + job.total("rx", "packets") > before
            ),
            scaled(10),
        )


@pytest.mark.parametrize(
    ("make", "kills"),
    [
        (lambda kills: forward(restart=kills), KILLS),
        (lambda kills: generate("null:", restart=kills), FEWER),
        (lambda kills: CaptureJob(make_port("null:"), limits(restart=kills), None), FEWER),
    ],
    ids=["fwd", "pktgen", "capture"],
)
def test_killed_again_and_again(make, kills):
    with make(kills) as job:
        said = []
        job.on_notice = said.append
        job.start()
        fds = descriptors()
        replaced(job, kills)
        until(lambda: descriptors() <= fds)
        job.stop()
        assert job.wait()
        result = ran(job.result())
    assert result.restarts == kills
    assert (
        len([line for line in said if "SIGKILL" in line and "a new one goes on" in line]) == kills
    )


def test_memif_peers_notice_nothing():
    name = f"@uspnet-crew-{os.getpid()}"
    with CaptureJob(make_port(f"memif:{name},role=server"), limits(restart=20), None) as job:
        job.start()
        source = Running([sys.executable, "-m", "uspnet", "pktgen", f"memif:{name}", "--json"])
        until(lambda: not job.wait(0.001) and job.total("rx", "packets"))
        replaced(job, 20)
        source.process.send_signal(signal.SIGINT)
        until(lambda: not job.wait(0.001) and source.process.poll() is not None)
        sent = source.end()
        job.stop()
        job.wait()
        result = ran(job.result())
    assert (result.restarts, sent["restarts"]) == (20, 0)
    assert result.received <= sent["sent"] <= result.received + 20 * 64


def test_the_limit_ends_the_job_with_what_it_counted():
    with forward(restart=1) as job:
        job.start()
        replaced(job, 1)
        os.kill(job.crew.process.pid, signal.SIGKILL)
        with pytest.raises(DeviceFault, match="SIGKILL") as raised:
            job.wait()
    assert "--restart" in raised.value.hint
    assert raised.value.partial["received"] > 0


def test_a_count_is_met_across_deaths():
    with forward(count=50_000_000, restart=100) as job:
        job.start()
        for _ in range(5):
            time.sleep(0.002)
            if not job.wait(0):
                os.kill(job.crew.process.pid, signal.SIGKILL)
                job.wait(0.01)
        job.wait()
        result = ran(job.result())
    assert result.ended == "count"
    assert result.received >= 50_000_000


def test_one_that_was_stopped_counts_as_hanging():
    with forward(restart=1) as job:
        said = []
        job.on_notice = said.append
        job.start()
        replaced(job, 1, signal.SIGSTOP)
        assert "it hung" in said[-1]
        job.stop()
        job.wait()


def test_a_death_after_the_last_packet_is_none_of_the_jobs():
    with forward(count=1000) as job:
        job.start()
        until(lambda: all(worker.over() for worker in job.workers))
        assert job.crew.process.pidfd in job.crew.fds()
        os.kill(job.crew.process.pid, signal.SIGKILL)
        until(job.crew.process.dead)
        assert job.crew.process.pidfd not in job.crew.fds(), "it stays readable for good"
        assert job.wait()
        assert ran(job.result()).restarts == 0


def test_devices_access_no_memory_from_the_death_on():
    quiet = threading.Event()
    with forward(restart=1) as job:
        job.ports[0].quiet = quiet.set
        job.start()
        os.kill(job.crew.process.pid, signal.SIGKILL)
        assert quiet.wait(scaled(5)), "before anybody waits for the job"
        job.stop()
        job.wait()


def test_a_device_is_never_quiet_after_it_was_restarted():
    log = []
    with forward(restart=20) as job:
        for number, port in enumerate(job.ports):

            def quiet(number=number):
                time.sleep(0.001)  # an access to configuration space
                log.append(("quiet", number))

            port.quiet, port.restart = quiet, lambda number=number: log.append(("restart", number))
        job.start()
        replaced(job, 20)
        job.stop()
        job.wait()
    for number in (0, 1):
        assert [what for what, port in log if port == number] == ["quiet", "restart"] * 20


def test_one_that_ends_while_it_starts_leaves_devices_as_they_are(monkeypatch):
    """No ring is its own yet: a device that is made quiet would look as if it had been reset."""
    ended, quiet = [], []

    def observe(pid, *how):
        if not ended:
            ended.append(pid)
            os.kill(pid, signal.SIGKILL)
            until(job.crew.process.dead)
            job.crew.process.watcher.join()
        return observed(pid, *how)

    observed = worker.observe
    monkeypatch.setattr(worker, "observe", observe)
    with forward(restart=1) as job:
        job.ports[0].quiet = lambda: quiet.append(True)
        job.start()
        assert (job.crew.restarts, quiet) == (1, [])
        until(lambda: not job.wait(0.001) and job.total("tx", "packets"))
        job.stop()
        job.wait()


def test_a_wild_function_pointer_is_set_right():
    with forward(restart=3) as job:
        job.start()
        queue = job.workers[0].queues[0].base
        queue.burst = ffi.cast("uint32_t(*)(struct queue *, struct packet *, uint32_t)", 0xDEADBEEF)
        until(lambda: not job.wait(0.001) and job.crew.restarts == 1, scaled(10))
        before = job.total("tx", "packets")
        until(lambda: not job.wait(0.001) and job.total("tx", "packets") > before, scaled(10))
        job.stop()
        assert job.wait()
        ran(job.result())


def test_memory_that_makes_no_sense_ends_the_job_with_an_error():
    with forward(restart=3) as job:
        job.start()
        halt(job)
        drops = job.workers[0].queues[0].base.counters.drops
        for number in range(len(drops)):
            drops[number] = (1 << 64) - 1
        os.kill(job.crew.process.pid, signal.SIGKILL)
        with pytest.raises(DeviceFault, match="has overwritten what it shares"):
            job.wait()


def halt(job):
    """Stops the worker process, and waits until none of its threads runs."""
    pid = job.crew.process.pid
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    until(lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()))


def test_a_stopped_worker_does_not_keep_a_job_from_ending():
    with forward(restart=0) as job:
        job.start()
        halt(job)
        job.stop("signal")
        with pytest.raises(DeviceFault, match="it hung"):
            job.wait()


def test_threads_that_a_worker_names_are_not_believed():
    with forward(restart=1) as job:
        job.start()
        for hand in job.crew.process.hands:
            hand.id = -1
        halt(job)
        until(lambda: not job.wait(0.001) and job.crew.restarts == 1, scaled(10))
        job.stop()
        assert job.wait()


def test_what_was_due_while_no_loop_ran_stays_unsent():
    with generate("null:", restart=1, rate=10_000.0) as job:
        job.start()
        until(lambda: not job.wait(0.001) and job.total("tx", "packets") > 100)
        os.kill(job.crew.process.pid, signal.SIGSTOP)  # a second passes until it counts as hanging
        until(lambda: not job.wait(0.001) and job.crew.restarts == 1, scaled(10))
        job.stop()
        assert job.wait()
        result = ran(job.result())
    assert result.unsent >= 8_000
    assert result.offered == result.sent + result.unsent
