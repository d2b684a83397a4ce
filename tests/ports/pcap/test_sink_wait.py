# SPDX-License-Identifier: Apache-2.0
"""The end of a capture: how long it waits for a reader that takes nothing, and what it says of a
process that could not write.
"""

from __future__ import annotations

import os

import pytest

from tests.support.waiting import until
from uspnet.errors import DeviceFault, UspnetError
from uspnet.fastpath import lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.pcap import sink as module
from uspnet.ports.pcap.format import statistics
from uspnet.ports.pcap.parts import Part
from uspnet.ports.pcap.sink import INTERRUPTED_S, READER_WAIT_S, Sink
from uspnet.ports.pcap.writer import Writer, _Child
from uspnet.ports.registry import make_port
from uspnet.spec import parse


class Stuck:
    """A writer whose reader takes nothing, on a clock that only waiting moves on."""

    def __init__(self):
        self.now, self.taken, self.killed = 0.0, 0, False

    def monotonic(self):
        return self.now

    def gone(self, seconds):
        self.now += seconds
        return self.killed

    def progress(self):
        return self.taken

    def nudge(self):
        pass

    def kill(self):
        self.killed = True


class Slow(Stuck):
    """One whose reader takes a page at a time, which the end of a call tells."""

    def gone(self, seconds):
        return super().gone(seconds) or self.now > 10 * READER_WAIT_S

    def nudge(self):
        self.taken += 4096


@pytest.mark.parametrize(
    ("interrupted", "seconds"), [(True, INTERRUPTED_S), (False, READER_WAIT_S)]
)
def test_a_reader_that_takes_nothing_is_given_up(monkeypatch, interrupted, seconds):
    writer = Stuck()
    wait(monkeypatch, writer, interrupted)
    assert writer.killed
    assert writer.now == pytest.approx(seconds, abs=0.5)
    slow = Slow()
    wait(monkeypatch, slow, interrupted)
    assert not slow.killed


def wait(monkeypatch, writer, interrupted):
    """Wait for it as at the end of a capture."""
    sink = Sink(parse("pcap:out=fifo"))
    sink.regular, sink.is_interrupted = False, lambda: interrupted
    monkeypatch.setattr(module, "time", writer)
    told = []
    sink.on_wait = told.append  # feeds the watchdog of a service manager
    sink._wait(writer)
    assert told == sorted(told)
    assert writer.now - told[-1] < 0.5


def test_what_a_reader_takes_of_a_piece_is_progress():
    reader, out = os.pipe()
    writer = Writer(out, 1, 1 << 20, lib.PCAP_NG, Part())
    os.close(out)
    block = statistics(0, 0, 0, {}, "")
    piece = block * (200_000 // len(block))  # more than a pipe holds
    writer.note(piece)
    writer.wake()

    def progress():
        writer.nudge()
        return writer.progress()

    until(progress)
    assert not writer.is_empty()
    got = b""
    for _ in range(3):
        before = progress()
        got += os.read(reader, 4096)
        until(lambda: progress() > before)  # noqa: B023 - called at once
    assert before < len(piece)
    writer.let_go()
    while more := os.read(reader, 65536):
        got += more
    assert writer.gone(None)
    assert (got, writer.status(), writer.progress() >= len(piece)) == (piece, 0, True)
    writer.close()
    os.close(reader)


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
        assert port.on_wait is job.on_wait
        with pytest.raises(error, match=text):
            job.wait()
