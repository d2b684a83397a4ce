# SPDX-License-Identifier: Apache-2.0
"""The command's process survives whatever a worker process writes to the memory that they share."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest

from tests.support.tiers import by_tier, full
from uspnet.fastpath import ffi, lib
from uspnet.memory import new
from uspnet.process.kept import Kept
from uspnet.process.reach import Reach

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
KINDS = (
    *("null", "reflect", "pktgen", "lost", "losses", "profile", "merge", "pcap", "stream"),
    *("filter", "memif-server", "memif-client", "memif-client-copy"),
    *("switch", "rules", "balance", "impair", "less"),
    *by_tier((), (), ("route",)),
)
SEEDS = by_tier(2, 4, 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_random_contents_end_a_job_in_order(kind):
    ends_in_order(kind, SEEDS)


@pytest.mark.parametrize("kind", ["packet", "xdp", "tap", *full("tap-offload")])
def test_random_contents_end_a_job_on_kernel_interfaces(kind, namespace):
    namespace.veth("s0", "s1")
    ends_in_order(kind, SEEDS, namespace.command())


@pytest.mark.full
@pytest.mark.usefixtures("qemu")
def test_random_contents_end_a_job_on_emulated_nics():
    ends_in_order("qemu", by_tier(2, 3, 100))


def ends_in_order(kind, seeds, inside=()):
    words = [sys.executable, "-X", "faulthandler", "-m", "tests.support.scribble", kind, "0"]
    words = [*inside, *words, str(seeds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ends = json.loads(done.stdout.splitlines()[-1])
    assert sum(ends.values()) == seeds
    assert not ends.keys() & {"Busy", "NoDevice"}, "no job has begun"


@pytest.fixture
def queue():
    made = new("struct memif_queue *", {"size": 64, "bell_fd": 7, "next": 5})
    made.q.stack = stack = new("struct stack *", {"room": 9})
    made.q.counters = counters = new("struct counters *")
    yield made
    del stack, counters


def test_pointers_lengths_and_descriptors_are_put_back(queue):
    kept = Kept()
    kept.record(Reach([queue], ()).addresses)
    assert not kept.restore()
    stack = queue.q.stack
    queue.q.stack = ffi.cast("struct stack *", 0xDEADBEEF)
    queue.size, queue.bell_fd, queue.next, stack.room = 1 << 31, 1, 6, 0
    wrong = {"q.stack", "size", "bell_fd"}
    assert kept.restore() == {
        *(f"struct memif_queue: {name}" for name in wrong),
        "struct stack: room",
    }
    assert (queue.q.stack, queue.size, queue.bell_fd, stack.room) == (stack, 64, 7, 9)
    assert queue.next == 6, "which a loop moves on"


def test_what_a_loop_counts_is_not_put_back():
    sink = new("struct pcap_sink *", {"bell_fd": 7})
    receiver = new("struct packet_queue *", {"fd": 7})
    line, router = new("struct line *"), new("struct route_loop *")
    kept = Kept()
    all_of_them = (sink, receiver, line, router)
    kept.record({int(ffi.cast("uintptr_t", each)) for each in all_of_them})
    line.b.codel.count, router.misses = 5, 6
    sink.number, receiver.segments.number, receiver.segments.size = 3, 2, 1448
    receiver.segments.frame = frame = ffi.cast("uint8_t *", 0x1000)
    assert not kept.restore()
    sink.bell_fd = receiver.fd = 1
    assert kept.restore() == {"struct pcap_sink: bell_fd", "struct packet_queue: fd"}
    assert (sink.number, receiver.segments.number, receiver.segments.frame) == (3, 2, frame)
    assert (line.b.codel.count, router.misses) == (5, 6)


def test_what_lies_where_a_struct_was_is_left_alone(queue):
    gc.collect()  # nothing else shall become free meanwhile
    kept = Kept()
    regions = new("struct memif_region[]", [(ffi.NULL, 1)])
    queue.regions, queue.n_regions = regions, 1
    kept.record(Reach([queue], ()).addresses)
    place = int(ffi.cast("uintptr_t", regions))
    del regions
    another = new("struct memif_region[]", [(ffi.NULL, 2)])
    assert int(ffi.cast("uintptr_t", another)) == place
    kept.restore()
    assert another[0].size == 2
