# SPDX-License-Identifier: Apache-2.0
"""Mistakes of a program that uses jobs: each is refused, with its remedy, before anything runs."""

from __future__ import annotations

import math
import os

import pytest

from tests.support.fake_port import FakePort
from tests.support.identity import ran
from tests.support.processes import descriptors
from tests.support.waiting import until
from uspnet.errors import Usage
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.checks import claim
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.fields.program import Index, Program, Step
from uspnet.packets.frames import Template, udp_template
from uspnet.ports.registry import make_port

MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
TRAFFIC = Traffic([udp_template(60, *MACS, *IPS, 1024, 9)])


def unused(_at, _data):
    """No packet is made anew."""
    raise AssertionError


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"burst": 65}, "burst=65"),  # C arrays have 64 places
        ({"burst": 0}, "burst=0"),
        ({"burst": -1}, "burst=-1"),
        ({"count": 0}, "count=0"),
        ({"count": -5}, "count=-5"),
        ({"count": 2**63}, "count="),
        ({"duration": 0}, "duration=0"),
        ({"duration": math.nan}, "duration=nan"),
        ({"duration": math.inf}, "duration=inf"),
        ({"duration": 1e10}, "duration=1"),
        ({"poll": "often"}, "poll='often'"),
        ({"linger": -1}, "linger=-1"),
    ],
)
def test_a_limit_out_of_range_is_refused(limits, said):
    with pytest.raises(Usage, match=said) as error:
        Limits(**limits)
    assert error.value.hint


@pytest.mark.parametrize("burst", [1, 64])
def test_the_least_and_the_largest_burst_run(burst):
    with CaptureJob(FakePort(packets=200), Limits(burst=burst), None) as job:
        assert ran(job.run()).received == 200


def test_how_to_forward_and_what_to_send_are_checked():
    with pytest.raises(Usage, match="on_full='stop'"):
        Forwarding(on_full="stop")
    for frames in ([], [b""]):
        with pytest.raises(Usage, match="at least one frame"):
            Traffic([Template(frame, 0, unused) for frame in frames])
    with pytest.raises(Usage, match="rate=-1"):
        Traffic([Template(bytes(60), 0, unused)], rate=-1)
    program = Program([(Index(9), [Step(8 * 60, 8)])])
    with pytest.raises(Usage, match="bytes up to 61 of frames of 60"):
        Traffic([Template(bytes(size), 0, unused) for size in (61, 60)], fields=[program])


def test_a_port_belongs_to_one_job_and_one_place():
    port, other = FakePort(packets=10), FakePort(packets=10)
    with ForwardJob([port, other], Limits(), Forwarding()) as job:
        with pytest.raises(Usage, match="a job has fake"), CaptureJob(other, Limits(), None):
            pass
        assert ran(job.run()).received == 20
    with pytest.raises(Usage, match="a port is used once"), CaptureJob(port, Limits(), None):
        pass
    twice = FakePort()
    with (
        pytest.raises(Usage, match="a port is used once"),
        ForwardJob([twice, twice], Limits(), Forwarding()),
    ):
        pass
    assert not twice.log  # it was not opened


def test_ports_that_are_written_the_same_have_names_of_their_own_for_what_they_hold():
    ports = [make_port(spec) for spec in ("null:", "packet:a", "null:")]
    claim(ports)
    assert [each.kept_as for each in ports] == ["null:", "packet:a", "null: 2"]


def test_a_job_is_opened_then_started_and_runs_once():
    job = CaptureJob(FakePort(packets=10), Limits(), None)
    with pytest.raises(Usage, match="not open"):
        job.run()
    with job:
        with pytest.raises(Usage, match="not started"):
            job.wait()
        assert ran(job.run()).received == 10
        with pytest.raises(Usage, match="runs once"):
            job.start()
    with pytest.raises(Usage, match="runs once"):
        job.run()
    assert job.result().received == 10


def test_a_job_that_was_closed_unstarted_stays_closed():
    job = CaptureJob(FakePort(packets=10), Limits(), None)
    with job:
        pass
    with pytest.raises(Usage, match="not open"):
        job.start()


def test_a_stop_after_the_end_touches_no_descriptor_of_others(tmp_path):
    with CaptureJob(FakePort(packets=10), Limits(), None) as job:
        job.run()
    files = [(tmp_path / str(number)).open("wb") for number in range(12)]  # of the same numbers
    job.stop()
    for file in files:
        file.close()
        assert not (tmp_path / file.name).read_bytes()


def test_a_stop_while_a_port_closes_disturbs_it_not():
    class Slow(FakePort):
        def close(self):
            job.stop("signal")
            super().close()

    port = Slow(packets=10)
    with CaptureJob(port, Limits(), None) as job:
        job.run()
    assert port.log[-1] == "close"


def test_a_forked_childs_copy_of_a_job_does_nothing():
    with CaptureJob(FakePort(), Limits(), None) as job:
        job.start()
        pid = os.fork()
        if not pid:
            job.stop()
            job.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert not job.wait(0)  # it goes on here
        job.stop()
        job.wait()
    assert ran(job.result()).ended == "stopped"


def test_a_job_that_is_left_early_has_counted_all():
    port = FakePort()
    with CaptureJob(port, Limits(burst=32), None) as job:
        job.start()
        until(lambda: job.result().received > 100)
    assert job.result().received == 32 * port.bursts
    with pytest.raises(Usage, match="closed"):
        job.total("rx", "packets")


def test_refused_jobs_leave_no_descriptor():
    port = FakePort(packets=10)
    before = descriptors()
    with CaptureJob(port, Limits(), None) as job:
        job.run()
    for _ in range(5):
        with pytest.raises(Usage), CaptureJob(port, Limits(), None):
            pass
    assert descriptors() == before


def test_wait_may_be_asked_without_waiting():
    with GenerateJob(FakePort(), Limits(), TRAFFIC, FakePort(packets=0)) as job:
        job.start()
        job.stop()
        until(lambda: job.wait(0))
    assert ran(job.result()).ended == "stopped"


def test_a_stop_that_comes_as_the_job_closes_comes_too_late(monkeypatch):
    with CaptureJob(FakePort(packets=200), Limits(count=9), None) as job:
        job.run()
    monkeypatch.setattr(job, "is_open", lambda: True)  # as it was when the other thread looked
    job.stop()
    job.stop()
