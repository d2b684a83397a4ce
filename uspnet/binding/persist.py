# SPDX-License-Identifier: Apache-2.0
"""Binding at every boot, as driverctl does: /etc/driverctl.d/pci-ADDRESS has the driver's name, and
driverctl's udev rule and systemd unit act on it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from uspnet.pci.sysfs import Tree

if TYPE_CHECKING:
    from uspnet.binding.machine import Machine
    from uspnet.binding.saved import Saved

FOLDER = "etc/driverctl.d"
PROGRAMS = ("usr/sbin/driverctl", "sbin/driverctl", "usr/bin/driverctl")


def path_of(address: str) -> str:
    """Return the name of driverctl's file for a function."""
    return f"{FOLDER}/pci-{address}"


def is_installed(tree: Tree) -> bool:
    """Return whether driverctl is installed, which acts on the file."""
    return any(tree.exists(name) for name in PROGRAMS)


def write(machine: Machine, address: str, driver: str) -> None:
    """Make the binding permanent; save the previous contents of the file."""
    tree, store = machine.tree, machine.store
    saved = store.load(address)
    if saved and not saved.persisted:
        before = tree.text(path_of(address))
        store.put(replace(saved, persisted=True, persisted_before=before))
    _put(tree, address, driver)


def take_back(tree: Tree, saved: Saved) -> None:
    """Restore driverctl's file."""
    if not saved.persisted:
        return
    put_back(tree, saved.address, saved.persisted_before)


def put_back(tree: Tree, address: str, before: str | None) -> None:
    """Have driverctl's file hold what it held before; None: there was none."""
    if before is None:
        with suppress(FileNotFoundError):
            os.unlink(tree.path(path_of(address)))
    elif tree.text(path_of(address)) != before:
        _put(tree, address, before)


def _put(tree: Tree, address: str, driver: str) -> None:
    os.makedirs(tree.path(FOLDER), exist_ok=True)
    new = tree.path(f"{FOLDER}/.{address}.new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(f"{driver}\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, tree.path(path_of(address)))
