# SPDX-License-Identifier: Apache-2.0
"""What a client hands over to its server: memory regions, and where its rings are in them."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
from dataclasses import dataclass

from uspnet.fastpath import c, ffi
from uspnet.mapping import Mapping
from uspnet.ports.memif.closing import let_go
from uspnet.ports.memif.protocol import Disconnect

REGION_BYTES_MAX = 1 << 36
EVENTFD = "anon_inode:[eventfd]"


@dataclass
class RingPlace:
    """Where a peer says that one of its rings is, and the eventfd that goes with it."""

    c2s: bool
    index: int
    region: int
    offset: int
    log2_size: int
    fd: int


class PeerRegion:
    """Memory that a client shares with us, mapped and guarded for as long as this object lives.

    It is mapped in full as soon as it is announced, so nothing that the client does to the file
    afterwards changes what lies behind `base` to `base + size`: where the file got shorter, an
    access sets `fault` (uint32_t *) and finds zeros.
    """

    def __init__(self, fd: int, size: int, fault: c.Pointer[int]) -> None:
        """Map a region; own `fd` from now on. Raises Disconnect if it is not what the client
        states.
        """
        self.fd, self.size = fd, size
        self.base: c.Pointer[int] = ffi.NULL
        self.mapping: Mapping | None = None
        try:
            self._map(fault)
        except BaseException:
            self.close()
            raise

    def _map(self, fault: c.Pointer[int]) -> None:
        if not 0 < self.size <= REGION_BYTES_MAX or not is_shared_memory(self.fd):
            raise Disconnect("Invalid region", ours=True)
        # A huge page of hugetlbfs is mapped whole or not at all.
        page = max(os.fstatvfs(self.fd).f_bsize, mmap.PAGESIZE)
        mapped = -(-self.size // page) * page
        try:
            self.mapping = Mapping(os.dup(self.fd), mapped, fault=fault)
        except OSError as error:
            raise Disconnect(f"Can't map region: {error.strerror}", ours=True) from None
        self.base = self.mapping.base
        self.check()

    def check(self) -> None:
        """Check that the file is as long as announced. Raises Disconnect."""
        if os.fstat(self.fd).st_size < self.size:
            raise Disconnect("Region is shorter than announced", ours=True)

    def settle(self) -> None:
        """Close the descriptor; the mapping stays."""
        let_go(self.fd)
        self.fd = -1

    def close(self) -> None:
        """Unmap the region and close its descriptor."""
        if self.mapping:
            self.mapping.close()
            self.mapping = None
        if self.fd >= 0:
            self.settle()


def is_shared_memory(fd: int) -> bool:
    """Return whether it is a regular file of tmpfs or hugetlbfs: not a device, a pipe, or a file on
    a disk. Seals it against shrinking where possible, and against other seals: the loops' process
    maps it for writing, too, a moment later.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)  # only those two answer; no other is asked for more
    except OSError:
        return False
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return stat.S_ISREG(os.fstat(fd).st_mode)


def use_eventfd(fd: int) -> bool:
    """Return whether it is an eventfd, and make it non-blocking. A worker will write to it, and
    must not be made to write elsewhere.
    """
    try:
        if os.readlink(f"/proc/self/fd/{fd}") != EVENTFD:
            return False
        os.set_blocking(fd, False)  # fails on a mere path of one (O_PATH)
    except OSError:
        return False
    return True
