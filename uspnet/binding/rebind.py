# SPDX-License-Identifier: Apache-2.0
"""Moving one PCI function from a kernel driver to another, and back: the writes to sysfs.

Every write can fail, and the device can vanish at any time. `give_back` undoes `take` from the
current state, whatever was done before, so that it also works after a crash.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from uspnet.errors import DeviceFault, LeftUnbound, NoDevice, NotSupported
from uspnet.pci.functions import (
    DEVICES,
    DRIVERS,
    PROBE,
    current_driver,
    folder,
    override_of,
)
from uspnet.pci.sysfs import Tree
from uspnet.system import children

PROBE_S = 3.0  # drivers may probe asynchronously
Modprobe = Callable[[Tree, str], None]


def modprobe(tree: Tree, driver: str) -> None:
    """Load a kernel module and its dependencies. The kernel has no call for that which knows of
    dependencies, so this runs the program that the kernel itself would run. Raises NotSupported.
    """
    hint = "see: uspnet doctor"
    program = tree.text("proc/sys/kernel/modprobe")
    if not program or not os.access(program, os.X_OK):
        raise NotSupported(f"module {driver} is not loaded, and there is no modprobe", hint)
    done = subprocess.run(  # noqa: S603 - an absolute path from the kernel, no shell
        [program, "-q", driver],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        cwd="/",
        env=children.environment(),
        check=False,
    )
    if done.returncode:
        why = done.stderr.strip() or "modprobe found none"
        raise NotSupported(f"kernel module {driver} can't be loaded: {why}", hint)


def load(tree: Tree, driver: str, run: Modprobe = modprobe) -> None:
    """Load a driver unless it is loaded. Raises NotSupported."""
    if tree.exists(f"{DRIVERS}/{driver}"):
        return
    run(tree, driver)
    if not tree.exists(f"{DRIVERS}/{driver}"):
        raise NotSupported(f"this kernel has no driver {driver}", "see: uspnet doctor")


def take(tree: Tree, address: str, driver: str) -> None:
    """Bind the function to a driver. Raises NoDevice, DeviceFault; the caller then undoes it."""
    _write(tree, address, f"{folder(address)}/driver_override", driver)
    if current_driver(tree, address):
        _write(tree, address, f"{folder(address)}/driver/unbind", address)
    _write(tree, address, PROBE, address)
    if not _wait(tree, address, driver):
        found = current_driver(tree, address) or "no driver"
        _check_present(tree, address)
        raise DeviceFault(f"{driver} did not bind to {address}: {found} did", "see: dmesg | tail")


def give_back(tree: Tree, address: str, driver: str | None, override: str | None) -> None:
    """Bind the function to its previous driver again. Raises NoDevice, LeftUnbound.

    The previous override may name another driver: it was written while the driver held the function
    already. Such a one is written last, because it keeps the driver from binding again.
    """
    where, problems = f"{folder(address)}/driver_override", list[str]()
    binding = driver is not None and current_driver(tree, address) != driver
    meanwhile = driver if binding and override is not None else override

    def attempt(path: str, text: str) -> None:
        try:
            _write(tree, address, path, text)
        except DeviceFault as error:
            problems.append(error.message)

    if override_of(tree, address) != meanwhile:
        attempt(where, meanwhile or "\n")
    now = current_driver(tree, address)
    if now not in (None, driver):
        attempt(f"{folder(address)}/driver/unbind", address)
    if driver is not None and current_driver(tree, address) is None:
        attempt(PROBE, address)
        if not _wait(tree, address, driver):
            attempt(f"{DRIVERS}/{driver}/bind", address)
    if meanwhile != override:
        attempt(where, override or "\n")
    _check_present(tree, address)
    if not _wait(tree, address, driver) or override_of(tree, address) != override:
        _raise_left(tree, address, driver, problems)


def release(tree: Tree, address: str) -> None:
    """Let the kernel choose a driver, as for a new device. Raises NoDevice, LeftUnbound."""
    try:
        _write(tree, address, f"{folder(address)}/driver_override", "\n")
        if current_driver(tree, address):
            _write(tree, address, f"{folder(address)}/driver/unbind", address)
        _write(tree, address, PROBE, address)
    except DeviceFault as error:
        raise LeftUnbound(
            f"{address} is {_state(tree, address)}: {error.message}", _retry_command(address)
        ) from None


def _raise_left(tree: Tree, address: str, driver: str | None, problems: list[str]) -> None:
    state = _state(tree, address)
    if current_driver(tree, address) == driver:
        state = f"left with driver_override {override_of(tree, address)!r}"
    why = "; ".join(problems) or "no write failed, but the driver did not bind to it"
    raise LeftUnbound(
        f"{address} is {state}: {driver or 'no driver'} could not be given back ({why})",
        f"try again: uspnet unbind {address}; or: {_retry_command(address)}",
    )


def _state(tree: Tree, address: str) -> str:
    now = current_driver(tree, address)
    return f"LEFT WITH {now}" if now else "LEFT UNBOUND"


def _retry_command(address: str) -> str:
    return f"echo > /{DEVICES}/{address}/driver_override; echo {address} > /{PROBE}"


def _wait(tree: Tree, address: str, driver: str | None) -> bool:
    """Wait until the function has this driver. Returns False if it has another, or in time."""
    end = time.monotonic() + PROBE_S
    while (now := current_driver(tree, address)) != driver:
        if now is not None or driver is None or time.monotonic() > end:
            return False
        if not tree.exists(folder(address)):
            return False
        time.sleep(0.02)
    return True


def _write(tree: Tree, address: str, path: str, text: str) -> None:
    try:
        tree.write(path, text)
    except OSError as error:
        _check_present(tree, address)
        raise DeviceFault(
            f"writing {text.strip() or 'nothing'} to /{path} failed: {error.strerror}",
            "see: dmesg | tail",
        ) from None


def _check_present(tree: Tree, address: str) -> None:
    if not tree.exists(folder(address)):
        raise NoDevice(
            f"{address} was removed meanwhile: there is nothing to bind or give back",
            "when it is back, the kernel binds its own driver",
        )
