# SPDX-License-Identifier: Apache-2.0
"""Files that are read are known by all jobs of the process, in any thread."""

from __future__ import annotations

import os
import threading

import pytest

from tests.support.waiting import scaled
from uspnet.errors import Refused
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.null import Null
from uspnet.ports.pcap.readers import Claims
from uspnet.ports.pcap.sink import Sink
from uspnet.ports.pcap.source import Source


def test_a_file_with_two_readers_stays_protected_until_both_have_left(tmp_path):
    path = tmp_path / "x.pcap"
    with CaptureJob(Null.make(), Limits(count=3), Sink.make(out=path)) as job:
        job.run()
    first, second = Source.make(path), Source.make(path)
    first.open()
    second.open()
    first.close()
    with (
        CaptureJob(Null.make(), Limits(count=1), Sink.make(out=path)) as job,
        pytest.raises(Refused, match="is being read"),
    ):
        job.run()
    second.close()
    with CaptureJob(Null.make(), Limits(count=1), Sink.make(out=path)) as job:
        assert job.run().written == 1


def test_no_two_ports_write_one_file(tmp_path):
    first, second = (Sink.make(out=tmp_path / name) for name in ("x.pcap", "./x.pcap"))
    first.open()
    with pytest.raises(Refused, match="is written by another port"):
        second.open()
    for sink in (first, second):
        sink.close()
    with CaptureJob(Null.make(), Limits(count=1), second) as job:
        assert job.run().written == 1


def test_one_of_many_threads_gets_what_only_one_may_read(tmp_path):
    readers, got, status = Claims(), [], os.stat(tmp_path)
    barrier = threading.Barrier(16)

    def claim():
        barrier.wait(timeout=scaled(10))
        got.append(readers.claim(status, alone=True))

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=scaled(10))
    assert sorted(got) == [False] * 15 + [True]
    assert status in readers
    readers.release(status)
    assert status not in readers
