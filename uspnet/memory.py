# SPDX-License-Identifier: Apache-2.0
"""Shared memory: for packets, for counters, and for the structs that C works with, so that another
process can map all that a worker needs and take over from it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from uspnet.errors import NoMemory
from uspnet.fastpath import c, ffi, lib
from uspnet.mapping import Mapping

Data = Any  # a value that C has, or its type: cffi finds out which
HUGE_BYTES = 2 << 20
PAGE = 4096
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
ALIGNMENT = 2 * lib.CACHE_LINE  # the prefetcher loads pairs of cache lines
CHUNK = 1 << 20  # bytes of the memory that small structs lie in together
LARGE = CHUNK // 4  # bytes from which on a struct or array has a memory of its own
_ours: WeakSet[SharedMemory] = WeakSet()  # what a forked child loses


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
    A forked child can't access it unless it is `inherited`.
    """

    def __init__(
        self, name: str, size: int, *, huge: bool = False, inherited: bool = False
    ) -> None:
        self.pages = "4 KiB"
        mapped = self._huge(name, size) if huge else None
        self.mapping = mapped or self._create(name, size, 0)
        self.fd, self.size, self.base = self.mapping.fd, self.mapping.size, self.mapping.base
        self.map = memoryview(ffi.buffer(self.base, self.size))
        if not inherited:
            _ours.add(self)
        self.lost: c.Pointer[int] | None = None  # nonzero: a peer took pages away

    def _create(self, name: str, size: int, flags: int) -> Mapping:
        try:
            fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
            try:
                os.ftruncate(fd, size)
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            except OSError:
                os.close(fd)
                raise
            return Mapping(fd, size)
        except OSError as error:
            raise NoMemory(
                f"{-(-size >> 20)} MiB of shared memory: {error.strerror}",
                "free memory, or use fewer queues and smaller rings; see: ulimit -n, -v, -f",
            ) from None

    def _huge(self, name: str, size: int) -> Mapping | None:
        size = -(-size // HUGE_BYTES) * HUGE_BYTES
        try:
            made = self._create(name, size, os.MFD_HUGETLB | os.MFD_HUGE_2MB)
        except (NoMemory, OSError):
            return None  # ordinary pages do
        self.pages = "2 MiB"
        return made

    def guard(self) -> c.Pointer[int]:
        """Guard the memory before a peer gets its descriptor: the peer can punch holes, and then
        there may be no huge page to fill them. Return `lost`, which becomes nonzero when we touched
        such a hole. Raises NoMemory.
        """
        if self.lost is None:
            lost = new("uint32_t *")
            self.mapping.guard(lost)
            self.lost = lost
        return self.lost

    def close(self) -> None:
        """Unmap and close. Nothing may use the memory after this."""
        _ours.discard(self)
        self.map.release()
        self.mapping.close()


@dataclass(frozen=True)
class Structs:
    """Where `count` structs of a type follow one another. Addresses are used again, serials not."""

    address: int
    kind: Data
    count: int
    serial: int


class Arena:
    """Where `new` puts structs: chunks of shared memory, kept until the process ends.

    `release` is called by the garbage collector, in any thread and within any call, also one to
    `allocate`; so it takes no lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serials = itertools.count()
        self._new = ffi.new_allocator(self.allocate, self.release)
        self._chunk: SharedMemory | None = None
        self._used = 0  # bytes of the chunk
        self._full: list[SharedMemory] = []
        self._sizes: dict[int, int] = {}  # by address
        self._free: dict[int, deque[int]] = {}  # addresses by size
        self._large: dict[int, SharedMemory] = {}  # by address
        self._holders, self._freed = 0, deque[SharedMemory]()  # large ones, while they are held
        self.structs: dict[int, Structs] = {}  # by address

    def allocate(self, size: int) -> c.Pointer[int]:
        """Return memory for `size` bytes. Raises NoMemory."""
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT  # no two have the same address
        if size >= LARGE:
            memory = SharedMemory("uspnet-structs", pages_for(size))
            self._large[int(ffi.cast("uintptr_t", memory.base))] = memory
            return memory.base
        try:
            address = self._free.setdefault(size, deque()).pop()
        except IndexError:
            with self._lock:
                address = self._cut(size)
            self._sizes[address] = size
        return ffi.cast("uint8_t *", address)

    def _cut(self, size: int) -> int:
        if not self._chunk or self._used + size > CHUNK:
            self._full += [self._chunk] if self._chunk else []
            self._chunk, self._used = SharedMemory("uspnet-structs", CHUNK), 0
        self._used += size
        return int(ffi.cast("uintptr_t", self._chunk.base)) + self._used - size

    def mappings(self) -> list[Mapping]:
        """Return where everything lies that was allocated."""
        chunks = [*self._full, *([self._chunk] if self._chunk else [])]
        return [memory.mapping for memory in (*chunks, *list(self._large.values()))]

    def restart(self) -> None:
        """Begin again in a forked child, where what was allocated so far can't be accessed."""
        self._lock = threading.Lock()  # another thread may have held it
        self._full += [*self._large.values(), *([self._chunk] if self._chunk else [])]
        self._chunk, self._holders = None, 0
        self._freed.clear()
        for each in (self._sizes, self._free, self._large, self.structs):
            each.clear()

    def make(self, cdecl: str, init: object = None) -> Data:
        """Return new memory of a type, as `ffi.new` does, and note which structs lie in it."""
        made = self._new(cdecl, init)
        kind = ffi.typeof(made).item
        if kind.kind == "struct":
            address, count = int(ffi.cast("uintptr_t", made)), 1
            if cdecl.endswith("]"):
                count = len(made)
            self.structs[address] = Structs(address, kind, count, next(self._serials))
        return made

    def release(self, memory: c.Pointer[int]) -> None:
        """Take back what `allocate` returned."""
        address = int(ffi.cast("uintptr_t", memory))
        self.structs.pop(address, None)
        if size := self._sizes.get(address):
            self._free[size].append(address)
        elif large := self._large.pop(address, None):
            if self._holders:  # one of them may have seen it
                self._freed.append(large)
            else:
                large.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all `mappings` that are returned meanwhile, whatever other threads free."""
        with self._lock:
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
            while self._freed and not self._holders:
                with suppress(IndexError):  # another thread was faster
                    self._freed.popleft().close()


def _after_fork() -> None:
    """Take from a forked child the memory that workers, devices and peers go on using."""
    for memory in _ours:
        memory.mapping.hide()
    _arena.restart()


# `new` is used as `ffi.new`, for what the C loops read and write for longer than one call: zeroed
# memory, freed with the last Python object that refers to it. No signal handler may call it, since
# it takes a lock. AddressSanitizer finds accesses beyond the end of what lies on the heap, but not
# within a mapping.
_arena = Arena()
new = ffi.new
if not lib.built_with_asan():
    new = _arena.make
os.register_at_fork(after_in_child=_after_fork)


def struct_mappings() -> list[Mapping]:
    """Return the mappings in which all structs lie that `new` has made."""
    return _arena.mappings()


@contextmanager
def structs_held() -> Iterator[None]:
    """Keep these mappings meanwhile, also of structs that other threads free."""
    with _arena.held():
        yield


def structs() -> list[Structs]:
    """Return the structs that `new` has made and that exist."""
    return list(_arena.structs.values())


def octets(data: bytes) -> c.Pointer[int]:
    """Return a copy of `data` that C may keep."""
    made = new("uint8_t[]", len(data))
    ffi.memmove(made, data, len(data))
    return made
