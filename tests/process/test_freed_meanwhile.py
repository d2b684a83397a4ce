# SPDX-License-Identifier: Apache-2.0
"""Structs that one thread frees while another one gives a worker process its memory."""

from __future__ import annotations

import threading

import pytest

from tests.support.identity import ran
from tests.support.tiers import by_tier
from uspnet.fastpath import lib
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.memory import new
from uspnet.ports.registry import make_port

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
LARGE = 1 << 19  # bytes: a mapping of its own


def test_large_ones_come_and_go():
    over = threading.Event()

    def churn():
        while not over.is_set():
            kept = [new("uint8_t[]", LARGE) for _ in range(16)]
            del kept

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        for _ in range(by_tier(10, 40)):
            ports = [make_port("null:"), make_port("null:")]
            with ForwardJob(ports, Limits(count=1000, process=True), Forwarding()) as job:
                assert ran(job.run()).forwarded == 1000
    finally:
        over.set()
        for each in threads:
            each.join()
