# SPDX-License-Identifier: Apache-2.0
"""NIC drivers, one file a family. The folder is the registry."""

from __future__ import annotations

from functools import cache

from uspnet import registry
from uspnet.nic.base import NICS, AnyNic


@cache
def nics() -> dict[tuple[int, int], type[AnyNic]]:
    """Return every driver by PCI vendor and device: those of this folder, and of `uspnet.drivers`
    entry points.
    """
    registry.load("uspnet.drivers")
    return NICS
