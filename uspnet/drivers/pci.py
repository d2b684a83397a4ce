# SPDX-License-Identifier: Apache-2.0
"""`0000:03:00.0` - a NIC in a PCI slot, taken from the kernel by `uspnet bind`."""

from __future__ import annotations

import re
from typing import ClassVar

from uspnet.errors import Usage
from uspnet.nic import NICS, NicPort
from uspnet.spec import Option, Spec, choice
from uspnet.transports import Transport
from uspnet.transports.choose import TRANSPORTS, choose

ADDRESS = re.compile(r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$")


class Pci(NicPort, scheme="pci"):
    """Reaches the NIC by VFIO, or as `transport=` says."""

    help = "NIC in a PCI slot"
    options: ClassVar[dict[str, Option]] = {
        "transport": Option(choice(*TRANSPORTS), "", "how to reach it: " + ", ".join(TRANSPORTS)),
    }

    def known_options(self) -> dict[str, Option]:
        """Its own, and those of every NIC: which one it is shows when it is opened."""
        drivers = [nic.known_options() for nic in NICS.values()]
        return {
            name: option for known in [*drivers, self.options] for name, option in known.items()
        }

    def __init__(self, spec: Spec) -> None:
        if not ADDRESS.match(spec.target):
            raise Usage(f"{spec}: not a PCI address", "such as 0000:03:00.0 or 03:00.0")
        super().__init__(spec)

    def connect(self) -> Transport:
        """The function, opened."""
        name, why = choose(self.spec.target, self.values["transport"])
        transport = TRANSPORTS[name](self.spec.target)
        self.how, self.danger = f"by {name}: {why}", transport.danger
        return transport
