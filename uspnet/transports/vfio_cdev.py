# SPDX-License-Identifier: Apache-2.0
"""VFIO by character device and iommufd: since Linux 6.6, if the kernel was built with both.

The order of calls is that of the kernel's Documentation/driver-api/vfio.rst, "VFIO Device cdev".
"""

from __future__ import annotations

import os

from uspnet.errors import NotPermitted, NotSupported
from uspnet.pci.functions import vfio_node
from uspnet.pci.sysfs import HOST
from uspnet.system import kept
from uspnet.transports.dma_space import DmaSpace
from uspnet.transports.mapped import device_error
from uspnet.transports.vfio import Vfio, call, io

IOMMU = "dev/iommu"
BIND, ATTACH = io(118), io(119)  # VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_ATTACH_IOMMUFD_PT
IOAS_ALLOC, IOAS_MAP, IOAS_UNMAP = io(0x81), io(0x85), io(0x86)  # IOMMU_…
HELD = "iommufd"  # its name over a cold upgrade
MAP_FLAGS = 1 << 0 | 1 << 1 | 1 << 2  # IOMMU_IOAS_MAP_FIXED_IOVA, …WRITEABLE, …READABLE


class Ioas(DmaSpace):
    """One I/O address space for all devices of this process."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        held = kept.take(HELD)
        self.fd = held if held >= 0 else os.open(HOST.path(IOMMU), os.O_RDWR | os.O_CLOEXEC)
        try:
            # struct iommu_ioas_alloc: flags, out_ioas_id
            self.id = call(self.fd, IOAS_ALLOC, "II", 0, 0)[1]
        except OSError:
            self.close()
            raise

    def map_range(self, virtual: int, address: int, size: int) -> None:
        """Map one range by a struct iommu_ioas_map: flags, ioas_id, reserved, user_va, length,
        iova.
        """
        call(self.fd, IOAS_MAP, "IIIQQQ", MAP_FLAGS, self.id, 0, virtual, size, address)

    def unmap_range(self, address: int, size: int) -> None:
        """Unmap by a struct iommu_ioas_unmap: ioas_id, iova, length."""
        call(self.fd, IOAS_UNMAP, "IQQ", self.id, address, size)

    def close(self) -> None:
        """Close the descriptor; the kernel then frees the space."""
        os.close(self.fd)


class VfioCdev(Vfio):
    """A function opened by its own node, /dev/vfio/devices/vfioN."""

    space: Ioas | None = None

    def open(self) -> None:
        """Open device and iommufd, bind, attach: in that order."""
        name = vfio_node(HOST, self.name)
        node, iommu = HOST.path(name or ""), HOST.path(IOMMU)
        if not name or not os.path.exists(node):
            raise NotSupported(
                f"{self.name} has no VFIO character device",
                "bind it to vfio-pci, on a kernel with CONFIG_VFIO_DEVICE_CDEV",
            )
        at = node
        try:
            self.fd = held = kept.take(f"{self.name} device")
            if held < 0:
                self.fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
            at = iommu
            self.space = space = Ioas.join("vfio-cdev")
            at = node
            # struct vfio_device_bind_iommufd: flags, iommufd, out_devid
            if held < 0:
                call(self.fd, BIND, "IiI", 0, space.fd, 0)
            # struct vfio_device_attach_iommufd_pt: flags, pt_id; in place of the one it has
            call(self.fd, ATTACH, "II", 0, space.id)
        except PermissionError as error:
            if at != iommu:
                raise device_error(self.name, at, error) from None
            raise NotPermitted(
                f"{self.name}: no permission for {iommu}",
                f"omit transport=; or, as root, give your group access: chgrp GROUP {iommu}",
            ) from None
        except OSError as error:
            raise device_error(self.name, at, error) from None

    def held(self) -> dict[str, int]:
        """Return the descriptor of the address spaces, too."""
        return {**super().held(), **({HELD: self.space.fd} if self.space else {})}

    def leave(self) -> None:
        """Leave the address space; closing the device has detached it."""
        if self.space:
            self.space.leave()
        self.space = None
