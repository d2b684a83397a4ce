# SPDX-License-Identifier: Apache-2.0
"""Packet memory: sealed, shared, zero, and dealt out once."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uspnet.errors import NoMemory
from uspnet.pool import FRAME_MAX, HEADROOM, Pool, SharedMemory, buffer_bytes


@given(st.integers(14, FRAME_MAX))
def test_a_frame_fits_its_buffer_behind_any_colour(frame):
    size = buffer_bytes(frame)
    assert size % 2048 == 0
    assert frame + HEADROOM <= size < frame + HEADROOM + 2048


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


def test_stacks_share_no_buffer():
    with Pool(100, 1514) as pool:
        stacks = [pool.stack(40), pool.stack(60)]
        indexes = [stack.free[i] for stack in stacks for i in range(stack.top)]
        assert sorted(indexes) == list(range(100))
        with pytest.raises(NoMemory):
            pool.stack(1)


def test_a_pool_gives_its_descriptor_back():
    before = len(os.listdir("/proc/self/fd"))
    with Pool(10, 1514):
        assert len(os.listdir("/proc/self/fd")) > before
    assert len(os.listdir("/proc/self/fd")) == before


def test_too_much_is_an_error_and_leaves_nothing():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NoMemory) as caught:
        SharedMemory("uspnet-test", 1 << 62)
    assert caught.value.hint
    assert len(os.listdir("/proc/self/fd")) == before
