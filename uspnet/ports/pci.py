# SPDX-License-Identifier: Apache-2.0
"""`0000:03:00.0` - a NIC in a PCI slot, taken from the kernel by `uspnet bind`."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.drivers import nics
from uspnet.errors import NoDevice, Usage
from uspnet.pci.address import is_full
from uspnet.pci.config import NETWORK_CLASS
from uspnet.pci.functions import class_of, ids_of, scan
from uspnet.pci.sysfs import HOST
from uspnet.ports.nic import NicPort
from uspnet.spec import Option, Options, Spec, choice, option
from uspnet.transports import Transport
from uspnet.transports.choose import TRANSPORTS, choose


@dataclass(frozen=True)
class PciOptions(Options):
    """The port's own options."""

    transport: str = option(choice(*TRANSPORTS), "", "how to reach it: " + ", ".join(TRANSPORTS))


class Pci(NicPort, scheme="pci"):
    """A NIC opened by VFIO, or as `transport=` says."""

    help = "NIC in a PCI slot"
    calls = frozenset({"write"})  # unmasks INTx
    options = PciOptions()

    @classmethod
    def targets(cls) -> list[str]:
        """Return the addresses of the machine's NICs."""
        return [found.address for found in scan(HOST)]

    def known_options(self) -> dict[str, Option]:
        """Return the port's own options and those of the NIC in the slot; those of every NIC if the
        slot has none that is known.
        """
        nic = nics().get(ids_of(HOST, self.spec.target))
        known: dict[str, Option] = {}
        for each in [nic] if nic else nics().values():
            known |= each.options.known()
        return known | self.options.known()

    def __init__(self, spec: Spec) -> None:
        if not is_full(spec.target):
            raise Usage(f"{spec}: not a PCI address", "such as 0000:03:00.0 or 03:00.0")
        super().__init__(spec)

    def connect(self) -> Transport:
        """Open the function. Raises NoDevice for one that is not a NIC, Busy, NotPermitted,
        NotSupported.
        """
        kind = class_of(HOST, self.spec.target)
        if kind is not None and kind >> 16 != NETWORK_CLASS:
            what = f"{self.spec.target} is not a network card (class {kind:06x})"
            raise NoDevice(what, "see: uspnet devices")
        name, why = choose(self.spec.target, self.options.transport)
        transport = TRANSPORTS[name](self.spec.target)
        self.how, self.danger = f"by {name}: {why}", transport.danger
        return transport
