# SPDX-License-Identifier: Apache-2.0
"""VFIO by group and container, since Linux 3.6; also its no-IOMMU mode.

The order of calls is that of the kernel's Documentation/driver-api/vfio.rst, "VFIO Usage Example".
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from uspnet.errors import Busy, NotSupported
from uspnet.memory import SharedMemory
from uspnet.pci.functions import GROUP_DRIVERS, current_driver, folder, group_node
from uspnet.pci.sysfs import HOST
from uspnet.system import kept
from uspnet.transports import Transport
from uspnet.transports.dma_space import DmaSpace
from uspnet.transports.mapped import device_error
from uspnet.transports.physical import DANGER, contiguous
from uspnet.transports.vfio import Vfio, call, io

CONTAINER = "dev/vfio/vfio"
# VFIO_GET_API_VERSION and so on
GET_API_VERSION, CHECK_EXTENSION, SET_IOMMU = io(100), io(101), io(102)
GROUP_STATUS, SET_CONTAINER, GET_DEVICE_FD = io(103), io(104), io(106)
MAP_DMA, UNMAP_DMA = io(113), io(114)
TYPE1V2, NOIOMMU = 3, 8  # VFIO_TYPE1v2_IOMMU, VFIO_NOIOMMU_IOMMU
API_VERSION = 0
HELD = "VFIO container"  # its name over a cold upgrade
VIABLE = 1 << 0  # VFIO_GROUP_FLAGS_VIABLE
READ_WRITE = 1 << 0 | 1 << 1  # VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE


class Container(DmaSpace):
    """One container for all groups of this process."""

    type = TYPE1V2

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.groups: dict[str, list[int]] = {}  # node → its descriptor, and how many NICs use it
        self.fd = kept.take(HELD) if self.type == TYPE1V2 else -1
        if self.fd >= 0:
            return
        self.fd = os.open(HOST.path(CONTAINER), os.O_RDWR | os.O_CLOEXEC)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        """Check that the kernel has the interface, and an IOMMU driver of this type. Raises
        NotSupported.
        """
        version = fcntl.ioctl(self.fd, GET_API_VERSION)
        if version != API_VERSION:
            raise NotSupported(f"/{CONTAINER} has API version {version}, not {API_VERSION}")
        if not fcntl.ioctl(self.fd, CHECK_EXTENSION, self.type):
            module = (
                "vfio_iommu_type1" if self.type == TYPE1V2 else "vfio enable_unsafe_noiommu_mode=1"
            )
            raise NotSupported(
                f"/{CONTAINER} has no IOMMU driver of type {self.type}", f"modprobe {module}"
            )

    def enter(self, node: str) -> int:
        """Add a group. Returns its descriptor. Raises OSError, EXDEV if the group is not viable."""
        if node in self.groups:
            self.groups[node][1] += 1
            return self.groups[node][0]
        if (held := kept.take(node)) >= 0:  # in the container already
            self.groups[node] = [held, 1]
            return held
        fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        try:
            # struct vfio_group_status: flags
            if not call(fd, GROUP_STATUS, "I", 0)[0] & VIABLE:
                raise OSError(errno.EXDEV, "not viable")
            fcntl.ioctl(fd, SET_CONTAINER, bytearray(struct.pack("i", self.fd)))
            if not self.groups:
                fcntl.ioctl(self.fd, SET_IOMMU, self.type)
        except BaseException:
            os.close(fd)
            raise
        self.groups[node] = [fd, 1]
        return fd

    def exit(self, node: str) -> None:
        """Remove a group when its last NIC is closed."""
        entry = self.groups[node]
        entry[1] -= 1
        if not entry[1]:
            os.close(entry[0])
            del self.groups[node]

    def map_range(self, virtual: int, address: int, size: int) -> None:
        """Map one range by a struct vfio_iommu_type1_dma_map: flags, vaddr, iova, size."""
        call(self.fd, MAP_DMA, "IQQQ", READ_WRITE, virtual, address, size)

    def unmap_range(self, address: int, size: int) -> None:
        """Unmap by a struct vfio_iommu_type1_dma_unmap: flags, iova, size."""
        call(self.fd, UNMAP_DMA, "IQQ", 0, address, size)

    def close(self) -> None:
        """Close the container; its groups are closed already."""
        os.close(self.fd)


class BareContainer(Container):
    """One container for all groups without an IOMMU: as dangerous as `uio`."""

    type = NOIOMMU

    def place(self, memory: SharedMemory, wanted: int | None) -> int:
        """Return the memory's physical address: nothing translates it."""
        return contiguous(memory, "VFIO")

    def unmap_range(self, address: int, size: int) -> None:
        """Do nothing: nothing was mapped."""


class VfioGroup(Vfio):
    """A function opened through its group's node."""

    space: Container | None = None
    node = ""

    def open(self) -> None:
        """Open group, container, IOMMU and device: in that order."""
        name = group_node(HOST, self.name)
        if name is None:
            raise NotSupported(f"{self.name} has no IOMMU group", f"run: uspnet doctor {self.name}")
        node, bare = HOST.path(name), "noiommu-" in name
        try:
            self.space = BareContainer.join("bare") if bare else Container.join("vfio")
            self.danger = DANGER if bare else ""
            fd = self.space.enter(node)
            self.node = node
            self.fd = kept.take(f"{self.name} device")
            if self.fd < 0:
                self.fd = fcntl.ioctl(fd, GET_DEVICE_FD, bytearray(self.name.encode() + b"\0"))
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise self._not_viable() from None
            raise device_error(self.name, error.filename or node, error) from None

    def held(self) -> dict[str, int]:
        """Return container and group, too; without an IOMMU, nothing can be held."""
        if not self.space or self.danger:  # physical addresses are for privileged processes
            return Transport.held(self)
        group = self.space.groups[self.node][0]
        return {**super().held(), HELD: self.space.fd, self.node: group}

    def _not_viable(self) -> Busy:
        """Return the error that names the functions of the group that kernel drivers still have."""
        group = HOST.target(f"{folder(self.name)}/iommu_group")
        members = []
        for address in HOST.names(f"{folder(self.name)}/iommu_group/devices"):
            driver = current_driver(HOST, address)
            if driver and driver not in GROUP_DRIVERS:
                members.append(f"{address} ({driver})")
        return Busy(
            f"{self.name} shares IOMMU group {group} with {', '.join(members)}",
            "all of a group must be given up together: uspnet bind every one of them",
        )

    def leave(self) -> None:
        """Leave the group, then the container."""
        if self.space and self.node:
            self.space.exit(self.node)
        if self.space:
            self.space.leave()
        self.node, self.space = "", None
