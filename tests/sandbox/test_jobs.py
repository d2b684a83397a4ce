# SPDX-License-Identifier: Apache-2.0
"""Jobs in the sandbox: what the kernel says of their worker processes, and what options do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.captures import write_pcap
from tests.support.identity import answer, ran
from tests.support.sealed import status
from tests.support.waiting import scaled, until
from uspnet.errors import DeviceFault, NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs import confining, crew
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.null import Null
from uspnet.ports.registry import make_port
from uspnet.sandbox.available import available
from uspnet.sandbox.calls import BASE

COMPLETE = not available().missing
pytestmark = pytest.mark.skipif(bool(lib.built_with_asan()), reason="ASan: no worker process")
complete = pytest.mark.skipif(not COMPLETE, reason="needs seccomp, Landlock")


def forward(*ports, sandbox="auto", **limits):
    made = [make_port(str(port)) for port in ports or ("null:", "null:")]
    limits = Limits(process=True, sandbox=sandbox, **limits)
    return ForwardJob(made, limits, Forwarding())


@complete
@pytest.mark.parametrize("poll", ["busy", "sleep"])
@pytest.mark.parametrize("kind", ["null", "pcap", "paced", "memif"])
def test_the_worker_process_is_confined_and_works(tmp_path, kind, poll):
    source = tmp_path / "in.pcap"
    write_pcap(source, [bytes(60)] * 100)
    ports = {
        "null": ("null:", "null:"),
        "pcap": (f"pcap:{source},loop=on", f"pcap:out={tmp_path}/out.pcap"),
        "paced": (f"pcap:{source},loop=on,timing=on", "null:"),
        "memif": (f"memif:{tmp_path}/m.sock,role=server", f"memif:{tmp_path}/m.sock"),
    }[kind]
    with forward(*ports, sandbox="require", poll=poll) as job:
        job.start()
        seen = status(job.crew.process.pid)
        until(lambda: job.wait(0.1) or job.received() or kind == "memif")
        job.stop()
        job.wait()
        result = ran(job.result())
    assert (seen["Seccomp"], seen["NoNewPrivs"]) == (["2"], ["1"])
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {int(seen[name][0], 16) for name in sets if os.geteuid() == 0 or name == "CapEff"} == {0}
    assert result.sandbox.seccomp <= 15
    assert result.sandbox.missing == []
    assert (result.sandbox.user is None) == (os.geteuid() != 0)
    assert result.received > 0 or kind == "memif"


@pytest.mark.skipif(available().seccomp is None, reason="needs seccomp")
def test_a_call_that_a_port_does_not_list_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(confining, "BASE", BASE - {"poll", "clock_nanosleep"})
    with forward(f"memif:@uspnet-{os.getpid()},role=server", f"memif:@uspnet-{os.getpid()}") as job:
        job.limits.poll, job.limits.duration, job.limits.restart = "sleep", 20, 0
        with pytest.raises(
            DeviceFault, match="which the sandbox does not allow to memif:"
        ) as raised:
            job.run()
    assert "--no-sandbox" in raised.value.hint


def test_a_port_that_names_no_call_is_refused(monkeypatch):
    monkeypatch.setattr(Null, "calls", frozenset({"frobnicate"}))
    with forward() as job, pytest.raises(NotSupported, match="frobnicate"):
        job.run()


def lacking(monkeypatch):
    """A machine without Landlock, as far as anybody can see."""
    observe = crew.WorkerProcess.load

    def load(self):
        observe(self)
        self.enforced.missing.append("Landlock")

    monkeypatch.setattr(crew.WorkerProcess, "load", load)


def test_auto_goes_on_and_says_what_is_missing(monkeypatch):
    lacking(monkeypatch)
    told = []
    with forward(count=100) as job:
        job.on_notice = told.append
        assert "Landlock" in ran(job.run()).sandbox.missing
    assert [text for text in told if "Landlock" in text and "uspnet doctor" in text]


@pytest.mark.parametrize("late", [False, True])
def test_require_refuses_what_is_not_complete(monkeypatch, late):
    lacking(monkeypatch)
    found = available()
    found.missing[:] = [] if late else ["Landlock"]
    monkeypatch.setattr(crew, "available", lambda: found)
    with (
        pytest.raises(NotSupported, match="Landlock") as raised,
        forward(sandbox="require", count=100) as job,
    ):
        job.run()
    assert "--sandbox=auto" in raised.value.hint


def test_require_needs_a_worker_process():
    job = ForwardJob(
        [make_port("null:"), make_port("null:")], Limits(sandbox="require"), Forwarding()
    )
    with pytest.raises(Usage, match="in this process"), job:
        pass


def test_a_wrong_value_is_refused():
    with pytest.raises(Usage, match="sandbox='maybe'"):
        Limits(sandbox="maybe")


@pytest.fixture
def uspnet():
    def run(*words):
        command = [sys.executable, "-m", "uspnet", *words, "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=scaled(60)
        )
        return done.returncode, answer(done.stdout)

    return run


@pytest.mark.parametrize(
    ("words", "confined", "process"),
    [
        ([], True, True),
        (["--sandbox", "auto"], True, True),
        (["--no-sandbox"], False, True),
        (["--sandbox=off"], False, True),
        (["--in-process"], False, False),
    ],
)
def test_options_of_the_command_line(uspnet, words, confined, process):
    code, result = uspnet("pktgen", "null:", "--count", "1000", *words)
    sandbox = result["sandbox"]
    assert (code, bool(sandbox)) == (0, process)
    if process and COMPLETE:
        assert sandbox["seccomp"] == (len(BASE) if confined else None)
        assert (sandbox["landlock"] or 0) * confined >= confined
        assert sandbox["missing"] == ([] if confined else ["Landlock", "seccomp"])


@pytest.mark.parametrize("other", ["--no-sandbox", "--in-process"])
def test_options_that_exclude_each_other(uspnet, other):
    code, result = uspnet("fwd", "null:", "null:", "--count", "1", "--sandbox=require", other)
    assert (code, result["error"]) == (2, "Usage")
    assert other in result["message"] + result["hint"]


@complete
def test_stats_show_what_is_enforced(uspnet):
    with forward(duration=30) as job:
        job.start()
        (row,) = (r for r in uspnet("stats", "--once")[1]["jobs"] if r["pid"] == os.getpid())
        shown = subprocess.run(
            [sys.executable, "-m", "uspnet", "stats", "--once", str(os.getpid())],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        job.stop()
        job.wait()
    enforced = job.result().as_json()["sandbox"]
    assert row["sandbox"] == {**enforced, "missing": list(enforced["missing"])}
    assert f"{len(BASE)} system calls" in shown
