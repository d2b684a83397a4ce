# SPDX-License-Identifier: Apache-2.0
"""Jobs whose NIC is reset while packets pass: they go on, and every packet is accounted for. The
loops run in threads, and in a process of their own.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from tests.support.captures import tshark_layers
from tests.support.identity import check, ran
from tests.support.tiers import by_tier, full
from uspnet.errors import DeviceFault
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.ports.qemu import models
from uspnet.ports.registry import make_port

pytestmark = pytest.mark.usefixtures("qemu")
MODELS = sorted({model.ring: kind for kind, model in models().items()}.values())  # one a ring
MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
RESETS = by_tier(4, 5, 200)


@pytest.fixture(params=[False, True], ids=["threads", "process"])
def limits(request):
    """`limits(**more)`: those of a job."""
    return lambda **more: Limits(process=request.param, **more)


def interrupted(job, port, times, meanwhile=lambda: None):
    """Run the job, have the machine reset the port's device so often, then stop the job."""
    done = 0

    def tick():
        nonlocal done
        if port.outage.fault or not port.up():
            return
        meanwhile()
        if done == times:
            job.stop()
        elif int(port.made[0].base.counters.interruptions) == done:
            port.machine.monitor_command("system_reset")
            done += 1

    told = []
    job.on_tick, job.on_notice = tick, told.append
    result = ran(job.run())
    (row,) = (row for row in result.ports if row.port == port.name)
    assert row.interruptions == times
    assert row.interrupted_s > 0
    assert sum("the device was reset; back after" in text for text in told) == times
    return result


@pytest.mark.parametrize("model", [*MODELS[:1], *full(*MODELS[1:])])
def test_fwd_goes_on_after_resets(model, limits):
    port = make_port(f"qemu:{model},loop=on")
    with ForwardJob([make_port("null:"), port], limits(), Forwarding()) as job:
        result = interrupted(job, port, RESETS)
    assert result.forwarded > 0


@pytest.mark.parametrize("model", MODELS)
def test_pktgen_goes_on_after_resets(model, limits):
    port = make_port(f"qemu:{model},loop=on")
    traffic = Traffic([udp_template(60, *MACS, *IPS, 1024, 9)], 20_000.0)
    with GenerateJob(port, limits(), traffic, port) as job:
        result = interrupted(job, port, RESETS)
    assert result.received > 0


def test_a_capture_says_how_long_it_was_interrupted(limits, far, tmp_path, make_frames):
    path, batch = tmp_path / "x.pcapng", make_frames(30)
    port = make_port(f"qemu:e1000e,wire={tmp_path}/wire")
    with CaptureJob(port, limits(), make_sink(str(path), "pcapng", 65535, 4)) as job:
        result = interrupted(job, port, 2, lambda: [far.give(frame) for frame in batch])
        seconds = result.ports[0].interrupted_s
    text = f"capture interrupted by the device: 2 times, {seconds:.3f} s in all"
    assert text.encode() in path.read_bytes()
    if shutil.which("tshark"):
        assert len(tshark_layers(path)) == result.written > 0


def test_a_nic_that_never_returns_ends_the_job_with_its_counters(limits):
    port = make_port("qemu:e1000e,loop=on,outage=0.3")
    with ForwardJob([make_port("null:"), port], limits(), Forwarding()) as job:

        def tick():
            port.snapshot = replace(port.snapshot, ids=(1, 2))  # another has taken its place
            port.quiet()

        job.on_tick = tick
        with pytest.raises(
            DeviceFault, match=r"the device was reset; it did not come back"
        ) as caught:
            job.run()
    row = check(json.loads(json.dumps({"uspnet": "1", **caught.value.partial})))["ports"][1]
    assert row["interruptions"] == 1
    assert row["interrupted_s"] >= 0.3
