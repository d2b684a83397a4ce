# SPDX-License-Identifier: Apache-2.0
"""Physical addresses of our own memory, for devices without an IOMMU."""

from __future__ import annotations

import mmap
import struct

from uspnet.errors import NoMemory, NotPermitted
from uspnet.fastpath import ffi
from uspnet.memory import HUGE_BYTES, SharedMemory

FRAME = (1 << 55) - 1  # Documentation/admin-guide/mm/pagemap.rst

DANGER = "no IOMMU: a bug in uspnet or in the device can overwrite any memory"


def contiguous(memory: SharedMemory, name: str) -> int:
    """Return the physical address of a memory that is physically contiguous. Raises NoMemory,
    NotPermitted.

    Only huge pages are never moved while a device writes to them. Rings compute `address = base +
    offset`, so the pages must be adjacent.
    """
    needed = -(-memory.size // HUGE_BYTES)
    if memory.pages != "2 MiB":
        raise NoMemory(
            f"{name}: without an IOMMU, packets and rings need huge pages, {needed} of them here",
            "reserve some: echo 64 | sudo tee /proc/sys/vm/nr_hugepages",
        )
    pages = memory.size // HUGE_BYTES
    base = int(ffi.cast("uintptr_t", memory.base))
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        where = []
        for page in range(pages):
            memory.map[page * HUGE_BYTES] |= 0  # a write, so that the page exists
            pagemap.seek((base + page * HUGE_BYTES) // mmap.PAGESIZE * 8)
            (entry,) = struct.unpack("=Q", pagemap.read(8))
            where.append((entry & FRAME) * mmap.PAGESIZE)
    if not where[0]:
        raise NotPermitted(f"{name}: reading physical addresses needs root", "run as root")
    if any(at != where[0] + page * HUGE_BYTES for page, at in enumerate(where)):
        raise NoMemory(
            f"{name}: {pages} huge pages of the job are not contiguous in physical memory",
            "reserve them at boot (hugepages=64), or use smaller rings",
        )
    return int(where[0])
