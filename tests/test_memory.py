# SPDX-License-Identifier: Apache-2.0
"""Shared memory: sealed, zero, guarded; and all that C works with lies in it."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import subprocess
import sys
import threading

import pytest

from tests.support.fake_port import FakePort
from tests.support.processes import descriptors
from tests.support.shared import address_of, mapping_of, unshared
from tests.support.waiting import scaled
from uspnet.errors import NoMemory
from uspnet.fastpath import ffi, lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.memory import ALIGNMENT, LARGE, SharedMemory, new
from uspnet.packets.frames import udp_template
from uspnet.ports.registry import make_port

FRAME = udp_template(
    60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
)
on_the_heap = pytest.mark.skipif(
    lib.built_with_asan(), reason="a build for AddressSanitizer keeps structs on the heap"
)


def test_the_memory_is_zero_and_can_be_neither_shrunk_nor_grown():
    memory = SharedMemory("uspnet-test", 8192)
    try:
        assert bytes(memory.map[:]) == bytes(8192)
        for size in (0, 4096, 16384):
            with pytest.raises(PermissionError):
                os.ftruncate(memory.fd, size)
    finally:
        memory.close()


def test_another_mapping_sees_the_same_bytes():
    memory = SharedMemory("uspnet-test", 4096)
    try:
        memory.map[:5] = b"hello"
        assert os.pread(memory.fd, 5, 0) == b"hello"
    finally:
        memory.close()


def test_too_much_is_an_error_and_leaves_nothing():
    before = descriptors()
    with pytest.raises(NoMemory) as caught:
        SharedMemory("uspnet-test", 1 << 62)
    assert caught.value.hint
    assert descriptors() == before


def replace(memory, size):
    """What a peer does that punches a hole and takes the last huge page: the next access fails."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_long] * 5]
    at, fd = int(ffi.cast("uintptr_t", memory.base)), os.memfd_create("empty")
    shared_fixed = 0x11
    assert libc.mmap(at, size, mmap.PROT_READ | mmap.PROT_WRITE, shared_fixed, fd, 0) == at
    os.close(fd)


@pytest.mark.parametrize("size", [4096, 4097, 20480])
def test_guarded_memory_survives_a_peer_that_takes_pages_away(size):
    memory = SharedMemory("uspnet-test", size)
    try:
        lost = memory.guard()
        assert memory.guard() is lost
        memory.map[:3] = b"abc"
        assert not lost[0]
        replace(memory, size)
        assert memory.map[size - 1] == 0
        assert lost[0] == lib.FAULT_MEMORY
    finally:
        memory.close()


@on_the_heap
def test_structs_are_aligned_zero_and_used_again():
    first = new("struct worker *", {"burst": 7})
    address = address_of(first)
    assert address % ALIGNMENT == 0
    assert mapping_of(first).startswith("/memfd:uspnet-structs")
    del first
    again = new("struct worker *")
    assert address_of(again) == address
    assert again.burst == 0


@on_the_heap
def test_an_empty_array_has_an_address_of_its_own():
    empty = new("uint8_t[]", 0)
    first = new("uint64_t *", 7)
    del empty
    second = new("uint64_t *", 9)
    assert address_of(first) != address_of(second)
    assert (first[0], second[0]) == (7, 9)


@on_the_heap
def test_no_two_structs_overlap_whatever_thread_makes_them():
    made, size = [], ffi.sizeof("struct stream")

    def make():
        for number in range(500):
            made.append(new("struct stream *"))
            if number % 3 == 0:
                del made[number // 2]

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    addresses = sorted(address_of(each) for each in made)
    assert len(addresses) > 500
    assert all(b - a >= size for a, b in itertools.pairwise(addresses))


@on_the_heap
def test_a_large_array_has_a_memory_of_its_own_and_gives_it_back():
    new("uint8_t[]", 1)  # the chunk of small ones stays
    before = descriptors()
    large = new("uint8_t[]", LARGE)
    assert descriptors() > before
    large[LARGE - 1] = 1
    del large
    assert descriptors() == before


CHILD = """
import os, signal
from uspnet.fastpath import ffi
from uspnet.memory import SharedMemory, new
from uspnet.pool import Pool
pool, kept = Pool(10, 1514), SharedMemory("uspnet-test", 4096, inherited=True)
struct = new("struct worker *", {"burst": 7})
large = new("uint8_t[]", 1 << 20)
def ends(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def own():
    global struct, large
    made = [new("struct worker *", {"burst": n}) for n in range(9)]
    del struct, large
    more = [new("struct worker *", {"burst": n}) for n in range(9)]
    assert [each.burst for each in made + more] == [*range(9), *range(9)]
def keep():
    kept.map[0] = 1
for work in (lambda: struct.burst, lambda: large[0], lambda: pool.memory.base[0]):
    assert ends(work) == -signal.SIGSEGV
assert ends(own) == ends(keep) == 0
assert (struct.burst, kept.map[0]) == (7, 1)
"""


@on_the_heap
def test_a_forked_child_has_none_of_it_and_can_make_its_own():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, timeout=scaled(20), check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def jobs(tmp_path):
    """Jobs of each kind, over ports that need neither privileges nor a peer."""
    limits, out = Limits(count=64), f"pcap:out={tmp_path}/out"
    pair = [
        "memif:@uspnet-test-shared,role=server,zero-copy={0}",
        "memif:@uspnet-test-shared,zero-copy={0}",
    ]
    for rate, sequence in ((0.0, False), (1e6, True)):
        traffic = Traffic([FRAME, FRAME], rate, sequence)
        yield GenerateJob(make_port(out), limits, traffic)
    yield GenerateJob(make_port("null:"), limits, traffic, rx_port=make_port("null:"))
    yield CaptureJob(make_port("null:"), limits, make_port(out))
    yield ForwardJob([make_port(f"pcap:{tmp_path}/out"), FakePort()], limits, Forwarding())
    for zero in ("on", "off"):
        ports = [make_port(each.format(zero)) for each in pair]
        yield ForwardJob(ports, Limits(duration=0.1), Forwarding("macswap"))


def test_workers_and_queues_lead_to_nothing_in_private_memory(tmp_path):
    kinds = 0
    for job in jobs(tmp_path):
        with job:
            job.start()
            loops = [worker.loop.c for worker in job.workers]
            queues = [queue.c for port in job.ports for queue in port.made]
            assert unshared(*loops, *queues) == []
            job.wait()
        kinds += 1
    assert kinds == 7
