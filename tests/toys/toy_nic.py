# SPDX-License-Identifier: Apache-2.0
"""A further NIC for the tests: the 82545EM, an 82540EM under another id."""

from __future__ import annotations

from typing import ClassVar

from uspnet.drivers.e1000 import E1000
from uspnet.nic.base import Model


class Toy(E1000, ids={(0x8086, 0x100F): "82545EM"}, ring="intel_legacy"):
    """The 82545EM."""

    models: ClassVar[dict[str, Model]] = {
        "e1000-82545em": Model("e1000-82545em", rx_delay_s=1.1, kernel_module="e1000")
    }
