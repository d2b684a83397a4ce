# SPDX-License-Identifier: Apache-2.0
"""Packet memory: equal buffers in one shared mapping, and each worker's stack of free ones."""

from __future__ import annotations

import fcntl
import mmap
import os
from types import TracebackType
from typing import Self

from uspnet.errors import NoMemory
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned

HUGE_BYTES = 2 << 20
PAGE = 4096
HEADROOM: int = (lib.CACHE_OFFSETS - 1) * lib.CACHE_LINE
LONGEST = 0xFFFF  # bytes that a packet handle can name
FRAME_MAX = 9728  # bytes: the longest frame that any port takes in one buffer
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def buffer_bytes(frame: int) -> int:
    """Return the buffer size for frames of up to `frame` bytes: a multiple of 2 KiB."""
    return -(-(frame + HEADROOM) // 2048) * 2048


def pages_for(size: int) -> int:
    """Round `size` up to whole pages, in bytes."""
    return -(-size // PAGE) * PAGE


def memory_available() -> int:
    """Return the bytes that the kernel can allocate without reclaiming (MemAvailable)."""
    with open("/proc/meminfo") as lines:
        (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kib) << 10


class SharedMemory:
    """A sealed memfd and our mapping of it. No peer that gets the descriptor can shrink it.

    `pages` says what stands behind it: "2 MiB" (huge pages, when there are enough) or "4 KiB".
    """

    def __init__(self, name: str, size: int, *, huge: bool = False) -> None:
        self.pages = "4 KiB"
        mapped = self._huge(name, size) if huge else None
        self.fd, self.map = mapped or self._create(name, size, 0)
        self.size = len(self.map)
        self.memory = ffi.from_buffer("uint8_t[]", self.map, require_writable=True)
        self.lost: c.Pointer[int] | None = None  # nonzero: a peer took pages away

    def _create(self, name: str, size: int, flags: int) -> tuple[int, mmap.mmap]:
        fd = -1
        try:
            fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
            os.ftruncate(fd, size)
            mapped = mmap.mmap(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise NoMemory(
                f"{size >> 20} MiB of shared memory: {error.strerror}",
                "free memory, or use fewer queues and smaller rings; see: ulimit -n, -v, -f",
            ) from None
        return fd, mapped

    def _huge(self, name: str, size: int) -> tuple[int, mmap.mmap] | None:
        size = -(-size // HUGE_BYTES) * HUGE_BYTES
        try:
            made = self._create(name, size, os.MFD_HUGETLB | os.MFD_HUGE_2MB)
        except (NoMemory, OSError):
            return None  # ordinary pages do
        self.pages = "2 MiB"
        return made

    @property
    def base(self) -> c.Pointer[int]:
        """Return a C pointer to the first byte."""
        return ffi.cast("uint8_t *", self.memory)

    def guard(self) -> c.Pointer[int]:
        """Guard the memory before a peer gets its descriptor: the peer can punch holes, and then
        there may be no huge page to fill them. Return `lost`, which becomes nonzero when we touched
        such a hole. Raises NoMemory.
        """
        if self.lost is None:
            lost = ffi.new("uint32_t *")
            lib.guard_install()
            if lib.guard_add(self.memory, pages_for(self.size), lost):
                raise NoMemory("too many memories are shared with peers", "use fewer ports")
            self.lost = lost
        return self.lost

    def close(self) -> None:
        """Unmap and close. Nothing may use the memory after this."""
        if self.lost is not None:
            lib.guard_remove(self.memory)
        ffi.release(self.memory)
        self.map.close()
        os.close(self.fd)


class Pool:
    """The buffers that every port and worker of a job share. Zero when new.

    Parameters: `count` buffers for frames of up to `frame` bytes, and `ring_bytes` of memory for
    what devices share with us besides packets: descriptor rings. That is a memory of its own,
    since peers may be given the one with the buffers.
    """

    def __init__(self, count: int, frame: int, ring_bytes: int = 0) -> None:
        self.frame = frame
        self.size = buffer_bytes(frame)
        self.count = count
        self.memory = SharedMemory("uspnet-pool", pages_for(count * self.size), huge=True)
        self.rings: SharedMemory | None = None
        if self.memory.pages == "4 KiB" and self.memory.size > memory_available():
            self.memory.close()  # the kernel would start its OOM killer instead of refusing a page
            raise NoMemory(
                f"{count:,} buffers of {self.size:,} bytes are more memory than there is",
                "use fewer queues, smaller rings, or shorter frames",
            )
        if ring_bytes:
            try:
                self.rings = SharedMemory("uspnet-rings", pages_for(ring_bytes), huge=True)
            except BaseException:
                self.memory.close()
                raise
        self.c = ffi.new("struct pool *", (self.memory.base, self.size, count))
        self.owned = Owned()
        self._given = self._reserved = 0

    @property
    def memories(self) -> list[SharedMemory]:
        """Return all memories that a device must reach."""
        return [self.memory, self.rings] if self.rings else [self.memory]

    @property
    def pages(self) -> str:
        """Return the page size that backs it: "2 MiB" or "4 KiB"."""
        return self.memory.pages

    @property
    def room(self) -> int:
        """Return the bytes of the longest frame that fits into a buffer, at any of its offsets."""
        return int(self.size - HEADROOM)

    def stack(self, count: int) -> c.Stack:
        """Return a worker's stack with `count` buffers of its own. It lives as long as the pool.
        Raises NoMemory.
        """
        first, self._given = self._given, self._given + count
        if self._given > self.count:
            raise NoMemory(f"the pool has {self.count} buffers and {self._given} are needed")
        free = self.owned.keep(ffi.new("uint32_t[]", list(range(first + count - 1, first - 1, -1))))
        return self.owned.keep(ffi.new("struct stack *", (count, count, free)))

    def reserve(self, size: int) -> int:
        """Reserve `size` bytes of `rings`; return their offset, a multiple of a page. Raises
        NoMemory.

        They are filled with ones, so that a device which reads them too early shows it.
        """
        start = self._reserved
        if not self.rings or start + size > self.rings.size:
            raise NoMemory(f"{size} bytes of device memory were not planned for")
        self._reserved += pages_for(size)
        ffi.memmove(self.rings.base + start, b"\xff" * size, size)
        return start

    def close(self) -> None:
        """Free the memory."""
        for memory in self.memories:
            memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
