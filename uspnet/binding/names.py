# SPDX-License-Identifier: Apache-2.0
"""Names of PCI functions: addresses and interfaces that users type; models and drivers to show."""

from __future__ import annotations

import re

from uspnet.drivers import nics
from uspnet.errors import NoDevice, Usage
from uspnet.pci.address import full_address, is_full
from uspnet.pci.functions import Function, folder, function, missing
from uspnet.pci.sysfs import Tree
from uspnet.ports.registry import interface_ports

ID_FILES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")


def resolve(tree: Tree, text: str) -> str:
    """Return the full address of `0000:03:00.0`, `03:00.0` or `eth0`. Raises Usage, NoDevice."""
    if address := full_address(text):
        if not tree.exists(folder(address)):
            raise missing(address)
        return address
    if text in {"", ".", ".."}:
        raise Usage(f"no NIC is named: {text!r}", "name one: 0000:03:00.0, 03:00.0 or eth0")
    if "/" in text or not tree.exists(f"sys/class/net/{text}"):
        raise NoDevice(
            f"{text!r} is neither a PCI address nor a network interface",
            "an address is 0000:03:00.0 or 03:00.0; see: uspnet devices",
        )
    for part in reversed(tree.real(f"sys/class/net/{text}/device").split("/")):
        if is_full(part):
            if function(tree, part).is_network:
                return part
            break  # a USB adapter: its nearest PCI function is the USB controller
    raise Usage(
        f"{text} is not on a PCI network card, so there is nothing to bind",
        f"use it as a port without binding: {interface_ports(text)}",
    )


def model(tree: Tree, found: Function) -> str:
    """Return the function's name from the machine's PCI id list; else its driver or its ids."""
    line = rf"^{found.vendor:04x}  (.+)\n(?:[\t#].*\n)*?\t{found.device:04x}  (.+)$"
    for name in ID_FILES:
        if match := re.search(line, tree.text(name) or "", re.MULTILINE):
            return " ".join(part.strip() for part in match.groups())
    return nic_driver(found.vendor, found.device) or found.ids


def nic_driver(vendor: int, device: int) -> str | None:
    """Return the name of uspnet's driver for a NIC with these ids; None if it has none."""
    kind = nics().get((vendor, device))
    return kind.__name__.lower() if kind else None
