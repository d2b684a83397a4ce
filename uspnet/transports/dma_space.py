# SPDX-License-Identifier: Apache-2.0
"""The DMA address space of all NICs that this process drives through VFIO."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from uspnet.fastpath import ffi
from uspnet.memory import HUGE_BYTES, SharedMemory
from uspnet.transports.locked import map_error

IOVA_BASE = 1 << 32  # above the addresses of 32-bit devices and of the MSI window


class DmaSpace(ABC):
    """One I/O address space, shared by all NICs of this process that can: each memory is mapped
    once, as one range, at addresses that we choose.
    """

    _shared: ClassVar[dict[str, DmaSpace]] = {}

    def __init__(self, key: str) -> None:
        self.key = key
        self.users = 0
        self._next = IOVA_BASE
        self._mapped: dict[int, tuple[SharedMemory, int, int]] = {}  # by id: memory, address, users

    @classmethod
    def join(cls, key: str) -> Self:
        """Return the space of that name, created if need be. Each `join` needs one `leave`."""
        space = cls._shared.get(key)
        if not isinstance(space, cls):
            space = cls._shared[key] = cls(key)
        space.users += 1
        return space

    def leave(self) -> None:
        """Leave the space; the last user closes it."""
        self.users -= 1
        if not self.users:
            del self._shared[self.key]
            self.close()

    def map(self, memory: SharedMemory, wanted: int | None = None) -> int:
        """Give the devices access to the memory; if it is not mapped yet, at the `wanted` address.
        Returns their address of its first byte. Raises NoMemory.
        """
        _, address, users = self._mapped.get(id(memory), (memory, 0, 0))
        if not users:
            address = self.place(memory, wanted)
        self._mapped[id(memory)] = (memory, address, users + 1)
        return address

    def place(self, memory: SharedMemory, wanted: int | None) -> int:
        """Map a memory that is not mapped yet; after those that were, if it doesn't matter where.
        Raises NoMemory.
        """
        address, size = self._next if wanted is None else wanted, memory.size
        try:
            self.map_range(int(ffi.cast("uintptr_t", memory.base)), address, size)
        except OSError as error:
            raise map_error(error, size) from None
        self._next = max(self._next, address + -(-size // HUGE_BYTES) * HUGE_BYTES)
        return address

    def unmap(self, memory: SharedMemory) -> None:
        """End one use of the memory; the last one unmaps it."""
        _, address, users = self._mapped.pop(id(memory))
        if users > 1:
            self._mapped[id(memory)] = (memory, address, users - 1)
        else:
            self.unmap_range(address, memory.size)

    @abstractmethod
    def map_range(self, virtual: int, address: int, size: int) -> None:
        """Map memory of this process for reading and writing. Raises OSError."""

    @abstractmethod
    def unmap_range(self, address: int, size: int) -> None:
        """Unmap what `map_range` mapped."""

    @abstractmethod
    def close(self) -> None:
        """Close the space."""
