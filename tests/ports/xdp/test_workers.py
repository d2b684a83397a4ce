# SPDX-License-Identifier: Apache-2.0
"""xdp: several workers, each with queues of its own, and what privileges they need."""

from __future__ import annotations

import resource

from tests.support.processes import as_nobody
from tests.support.scribble import traffic
from tests.support.waiting import until
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.doctor_xdp import memory_row
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
from uspnet.ports.xdp.program import NEEDS
from uspnet.system.privileges import NUMBERS

COUNT = 20_000
TWO = Limits(count=COUNT, cores=[0, 0])


def counted(job):
    """What the queues of each worker have counted, also as missed, by their numbers."""
    found = []
    for worker in job.workers:
        queues = [each for lane in worker.lanes for each in (lane.rx, *lane.exits) if each]
        pairs = [(each.index, each.counters.packets + each.counters.missed) for each in queues]
        found.append(dict(pairs))
    return found


def test_two_workers_have_a_queue_each(namespace):
    """What is sent into a queue of a veth arrives on that of the same number."""
    two = ("numtxqueues", 2, "numrxqueues", 2)
    namespace.ip("link", "add", "name", "a", *two, "type", "veth", "peer", "name", "b", *two)
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "up")
    near, far = make_port("xdp:a"), make_port("xdp:b")
    with namespace.entered(), CaptureJob(far, Limits(cores=[0, 0]), None) as capture:
        capture.start()
        with GenerateJob(near, TWO, traffic()) as pktgen:
            assert pktgen.run().sent == COUNT
            sent = counted(pktgen)
        until(lambda: sum(sum(each.values()) for each in counted(capture)) == COUNT)
        received = counted(capture)
        capture.stop()
        capture.wait()
    assert [list(each) for each in sent] == [[0], [1]]
    assert received == sent
    assert all(each for worker in sent for each in worker.values())


def exchange():
    """Sends from a to b. Returns what was sent and what arrived."""
    with GenerateJob(make_port("xdp:a"), Limits(count=100), traffic(), make_port("xdp:b")) as job:
        result = job.run()
    return result.sent, result.received


def test_three_capabilities_and_memory_to_lock_are_all_it_needs(namespace):
    """As another user than root."""
    namespace.veth("a", "b")
    bits = {name: 1 << NUMBERS[name] for name in (*NEEDS, "CAP_IPC_LOCK")}
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 16, before[1]))
    try:
        with namespace.entered():
            assert exchange() == (100, 100)  # what it imports is closed to others, it may be
            assert as_nobody(exchange, keep=sum(bits.values())) == "(100, 100)"
            missed = {"CAP_IPC_LOCK": "NoMemory", **dict.fromkeys(NEEDS, "NotPermitted")}
            for name, error in missed.items():
                assert as_nobody(exchange, keep=sum(bits.values()) - bits[name]) == error
        assert memory_row()[1] == "ok"
        assert "at most 64 KiB" in as_nobody(memory_row)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)
