# SPDX-License-Identifier: Apache-2.0
"""Memory accesses that the IOMMU blocked, as the kernel log reports them.

The lines are those of the kernel's drivers/iommu/intel/dmar.c and drivers/iommu/amd/iommu.c. A
kernel with dmesg_restrict shows its log only to root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from uspnet.pci.address import SHORT
from uspnet.system import kept

LOG = "/dev/kmsg"
RECORD = 8192  # bytes of the longest record, Documentation/ABI/testing/dev-kmsg
FUNCTION = rf"(?P<function>{SHORT})"
INTEL = re.compile(
    rf"DMAR: \[DMA (?P<way>Read|Write)[^\]]*\] Request device \[{FUNCTION}\].* "
    r"fault addr (?:0x)?(?P<at>[0-9a-f]+)"
)
AMD = re.compile(rf"{FUNCTION}.* address=0x(?P<at>[0-9a-f]+) flags=0x(?P<flags>[0-9a-f]+)")
AMD_WRITE = 1 << 5  # EVENT_FLAG_RW


@dataclass(frozen=True)
class Fault:
    """One access that the IOMMU blocked."""

    writes: bool
    address: int

    def __str__(self) -> str:
        return f"{'writing' if self.writes else 'reading'} address {self.address:#x}"


def fault(line: str, function: str) -> Fault | None:
    """Parse one line of the kernel log. Returns None unless it reports a fault of `function`,
    `0000:03:00.0`; the kernel leaves the domain out, so functions of another domain match too.
    """
    if match := INTEL.search(line):
        writes = match["way"] == "Write"
    elif "IO_PAGE_FAULT" in line and (match := AMD.search(line)):
        writes = bool(int(match["flags"], 16) & AMD_WRITE)
    else:
        return None
    if not function.endswith(f":{match['function']}"):
        return None
    return Fault(writes, int(match["at"], 16))


class FaultLog:
    """Reads the kernel log from now on, or all of it (`whole`). `readable`: false if this process
    may not read it; there are no faults then.
    """

    def __init__(self, function: str, *, path: str = LOG, whole: bool = False) -> None:
        self.function, self.fd = function, -1 if whole else kept.take(f"{function} log")
        try:
            if self.fd < 0:
                self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                if not whole:
                    os.lseek(self.fd, 0, os.SEEK_END)
        except OSError:
            self.close()
        self.readable = self.fd >= 0

    def new_faults(self) -> Iterator[Fault]:
        """Yield the faults since the last call."""
        while self.fd >= 0:
            try:
                text = os.read(self.fd, RECORD).decode(errors="replace")
            except BlockingIOError:
                return
            except BrokenPipeError:  # the record was overwritten before it was read
                continue
            except OSError:
                self.close()
                return
            if not text:
                return
            yield from filter(None, (fault(line, self.function) for line in text.splitlines()))

    def close(self) -> None:
        """Close the kernel log. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
