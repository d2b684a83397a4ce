# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of PCI NICs: what keeps one from being driven, and how to fix it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import Literal

from uspnet.binding import holders
from uspnet.binding.bind import NOIOMMU, Snapshot, inspect
from uspnet.binding.machine import Machine
from uspnet.binding.names import model, nic_driver, resolve
from uspnet.pci.functions import DRIVERS, Function, check_nic, folder, function, group_node
from uspnet.pci.sysfs import Tree
from uspnet.ports.registry import interface_ports
from uspnet.transports.faults import FaultLog

State = Literal["ok", "note", "problem"]
Row = tuple[str, State, str, str]  # what was checked, its state, what was found, the fix


def machine_rows(tree: Tree) -> Iterator[Row]:
    """Check what every NIC of the machine needs. Other kinds of ports need none of it."""
    yield _iommu(tree)
    yield _module(tree)
    yield _character_device(tree)
    yield _lockdown(tree)


def nic_rows(machine: Machine, text: str) -> Iterator[Row]:
    """Check one NIC. Raises Usage, NoDevice, Refused."""
    tree = machine.tree
    found = function(tree, resolve(tree, text))
    check_nic(found)
    name = nic_driver(found.vendor, found.device)
    if not name:
        text = f"uspnet has no driver for {found.ids} ({model(tree, found)})"
        fix = f"use the kernel's: {interface_ports((*found.interfaces, 'NAME')[0])}"
        yield ("driver", "problem", text, fix)
        return
    yield ("driver", "ok", f"{model(tree, found)}: uspnet's {name}", "")
    yield from _group(tree, found)
    yield _reset(found)
    yield _faults(tree, found.address)
    yield from _binding(machine, inspect(machine), found)


def _iommu(tree: Tree) -> Row:
    units = tree.names("sys/class/iommu")
    if units:
        return ("IOMMU", "ok", ", ".join(units), "")
    if tree.text(NOIOMMU) in {"Y", "1"}:
        text = "none, and VFIO's unsafe no-IOMMU mode is on: a card can write anywhere in memory"
        return ("IOMMU", "note", text, "")
    line = (tree.text("proc/cmdline") or "").split()
    off = [word for word in line if word in {"iommu=off", "intel_iommu=off", "amd_iommu=off"}]
    if off:
        text = f"switched off by {off[0]} on the kernel's command line"
        return (
            "IOMMU",
            "problem",
            text,
            f"take {off[0]} out of /etc/default/grub; update-grub; reboot",
        )
    if tree.exists("sys/firmware/acpi/tables/DMAR"):
        fix = "add intel_iommu=on iommu=pt in /etc/default/grub; update-grub; reboot"
        return ("IOMMU", "problem", "the firmware offers it, the kernel does not use it", fix)
    if tree.exists("sys/firmware/acpi/tables/IVRS"):
        fix = "add amd_iommu=on iommu=pt in /etc/default/grub; update-grub; reboot"
        return ("IOMMU", "problem", "the firmware offers it, the kernel does not use it", fix)
    fix = "switch VT-d or AMD-Vi on in the firmware; a virtual machine needs a virtual IOMMU"
    return ("IOMMU", "problem", "the firmware offers none", fix)


def _module(tree: Tree) -> Row:
    if tree.exists(f"{DRIVERS}/vfio-pci"):
        return ("vfio-pci", "ok", "loaded", "")
    modules = f"lib/modules/{platform.release()}"
    for name in ("modules.dep", "modules.builtin"):
        if any("/vfio-pci.ko" in line.split(":")[0] for line in tree.lines(f"{modules}/{name}")):
            return ("vfio-pci", "ok", "not loaded yet; bind loads it", "")
    text = "this kernel has no vfio-pci"
    return ("vfio-pci", "problem", text, "apt-get install linux-image-amd64; reboot")


def _character_device(tree: Tree) -> Row:
    if tree.exists("dev/iommu"):
        if os.access(tree.path("dev/iommu"), os.R_OK | os.W_OK):
            return ("/dev/iommu", "ok", "VFIO's character devices can be used", "")
        text = "no permission: VFIO groups are used instead"
        return (
            "/dev/iommu",
            "note",
            text,
            "not needed; give your group access: sudo chgrp GROUP /dev/iommu",
        )
    text = "this kernel has no VFIO character devices: VFIO groups are used instead"
    fix = "not needed; a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV has them"
    return ("/dev/iommu", "note", text, fix)


def _lockdown(tree: Tree) -> Row:
    mode = tree.text("sys/kernel/security/lockdown") or "[none]"
    if "[none]" in mode:
        return ("lockdown", "ok", "off", "")
    text = (
        f"{mode.partition('[')[2].partition(']')[0]} (Secure Boot): only vfio-pci with IOMMU works"
    )
    return ("lockdown", "note", text, "uio needs Secure Boot switched off in the firmware")


def _group(tree: Tree, found: Function) -> Iterator[Row]:
    if found.group is None:
        yield ("IOMMU group", "problem", f"{found.address} is in none", "see the IOMMU above")
        return
    regions = tree.lines(f"sys/kernel/iommu_groups/{found.group}/reserved_regions")
    if any(line.split()[-1:] == ["direct"] for line in regions):
        text = "the firmware reserves memory for the card (RMRR), so the kernel keeps it"
        fix = "switch the card's remote management or legacy support off in the firmware"
        yield ("reserved memory", "problem", text, fix)
    others = ", ".join(found.members)
    yield ("IOMMU group", "ok", f"{found.group}{f' with {others}' if others else ''}", "")


def _faults(tree: Tree, address: str) -> Row:
    log = FaultLog(address, path=tree.path("dev/kmsg"), whole=True)
    faults = list(log.new_faults())
    log.close()
    if not log.readable:
        fix = "sudo dmesg | grep -e DMAR -e AMD-Vi"
        return ("IOMMU faults", "note", "reading the kernel log needs root", fix)
    if not faults:
        return ("IOMMU faults", "ok", "none in the kernel log", "")
    text = f"{len(faults)} accesses were blocked, the last one {faults[-1]}"
    return ("IOMMU faults", "note", text, "dmesg | grep -e DMAR -e AMD-Vi")


def _reset(found: Function) -> Row:
    if found.reset_methods:
        return ("reset", "ok", ", ".join(found.reset_methods), "")
    return ("reset", "note", "the kernel has no method to reset this function alone", "")


def _binding(machine: Machine, snapshot: Snapshot, found: Function) -> Iterator[Row]:
    address = found.address
    users = holders.users_of_device(machine.tree, found)
    for user in users:
        yield ("user", "problem", f"{user} drives it", f"kill {user.pid}")
    for reason in snapshot.reasons(found):
        if reason.blocks and not (users and reason.name == "process"):
            if found.in_user_space and reason.name != "group":
                continue
            fix = reason.hint or f"uspnet bind {address} --allow {reason.name} --confirm 60"
            yield (reason.name, "problem", str(reason), fix)
    if not found.in_user_space:
        yield (
            "binding",
            "problem",
            f"bound to {found.driver or 'no driver'}",
            f"uspnet bind {address}",
        )
        return
    yield ("binding", "ok", f"bound to {found.driver}", "")
    if found.driver == "vfio-pci":
        node = group_node(machine.tree, address) or "dev/vfio"
        if found.group is None or not machine.tree.exists(node):
            fix = f"uspnet unbind {address}; uspnet bind {address}"
            yield ("device node", "problem", f"/{node} is missing", fix)
        elif not os.access(machine.tree.path(node), os.R_OK | os.W_OK):
            fix = f"sudo uspnet unbind {address}; sudo uspnet bind {address} --owner $USER"
            yield ("device node", "problem", f"/{node} can't be opened: no permission", fix)
        else:
            yield ("device node", "ok", f"/{node}", "")
    yield from _saved_state(machine, folder(address), address)


def _saved_state(machine: Machine, where: str, address: str) -> Iterator[Row]:
    if not machine.tree.exists(where) or machine.store.load(address) is not None:
        return
    text = "bound by another tool: uspnet can't give its interface back as it was"
    yield ("saved state", "note", text, f"uspnet unbind {address} --allow unsaved")
