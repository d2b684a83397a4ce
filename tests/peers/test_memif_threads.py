# SPDX-License-Identifier: Apache-2.0
"""Several jobs of one process on one address, each in a thread of its own."""

from __future__ import annotations

import threading

from tests.support.identity import ran
from tests.support.waiting import scaled
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.memif.listener import LISTENERS
from uspnet.ports.memif.port import Memif


def test_two_jobs_in_two_threads_share_an_address(uspnet, tmp_path):
    results, count = {}, 20_000

    def serve(number):
        port = Memif.make(tmp_path / "m", role="server", id=number)
        with CaptureJob(port, Limits(count=count), None) as job:
            results[number] = ran(job.run()).received

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    clients = [
        uspnet("pktgen", f"memif:{tmp_path}/m,id={number},wait=20", "--count", count)
        for number in range(3)
    ]
    for thread in threads:
        thread.join(timeout=scaled(60))
    assert results == {0: count, 1: count, 2: count}
    assert [client.result()["sent"] for client in clients] == [count] * 3
    assert not LISTENERS
