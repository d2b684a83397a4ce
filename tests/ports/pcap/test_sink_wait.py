# SPDX-License-Identifier: Apache-2.0
"""How long the end of a capture waits for a reader that takes nothing."""

from __future__ import annotations

import os

import pytest

from uspnet.ports.pcap import sink as module
from uspnet.ports.pcap.sink import INTERRUPTED_S, READER_WAIT_S, Sink
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
