# SPDX-License-Identifier: Apache-2.0
"""What is found from the structs of loops."""

from __future__ import annotations

import os

import pytest

from uspnet.fastpath import ffi, lib
from uspnet.mapping import Mapping, mapping_at
from uspnet.memory import SharedMemory, new
from uspnet.process.protocol import functions
from uspnet.process.reach import Reach

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")


def address(pointer):
    return int(ffi.cast("uintptr_t", pointer))


def test_descriptors_are_members_named_so():
    queue = new("struct memif_queue *")
    queue.q.wake_fd, queue.bell_fd = 17, 23
    assert Reach([queue], {17, 23, 29}).fds == {17, 23}
    queue.q.wake_fd = queue.bell_fd = -1
    assert Reach([queue], {17, 23}).fds == set()


def test_descriptors_that_are_not_lent_are_not_reached():
    queue = new("struct packet_queue *")
    queue.fd, queue.q.wake_fd = 1, 17  # a worker process can write what it likes
    assert Reach([queue], {17, 23}).fds == {17}


def test_nothing_is_read_outside_of_mappings():
    lane, worker = new("struct lane *"), new("struct drop_loop *")
    worker.w.lanes, worker.w.n_lanes = lane, 1
    memory = SharedMemory("test", 4096)
    worker.w.lanes, worker.w.n_lanes = ffi.cast("struct lane *", memory.base), 1 << 31
    for wild in (8, 0x7FFF_FFFF_F000, address(memory.base) + 4096):
        lane.rx = ffi.cast("struct queue *", wild)
        ffi.memmove(memory.base, lane, 16)
        assert Reach([worker], ()).fds == set()
    memory.close()


def test_functions_are_found_by_their_place_and_name():
    queue = new("struct tap_queue *")
    queue.q.burst = ffi.addressof(lib, "tap_rx")
    slots = Reach([queue], ()).slots
    assert list(slots.values()) == [functions()["tap_rx"]]
    (place,) = slots
    assert ffi.cast("uintptr_t *", place)[0] == functions()["tap_rx"]


def test_arrays_are_as_long_as_the_number_beside_them():
    regions = [SharedMemory("test", 4096) for _ in range(3)]
    queue = new("struct memif_queue *")
    c_regions = new("struct memif_region[]", [(each.base, each.size) for each in regions])
    queue.regions, queue.n_regions = c_regions, 3
    found = Reach([queue], ()).maps
    assert {each.mapping.serial for each in regions} <= found.keys()
    queue.n_regions = 1
    found = Reach([queue], ()).maps
    assert regions[1].mapping.serial not in found
    for each in regions:
        each.close()


def test_what_several_pointers_lead_to_is_found_by_each_of_its_types():
    queue = new("struct memif_queue *")
    queue.bell_fd = 19
    lane = new("struct lane *")
    lane.rx = ffi.cast("struct queue *", queue)
    worker = new("struct drop_loop *")
    worker.w.lanes, worker.w.n_lanes = lane, 1
    assert Reach([worker], {19}).fds == set()
    assert Reach([worker, queue], {19}).fds == {19}


def test_mappings_are_where_no_library_is():
    memory = SharedMemory("test", 4096)
    try:
        assert 0x1000_0000_0000 <= address(memory.base) < 0x5000_0000_0000
        assert mapping_at(address(memory.base) + 4095) is memory.mapping
        assert mapping_at(address(memory.base) + 4096) is not memory.mapping
    finally:
        memory.close()


def test_an_address_is_not_given_out_twice_in_a_row():
    fd = os.memfd_create("test")
    os.ftruncate(fd, 4096)
    first = Mapping(os.dup(fd), 4096)
    first.close()
    second = Mapping(fd, 4096)
    assert second.address != first.address
    assert second.serial > first.serial
    second.close()


def test_a_mapping_that_fails_closes_its_descriptor():
    fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    with pytest.raises(OSError, match=r"\[Errno"):
        Mapping(fd, 4096)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
