# SPDX-License-Identifier: Apache-2.0
"""Packet memory: sealed, shared, zero, and dealt out once."""

from __future__ import annotations

import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.processes import descriptors
from uspnet.errors import NoMemory, PeerFault
from uspnet.fastpath import lib
from uspnet.pool import FRAME_MAX, HEADROOM, LONGEST, Pool, buffer_bytes
from uspnet.ports.registry import make_port


@given(st.integers(14, FRAME_MAX))
def test_a_frame_fits_its_buffer_behind_any_colour(frame):
    size = buffer_bytes(frame)
    assert size % 2048 == 0
    assert frame + HEADROOM <= size < frame + HEADROOM + 2048


def test_no_buffer_has_room_for_a_length_that_no_handle_can_name():
    with Pool(2, LONGEST) as pool:
        assert pool.size - HEADROOM > LONGEST
        assert pool.room == LONGEST


def test_stacks_share_no_buffer():
    with Pool(100, 1514) as pool:
        stacks = [pool.stack(40), pool.stack(60)]
        indexes = [stack.free[i] for stack in stacks for i in range(stack.top)]
        assert sorted(indexes) == list(range(100))
        with pytest.raises(NoMemory):
            pool.stack(1)


def test_a_pool_gives_its_descriptor_back():
    before = descriptors()
    with Pool(10, 1514):
        assert descriptors() > before
    assert descriptors() == before


def test_rings_are_in_no_memory_that_a_peer_gets():
    with Pool(10, 1514, 8192) as pool:
        at = pool.reserve(4096)
        assert bytes(pool.rings.map[at : at + 4096]) == b"\xff" * 4096
        assert bytes(pool.memory.map[:]) == bytes(pool.memory.size)
        assert len({os.fstat(memory.fd).st_ino for memory in pool.memories}) == 2


def test_no_more_rings_than_planned():
    with Pool(10, 1514, 8192) as pool, pytest.raises(NoMemory):
        pool.reserve(pool.rings.size + 1)
    with Pool(10, 1514) as pool, pytest.raises(NoMemory):
        pool.reserve(1)


def test_without_a_descriptor_left_memory_is_an_error():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(NoMemory, match="Too many open files"):
            Pool(10, 1514)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_zero_copy_port_ends_the_job_when_packet_memory_is_gone():
    port = make_port("memif:@uspnet-test-nobody,wait=forever")
    try:
        port.open()
        with Pool(10, 1514) as pool:
            port.attach(pool)
            port.start()
            port.control()
            pool.memory.lost[0] = lib.FAULT_MEMORY
            with pytest.raises(PeerFault, match="took pages out of the packet memory"):
                port.control()
    finally:
        port.close()


def test_a_pool_larger_than_memory_is_refused():
    before = descriptors()
    with pytest.raises(NoMemory):
        Pool(1 << 30, 9728)
    assert descriptors() == before
