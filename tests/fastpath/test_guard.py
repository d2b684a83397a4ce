# SPDX-License-Identifier: Apache-2.0
"""Memory that others may shorten while we use it."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
import time

import pytest

from uspnet.fastpath import ffi, lib

PAGE = mmap.PAGESIZE
F_SEAL_FUTURE_WRITE = 0x10


@pytest.fixture(autouse=True)
def handler():
    lib.guard_install()


@pytest.fixture
def file():
    fd = os.memfd_create("test")
    yield fd
    os.close(fd)


def mapped(fd, size):
    fault = ffi.new("uint32_t *")
    start = lib.guard_map(fd, size, fault)
    assert start != ffi.NULL
    return ffi.cast("uint8_t *", start), fault


@pytest.mark.parametrize("left", [0, 1, PAGE, 3 * PAGE])
@pytest.mark.parametrize("touched", [0, PAGE, 4 * PAGE - 1])
def test_a_shortened_file_becomes_zeros_and_a_fault(file, left, touched):
    os.ftruncate(file, 4 * PAGE)
    base, fault = mapped(file, 4 * PAGE)
    base[touched] = 7
    os.ftruncate(file, left)
    gone = touched >= -(-left // PAGE) * PAGE
    assert base[touched] == (0 if gone or touched >= left else 7)
    assert fault[0] == (lib.FAULT_MEMORY if gone else 0)
    if gone:
        assert bytes(ffi.buffer(base, 4 * PAGE)) == bytes(4 * PAGE)
        base[touched] = 9  # ours alone from now on
    lib.guard_unmap(base, 4 * PAGE)


def test_a_file_that_was_always_too_short_is_safe_to_map(file):
    base, fault = mapped(file, 16 * PAGE)
    for page in range(16):
        base[page * PAGE] = page
    assert fault[0] == lib.FAULT_MEMORY
    lib.guard_unmap(base, 16 * PAGE)


def test_a_large_region_is_replaced_piece_by_piece(file):
    """All of it at once would count as ours: there may be a limit, `ulimit -d`."""
    size = 16 << 30
    os.ftruncate(file, size)
    base, fault = mapped(file, size)
    os.ftruncate(file, 0)
    before = data_bytes()
    for at in (0, size // 2 - 1, size // 2, size - 1):
        base[at] = 7
        assert base[at] == 7
    assert fault[0] == lib.FAULT_MEMORY
    assert data_bytes() - before < 64 << 20
    lib.guard_unmap(base, size)


def test_a_region_is_not_replaced_in_more_pieces_than_a_process_may_map(file):
    step = 4 << 20
    os.ftruncate(file, 2000 * step)
    base, _ = mapped(file, 2000 * step)
    os.ftruncate(file, 0)
    for at in range(2000):
        assert base[at * step] == 0
    with open("/proc/self/maps") as maps:
        assert sum(1 for _ in maps) < 1500
    lib.guard_unmap(base, 2000 * step)


def data_bytes():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))


def test_the_table_has_an_end(file):
    os.ftruncate(file, PAGE)
    fault, taken = ffi.new("uint32_t *"), []
    while (start := lib.guard_map(file, PAGE, fault)) != ffi.NULL:
        taken.append(start)
    assert os.strerror(ffi.errno) == "No space left on device"
    assert len(taken) > 500
    for start in taken:
        lib.guard_unmap(start, PAGE)
    start = lib.guard_map(file, PAGE, fault)
    assert start != ffi.NULL
    lib.guard_unmap(start, PAGE)


def test_guards_that_come_and_go_cover_nobody_elses_memory(file):
    """A thread runs into shortened files while another one adds and removes guards, small and
    large, in front of the memory that must stay as it is.
    """
    arena = mmap.mmap(-1, 64 * PAGE)
    arena[:] = b"x" * len(arena)
    place = ffi.from_buffer("uint8_t[]", arena)
    end, ours = threading.Event(), ffi.new("uint32_t *")

    def come_and_go():
        while not end.is_set():
            for first, pages in ((0, 1), (63, 1), (0, 2)):
                lib.guard_add(place + first * PAGE, pages * PAGE, ours)
                lib.guard_remove(place + first * PAGE)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    stop = time.monotonic() + 0.5
    while time.monotonic() < stop:
        base, fault = mapped(file, PAGE)
        assert base[0] == 0
        assert fault[0] == lib.FAULT_MEMORY
        lib.guard_unmap(base, PAGE)
    end.set()
    thread.join()
    assert not ours[0]
    assert arena[:] == b"x" * len(arena)
    ffi.release(place)


def test_a_file_that_its_owner_seals_before_the_worker_process_maps_it_is_a_fault():
    """That process gets zeros, and the port a fault: no peer ends a job in this way."""
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4 * PAGE)
    base, fault = mapped(fd, 4 * PAGE)
    lib.guard_unmap(base, 4 * PAGE)  # as in another process
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    order = {"kind": lib.ORDER_MAP, "start": base, "size": 4 * PAGE}
    assert lib.process_obey(ffi.new("struct order *", order), os.dup(fd)) == errno.EPERM
    order["fault"] = fault
    assert lib.process_obey(ffi.new("struct order *", order), os.dup(fd)) == 0
    assert (fault[0], base[PAGE]) == (lib.FAULT_MEMORY, 0)
    lib.guard_unmap(base, 4 * PAGE)
    os.close(fd)
