# SPDX-License-Identifier: Apache-2.0
"""The end of a capture: how long it waits for a reader that takes nothing, and what it says of a
process that could not write.
"""

from __future__ import annotations

import os

import pytest

from uspnet.errors import DeviceFault, UspnetError
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.pcap import sink as module
from uspnet.ports.pcap.sink import INTERRUPTED_S, READER_WAIT_S, Sink
from uspnet.ports.pcap.writer import _Child
from uspnet.ports.registry import make_port
from uspnet.spec import parse


class Stuck:
    """A writer whose reader takes nothing, on a clock that only waiting moves on."""

    def __init__(self):
        self.now, self.killed = 0.0, False

    def monotonic(self):
        return self.now

    def gone(self, seconds):
        self.now += seconds
        return self.killed

    def progress(self):
        return 0

    def kill(self):
        self.killed = True


@pytest.mark.parametrize(
    ("interrupted", "seconds"), [(True, INTERRUPTED_S), (False, READER_WAIT_S)]
)
def test_a_reader_that_takes_nothing_is_given_up(monkeypatch, tmp_path, interrupted, seconds):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    sink, writer = Sink(parse(f"pcap:out={fifo}")), Stuck()
    sink.regular, sink.is_interrupted = False, lambda: interrupted
    monkeypatch.setattr(module, "time", writer)
    sink._wait(writer)
    assert writer.killed
    assert writer.now == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [(ValueError, DeviceFault, "writes it failed"), (MemoryError, UspnetError, "Cannot allocate")],
)
def test_a_process_that_fails_was_not_killed(monkeypatch, tmp_path, fault, error, text):
    def run(_):
        raise fault

    monkeypatch.setattr(_Child, "run", run)
    port = make_port(f"pcap:out={tmp_path / 'x'}")
    with CaptureJob(make_port("null:"), Limits(), port) as job:
        job.start()
        with pytest.raises(error, match=text):
            job.wait()
