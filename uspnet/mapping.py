# SPDX-License-Identifier: Apache-2.0
"""Mapped files that a worker process maps at the same addresses as we do (fastpath/memory.c)."""

from __future__ import annotations

import itertools
import os

from uspnet.errors import NoMemory
from uspnet.fastpath import c, ffi, lib

_serials = itertools.count(1)
_live: dict[int, Mapping] = {}  # by address


class Mapping:
    """A file mapped shared, and its descriptor, which is ours from now on. Raises OSError, and then
    `fd` is closed.

    `flags`: of enum memory_flag. `fault`: guard it against truncation by others, see `guard`.
    """

    def __init__(
        self,
        fd: int,
        size: int,
        offset: int = 0,
        *,
        flags: int = 0,
        fault: c.Pointer[int] | None = None,
    ) -> None:
        self.size, self.flags, self.fault = size, flags, fault
        start = lib.guard_map(fd, size, fault) if fault else lib.memory_map(fd, size, offset, flags)
        self._begin(start, fd, offset)

    def _begin(self, start: c.CData, fd: int, offset: int) -> None:
        if start == ffi.NULL:
            error = ffi.errno
            os.close(fd)
            raise OSError(error, os.strerror(error))
        self.fd, self.offset = fd, offset
        self.base = ffi.cast("uint8_t *", start)
        self.address = int(ffi.cast("uintptr_t", start))
        self.serial = next(_serials)  # addresses are used again
        _live[self.address] = self

    def reopen(self, fd: int, offset: int) -> None:
        """Map another file at the same address, after `close`. Raises OSError, and then `fd` is
        closed.
        """
        start = lib.memory_map_at(self.base, fd, self.size, offset, self.flags)
        self._begin(start, fd, offset)

    def guard(self, fault: c.Pointer[int]) -> None:
        """Have `fault` (uint32_t *) set when we touched what others cut off or punched out of the
        file, which reads as zeros then. Raises NoMemory.
        """
        lib.guard_install()
        if lib.guard_add(self.base, self.size, fault):
            raise NoMemory("too many mappings are guarded", "use fewer ports")
        self.fault = fault

    def holds(self, address: int) -> bool:
        """Return whether an address is in it."""
        return self.address <= address < self.address + self.size

    def room(self, address: int) -> int:
        """Return the bytes from an address in it to its end."""
        return self.address + self.size - address

    def hide(self) -> None:
        """Make it inaccessible, in a forked child."""
        if lib.memory_hide(self.base, self.size):
            os._exit(1)

    def close(self) -> None:
        """Unmap and close. Nothing may use the memory after this."""
        del _live[self.address]
        if self.fault is not None:
            lib.guard_remove(self.base)
        lib.memory_unmap(self.base, self.size)
        os.close(self.fd)


def mapping_at(address: int) -> Mapping | None:
    """Return the mapping that an address is in."""
    return next((each for each in list(_live.values()) if each.holds(address)), None)
