# SPDX-License-Identifier: Apache-2.0
"""Which transport reaches a PCI function, and why."""

from __future__ import annotations

import os

from uspnet.errors import Busy, NoDevice
from uspnet.transports import Transport
from uspnet.transports.mapped import DEVICES
from uspnet.transports.uio import Uio
from uspnet.transports.vfio_cdev import IOMMU, VfioCdev, cdev_node
from uspnet.transports.vfio_group import VfioGroup

TRANSPORTS: dict[str, type[Transport]] = {
    "vfio-cdev": VfioCdev,
    "vfio-group": VfioGroup,
    "uio": Uio,
}


def choose(address: str, wanted: str = "") -> tuple[str, str]:
    """The transport's name, and the reason for it. `uio` only when it is wanted."""
    folder = DEVICES / address
    if not folder.is_dir():
        raise NoDevice(f"{address}: no such PCI function", "see: uspnet devices")
    if wanted:
        return wanted, "asked for"
    link = folder / "driver"
    driver = link.resolve().name if link.exists() else ""
    if not driver.startswith("vfio"):
        raise Busy(
            f"{address} belongs to the kernel driver {driver}"
            if driver
            else f"{address} is not bound to vfio-pci",
            f"run: uspnet bind {address}",
        )
    if not cdev_node(address):
        return "vfio-group", "the kernel has no VFIO character devices"
    if not os.path.exists(IOMMU):
        return "vfio-group", f"the kernel has no {IOMMU}"
    if not os.access(IOMMU, os.R_OK | os.W_OK):
        return "vfio-group", f"{IOMMU} is not ours to open"
    return "vfio-cdev", f"the kernel has {IOMMU}"
