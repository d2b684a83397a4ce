# SPDX-License-Identifier: Apache-2.0
"""`unbind`: restores a NIC: driver, interface name, MTU, MAC, addresses, routes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from uspnet.binding import holders, persist, rebind
from uspnet.binding.collect import pair_up
from uspnet.binding.machine import Machine, check_privilege, signals_blocked
from uspnet.binding.names import resolve
from uspnet.binding.saved import Saved, boot_id
from uspnet.errors import Busy, DeviceFault, NoDevice, Refused, Usage, UspnetError
from uspnet.pci.functions import check_nic, current_driver, function, interfaces_of

INTERFACE_S = 10.0  # a driver may load firmware before its interface appears
UDEV_S = 3.0  # udev may rename it after that
UNSAVED = "unsaved"  # the reason that --allow takes


@dataclass(frozen=True)
class Outcome:
    """What became of one function."""

    address: str
    """Its PCI address."""
    driver: str | None
    """The kernel driver that it has now; null: none."""
    interfaces: tuple[str, ...]
    """Its network interfaces now."""
    text: str
    """What was done, for people."""


def unbind(
    machine: Machine,
    texts: Sequence[str],
    *,
    everything: bool = False,
    allow: frozenset[str] = frozenset(),
) -> list[Outcome]:
    """Give functions back to the kernel; `everything`: all that have a saved state. Tries each.
    Raises the first error at the end, with the messages of the others.
    """
    check_privilege(machine.tree)
    if allow - {UNSAVED}:
        raise Usage(f"--allow {min(allow - {UNSAVED})}: no such reason", f"reasons: {UNSAVED}")
    outcomes, errors = [], []
    with machine.store.lock():
        names = list(texts) or (machine.store.addresses() if everything else [])
        for name in names:
            try:
                address = resolve(machine.tree, name)
                with signals_blocked():
                    outcomes.append(_unbind_one(machine, address, allow))
            except UspnetError as error:
                errors.append(error)
    if errors:
        first, *others = [line for error in errors for line in error.lines]
        done = [f"{outcome.address}: {outcome.text}" for outcome in outcomes]
        raise type(errors[0])(first, errors[0].hint, [*others, *done])
    return outcomes


def _unbind_one(machine: Machine, address: str, allow: frozenset[str]) -> Outcome:
    tree, store = machine.tree, machine.store
    found = function(tree, address)
    check_nic(found)
    if users := holders.users_of_device(tree, found):
        pids = " ".join(str(user.pid) for user in users)
        raise Busy(f"{address}: {users[0]} drives it", f"end it first: kill {pids}")
    saved = store.load(address) if UNSAVED not in allow else None
    if saved is None:
        return _unbind_unsaved(machine, address, allow)
    if saved.boot != boot_id(tree) and found.driver == saved.driver:
        persist.take_back(tree, saved)
        store.drop(address)
        text = "a reboot has already given it back"
        return Outcome(address, found.driver, found.interfaces, text)
    problems = give_back(machine, saved)
    now = function(tree, address)
    if problems:
        raise DeviceFault(
            f"{address}: bound to {now.driver}, but not all was restored: {'; '.join(problems)}",
            f"try again: uspnet unbind {address}",
        )
    names = f" as {', '.join(now.interfaces)}" if now.interfaces else ""
    return Outcome(
        address, now.driver, now.interfaces, f"bound to {now.driver or 'no driver'}{names}"
    )


def _unbind_unsaved(machine: Machine, address: str, allow: frozenset[str]) -> Outcome:
    tree = machine.tree
    found = function(tree, address)
    unfinished = found.driver is None and UNSAVED in allow
    if not found.in_user_space and found.override is None and not unfinished:
        return Outcome(address, found.driver, found.interfaces, "it was not bound")
    if UNSAVED not in allow:
        raise Refused(
            f"{address} was not bound by uspnet ({found.driver or 'no driver'}): nothing was saved",
            f"let the kernel choose a driver: uspnet unbind {address} --allow {UNSAVED}",
        )
    rebind.release(tree, address)
    machine.store.drop(address)
    now = function(tree, address)
    return Outcome(address, now.driver, now.interfaces, f"the kernel chose {now.driver or 'none'}")


def give_back(machine: Machine, saved: Saved) -> list[str]:
    """Restore what was saved, then remove the saved state. Returns what failed; the saved state
    then stays. Raises NoDevice, LeftUnbound.
    """
    if problems := restore(machine, saved):
        return problems
    try:
        persist.take_back(machine.tree, saved)
        machine.store.drop(saved.address)
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]
    return []


def restore(machine: Machine, saved: Saved) -> list[str]:
    """Restore the driver, then the interface's configuration. Returns what failed. Raises NoDevice,
    LeftUnbound.
    """
    tree = machine.tree
    if saved.driver and saved.boot != boot_id(tree):
        with suppress(UspnetError):  # rebind.give_back reports what is missing
            rebind.load(tree, saved.driver, machine.modprobe)
    rebind.give_back(tree, saved.address, saved.driver, saved.override)
    return _network_back(machine, saved)


def _network_back(machine: Machine, saved: Saved) -> list[str]:
    tree = machine.tree
    own = saved.network.get("own", [])
    if not own or _never_left(machine, saved):
        return []
    current = _wait_for_interfaces(machine, saved.address, own)
    pairs = pair_up(saved.network, tree, current)
    return machine.network.apply(saved.network, pairs, time.time() - saved.saved_at)


def _never_left(machine: Machine, saved: Saved) -> bool:
    """Return whether the interfaces are still those that were saved, so that nothing was lost."""
    indices = {name: index for index, name in saved.network["names"].items()}
    return saved.boot == boot_id(machine.tree) and all(
        machine.tree.text(f"sys/class/net/{name}/ifindex") == indices.get(name)
        for name in saved.network["own"]
    )


def _wait_for_interfaces(machine: Machine, address: str, own: list[str]) -> tuple[str, ...]:
    """Return the function's interfaces when all of them exist and udev has named them."""
    tree, end = machine.tree, time.monotonic() + INTERFACE_S
    while len(names := interfaces_of(tree, address)) < len(own) and time.monotonic() < end:
        time.sleep(0.05)
    end = time.monotonic() + UDEV_S
    while tree.exists("run/udev/control") and set(names) != set(own) and time.monotonic() < end:
        indices = [tree.text(f"sys/class/net/{name}/ifindex") for name in names]
        if all(tree.exists(f"run/udev/data/n{index}") for index in indices):
            break
        time.sleep(0.05)
        names = interfaces_of(tree, address)
    return names


def keep(machine: Machine, texts: Sequence[str]) -> list[Outcome]:
    """Confirm binds that would be undone otherwise: their guardian finds no deadline and ends."""
    check_privilege(machine.tree)
    outcomes = []
    with machine.store.lock():
        for text in texts or machine.store.addresses():
            address = resolve(machine.tree, text)
            saved = machine.store.load(address)
            if saved is None:
                raise NoDevice(f"{address} is not bound by uspnet", "see: uspnet devices")
            was = saved.deadline is not None
            machine.store.put(replace(saved, deadline=None, guardian=None))
            driver = current_driver(machine.tree, address)
            outcomes.append(Outcome(address, driver, (), "kept" if was else "already kept"))
    return outcomes
