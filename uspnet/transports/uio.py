# SPDX-License-Identifier: Apache-2.0
"""A function accessed by its resource files in sysfs, without IOMMU and VFIO.

DANGER: nothing limits the device's access to memory. A wrong address in a descriptor, by a bug in
uspnet or in the device, overwrites the kernel's memory or another process's. After this process was
killed, the device goes on writing to memory that others use by then. So it is used only if the
user asks for it, by `transport=uio`; use VFIO wherever there is an IOMMU.
"""

from __future__ import annotations

import contextlib
import errno
import os

from uspnet.errors import Busy, NoDevice, NotPermitted, NotSupported, UspnetError
from uspnet.memory import SharedMemory
from uspnet.pci.config import config_of, set_command
from uspnet.pci.functions import current_driver, folder
from uspnet.pci.sysfs import HOST
from uspnet.transports import Transport
from uspnet.transports.mapped import FunctionLock, MappedBar
from uspnet.transports.physical import DANGER, contiguous

FREE = {None, "uio_pci_generic", "igb_uio"}  # drivers that do not use the function


class Uio(Transport):
    """A function that no kernel driver uses."""

    danger = DANGER
    found = "as it was, but for bus mastering, which is off"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.folder = folder(address)
        self.bars: dict[int, MappedBar] = {}
        self.config = -1
        self.enabled = False  # by us: the kernel counts who has enabled it
        self.lock = FunctionLock(address)
        try:
            self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, UspnetError):
                raise self._error("config", error) from None
            raise

    def _open(self) -> None:
        driver = current_driver(HOST, self.name)
        if driver not in FREE:
            raise Busy(
                f"{self.name} belongs to the kernel driver {driver}",
                f"run: uspnet bind --driver uio_pci_generic {self.name}",
            )
        self.config = os.open(HOST.path(f"{self.folder}/config"), os.O_RDWR | os.O_CLOEXEC)
        self.before = config_of(self).COMMAND.read()
        if not driver:
            HOST.write(f"{self.folder}/enable", "1")
            self.enabled = True
        set_command(self, BUS_MASTER=0, MEMORY=1, INTX_DISABLE=1)

    def _error(self, file: str, error: OSError) -> UspnetError:
        if error.errno in {errno.EACCES, errno.EPERM}:
            return NotPermitted(
                f"{self.name}: no permission for {HOST.path(self.folder)}/{file}",
                "run as root; where Secure Boot has locked the kernel down, only VFIO works",
            )
        return NoDevice(f"{self.name}: {file}: {error.strerror}", "see: uspnet devices")

    def reach(self, memory: SharedMemory) -> int:
        """Return the memory's physical address, which the device uses."""
        return contiguous(memory, self.name)

    def read_config(self, offset: int, size: int) -> int:
        """Read through the `config` file in sysfs. A function that is gone reads as all ones."""
        with contextlib.suppress(OSError):
            data = os.pread(self.config, size, offset)
            if len(data) == size:
                return int.from_bytes(data, "little")
        return int(256**size) - 1

    def write_config(self, offset: int, value: int, size: int) -> None:
        """Write through the `config` file in sysfs, unless the function is gone."""
        with contextlib.suppress(OSError):
            os.pwrite(self.config, value.to_bytes(size, "little"), offset)

    def map_bar(self, number: int) -> MappedBar:
        """Map the BAR's `resourceN` file in sysfs, once."""
        if number not in self.bars:
            file = f"resource{number}"
            try:
                fd = os.open(HOST.path(f"{self.folder}/{file}"), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotSupported(f"{self.name} has no BAR {number}") from None
            except OSError as error:
                raise self._error(file, error) from None
            try:
                self.bars[number] = MappedBar(self.name, fd, 0, os.fstat(fd).st_size)
            except OSError as error:
                raise self._error(file, error) from None
            finally:
                os.close(fd)
        return self.bars[number]

    def reset(self) -> None:
        """Reset the function by the method that the kernel chooses, if it has one and we may."""
        with contextlib.suppress(OSError):
            if HOST.exists(f"{self.folder}/reset"):
                HOST.write(f"{self.folder}/reset", "1")

    def close(self) -> None:
        """Clear Bus Master Enable, and release the function as it was: a kernel driver that finds
        it enabled by us would not switch its interrupt line on again.
        """
        if self.config >= 0:
            was = self.before
            set_command(self, BUS_MASTER=0, MEMORY=was.MEMORY, INTX_DISABLE=was.INTX_DISABLE)
            if self.enabled:
                with contextlib.suppress(OSError):
                    HOST.write(f"{self.folder}/enable", "0")
                self.enabled = False
            os.close(self.config)
            self.config = -1
        for bar in self.bars.values():
            bar.close()
        self.bars = {}
        self.lock.close()
