# SPDX-License-Identifier: Apache-2.0
"""Choosing a transport for a PCI function."""

from __future__ import annotations

import os

from uspnet.errors import Busy
from uspnet.pci.functions import current_driver, folder, missing, vfio_node
from uspnet.pci.sysfs import HOST
from uspnet.transports import Transport
from uspnet.transports.uio import Uio
from uspnet.transports.vfio_cdev import IOMMU, VfioCdev
from uspnet.transports.vfio_group import VfioGroup

TRANSPORTS: dict[str, type[Transport]] = {
    "vfio-cdev": VfioCdev,
    "vfio-group": VfioGroup,
    "uio": Uio,
}


def choose(address: str, wanted: str = "") -> tuple[str, str]:
    """Return the transport's name and the reason for it; `uio` only if it is `wanted`. Raises
    NoDevice, Busy.
    """
    if not HOST.exists(folder(address)):
        raise missing(address)
    if wanted:
        return wanted, "asked for"
    driver = current_driver(HOST, address)
    if not driver or not driver.startswith("vfio"):
        raise Busy(
            f"{address} belongs to the kernel driver {driver}"
            if driver
            else f"{address} is not bound to vfio-pci",
            f"run: uspnet bind {address}",
        )
    node = vfio_node(HOST, address)
    if not node or not HOST.exists(node):
        return "vfio-group", "the kernel has no VFIO character devices"
    if not HOST.exists(IOMMU):
        return "vfio-group", f"the kernel has no /{IOMMU}"
    if not os.access(HOST.path(IOMMU), os.R_OK | os.W_OK):
        return "vfio-group", f"no permission for /{IOMMU}"
    return "vfio-cdev", f"the kernel has /{IOMMU}"
