# SPDX-License-Identifier: Apache-2.0
"""Packet memory: equal buffers in one shared mapping, and each worker's stack of free ones."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from uspnet.errors import DeviceFault, NoMemory
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import SharedMemory, memory_available, new, pages_for

HEADROOM: int = (lib.CACHE_OFFSETS - 1) * lib.CACHE_LINE
LONGEST = 0xFFFF  # bytes that a packet handle can name
FRAME_MAX = 9728  # bytes: the longest frame that any port takes in one buffer
BUFFER_STEP = 2048  # bytes: buffers have a multiple of it


def buffer_bytes(frame: int, step: int = BUFFER_STEP) -> int:
    """Return the buffer size for frames of up to `frame` bytes: a multiple of `step` bytes."""
    return -(-(frame + HEADROOM) // step) * step


@dataclass(frozen=True)
class Share:
    """A worker's part of a pool: `count` buffers from `first` on, and where its free ones stand."""

    stack: c.Stack
    free: c.Pointer[int]
    first: int
    count: int

    def refill(self, held: Container[int]) -> None:
        """Put all of its buffers but those that are held on the stack, the first one on top."""
        every = range(self.first + self.count - 1, self.first - 1, -1)
        free = array("I", [index for index in every if index not in held])
        ffi.memmove(self.free, free, len(free) * free.itemsize)
        self.stack.top, self.stack.room, self.stack.free = len(free), self.count, self.free


class Pool:
    """The buffers that every port and worker of a job share. Zero when new.

    Parameters: `count` buffers for frames of up to `frame` bytes, and `ring_bytes` of memory for
    what devices share with us besides packets: descriptor rings. That is a memory of its own,
    since peers may be given the one with the buffers. `step`: as for `buffer_bytes`.
    """

    def __init__(
        self, count: int, frame: int, ring_bytes: int = 0, step: int = BUFFER_STEP
    ) -> None:
        self.frame = frame
        self.size = buffer_bytes(frame, step)
        self.count = count
        self.c = new("struct pool *")
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
        self.c.base, self.c.size, self.c.count = self.memory.base, self.size, count
        self.owned = Owned()
        self._given = self._reserved = 0
        self._shares: list[Share] = []

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
        """Return the bytes of the longest frame that fits into a buffer, at any of its offsets, and
        whose length fits a packet handle.
        """
        return min(int(self.size - HEADROOM), LONGEST)

    def stack(self, count: int) -> c.Stack:
        """Return a worker's stack with `count` buffers of its own. It lives as long as the pool.
        Raises NoMemory.
        """
        first, self._given = self._given, self._given + count
        if self._given > self.count:
            raise NoMemory(f"the pool has {self.count} buffers and {self._given} are needed")
        free = self.owned.keep(new("uint32_t[]", count))
        stack = self.owned.keep(new("struct stack *"))
        self._shares.append(Share(stack, free, first, count))
        self._shares[-1].refill(())
        return stack

    def forget(self) -> None:
        """Empty every stack, whatever it holds: what is given back until `refill` has room."""
        for share in self._shares:
            share.refill(range(share.first, share.first + share.count))

    def refill(self, held: Iterable[int]) -> None:
        """Put all buffers but `held`, which rings hold, on the stacks that they belong to. Raises
        DeviceFault if a buffer is held twice, or belongs to none.
        """
        listed = list(held)
        once = set(listed)
        if len(once) < len(listed) or any(not 0 <= index < self._given for index in once):
            text = "the packet memory is damaged: a buffer is in two rings, or in none of this job"
            raise DeviceFault(text, "start the job again")
        for share in self._shares:
            share.refill(once)

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
