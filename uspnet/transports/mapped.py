# SPDX-License-Identifier: Apache-2.0
"""BARs mapped into this process by any transport, and a lock that gives a function one user."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from uspnet.errors import Busy, DeviceFault, NoDevice, NotPermitted, UspnetError
from uspnet.fastpath import c, lib
from uspnet.mapping import Mapping
from uspnet.pci.functions import folder, group_node, missing
from uspnet.pci.sysfs import HOST
from uspnet.system import kept
from uspnet.system.processes import process, user_of, users_of
from uspnet.transports import BarWindow


class MappedBar(BarWindow):
    """A BAR mapped into this process: reads and writes are plain loads and stores."""

    def __init__(self, name: str, fd: int, offset: int, size: int) -> None:
        super().__init__(size)
        self.name = name
        self.mapping = Mapping(os.dup(fd), size, offset)
        self.is_open = True

    def reopen(self, fd: int, offset: int) -> None:
        """Map it where it was, after `close`. Raises OSError."""
        self.mapping.reopen(os.dup(fd), offset)
        self.is_open = True

    def _at(self, offset: int, size: int) -> c.Pointer[int]:
        if not self.is_open:
            raise DeviceFault(f"{self.name}: the device is gone", f"see: uspnet doctor {self.name}")
        if not 0 <= offset <= self.size - size or offset % size:
            raise DeviceFault(f"{self.name}: no register at {offset:#x} of {self.size:#x}")
        return self.mapping.base + offset

    def read(self, offset: int, size: int) -> int:
        """Load from the register."""
        return int(lib.mmio_read(self._at(offset, size), size))

    def write(self, offset: int, value: int, size: int) -> None:
        """Store to the register."""
        lib.mmio_write(self._at(offset, size), value, size)

    def doorbell(self, offset: int, size: int = 4, *, sends: bool = False) -> c.DoorbellFields:
        """Return the address of the register."""
        return {"mmio": self._at(offset, size), "bytes": size, "wire_fd": -1}

    def close(self) -> None:
        """Unmap the BAR. No ring may write its doorbell after this. May be called again."""
        if self.is_open:
            self.is_open = False
            self.mapping.close()


class FunctionLock:
    """Keeps other uspnet processes away from a PCI function: an flock on its `config` file in
    sysfs, which the kernel releases when the process ends. Raises NoDevice, Busy.

    Everybody may open that file and lock it, so root ignores a lock that only a process without
    access to the function can hold.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.path = HOST.path(f"{folder(address)}/config")
        self.fd = kept.take(f"{address} lock")
        if self.fd >= 0:
            return  # the version before has locked it
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise missing(address) from None
        if self._lock() or not self._in_use() or self._lock():
            return
        takers = self._takers()
        who = str(process(takers[0])) if takers else "another process"
        self.close()
        raise Busy(f"{address} is in use by {who}", "see: uspnet stats") from None

    def _lock(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _in_use(self) -> bool:
        """Return whether a process that may drive the function can hold the lock. The process that
        took it doesn't tell: it may have ended, and its id may be in use again.
        """
        if os.geteuid() or os.getpid() in self._takers():
            return True
        others = [user.pid for user in users_of([self.path]) if user.pid != os.getpid()]
        return any(user_of(pid) in self._drivers() for pid in others)

    def _drivers(self) -> set[int]:
        """Return the users who may drive the function: root, and the owner of its VFIO node."""
        node = group_node(HOST, self.address)
        try:
            return {0, os.stat(HOST.path(node)).st_uid} if node else {0}
        except OSError:
            return {0}

    def _takers(self) -> list[int]:
        """Return the ids of the processes that took the lock. A line of /proc/locks is "1: FLOCK
        ADVISORY WRITE pid dev:inode …".
        """
        status = os.fstat(self.fd)
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        lines = map(str.split, Path("/proc/locks").read_text().splitlines())
        place = f"{device}:{status.st_ino}"
        return [int(words[4]) for words in lines if words[1] == "FLOCK" and words[5] == place]

    def close(self) -> None:
        """Release the lock. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def device_error(name: str, node: str, error: OSError) -> UspnetError:
    """Return the error for a device node that can't be opened or used."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermitted(
            f"{name}: no permission for {node}",
            f"run as root, or: sudo uspnet bind --owner $USER {name}",
        )
    if error.errno == errno.EBUSY:
        others = [user for user in users_of([node]) if user.pid != os.getpid()]
        who = ", ".join(map(str, others)) or "another process"
        return Busy(f"{name}: {node} is in use by {who}", f"end it, or see: fuser -v {node}")
    if error.errno in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return NoDevice(f"{name}: {node}: {error.strerror}", f"run: uspnet doctor {name}")
    return DeviceFault(f"{name}: {node}: {error.strerror}", f"run: uspnet doctor {name}")
