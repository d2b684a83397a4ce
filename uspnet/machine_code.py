# SPDX-License-Identifier: Apache-2.0
"""Memory for machine code made at run time: executable, and never writable once it is mapped.

The code is written into a memfd by a system call; then the file is sealed, so that no process can
map it for writing or change it, and is mapped to be read and executed. A worker process maps the
same file at the same address before its sandbox closes (Mapping, process.c).
"""

from __future__ import annotations

import fcntl
import os

from uspnet.fastpath import lib
from uspnet.mapping import Mapping
from uspnet.memory import SEALS, pages_for

F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, since Linux 5.1: writes, and maps for writing
FLAGS = lib.MEMORY_READ_ONLY | lib.MEMORY_EXECUTABLE


class MachineCode(Mapping):
    """Code that C may call at its first byte until it is closed. Raises OSError."""

    def __init__(self, name: str, code: bytes) -> None:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, pages_for(len(code)))
            if os.pwrite(fd, code, 0) != len(code):
                raise OSError
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS | F_SEAL_FUTURE_WRITE)
        except OSError:
            os.close(fd)
            raise
        super().__init__(fd, pages_for(len(code)), flags=FLAGS)
        if lib.code_add(self.base):
            super().close()
            raise OSError

    def close(self) -> None:
        """Unmap and close. Nothing may run the code after this."""
        lib.code_remove(self.base)
        super().close()


def machine_code(name: str, code: bytes) -> MachineCode | None:
    """Return memory with this code; None where the kernel forbids that (SELinux's execmem, no
    memfd), or enough such memory exists: then what the code does is to be done in another way.
    """
    try:
        return MachineCode(name, code)
    except OSError:
        return None
