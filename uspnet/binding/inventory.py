# SPDX-License-Identifier: Apache-2.0
"""The table of `uspnet devices`: every NIC, and in one word whether it is free."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from uspnet.answer import Answer
from uspnet.binding import holders
from uspnet.binding.bind import Snapshot, inspect
from uspnet.binding.machine import Machine
from uspnet.binding.names import model, nic_driver, resolve
from uspnet.binding.safety import Reason, ReasonRow
from uspnet.errors import Malformed
from uspnet.pci.functions import Function, check_nic, function, scan

State = Literal["free", "bound", "in use", "shared"]


@dataclass(frozen=True)
class Nic:
    """One NIC."""

    address: str
    """Its PCI address."""
    ids: str
    """Its vendor and device id, hexadecimal."""
    model: str
    """Its name in the PCI id database."""
    numa: int | None
    """Its NUMA node; null: none."""
    kernel_driver: str | None
    """The kernel driver that has it; null: none."""
    interfaces: tuple[str, ...]
    """Its network interfaces."""
    addresses: tuple[str, ...]
    """The IP addresses of these, with prefix lengths."""
    xdp: str | None
    """The fastest mode of `xdp:` on the first of them: `zero-copy`, `copy` or `generic`; null: it
    has none, or the kernel is older than 6.3."""
    iommu_group: str | None
    """Its IOMMU group; null: none."""
    group_members: tuple[str, ...]
    """The other functions in that group."""
    uspnet_driver: str | None
    """The driver in uspnet that drives it; null: none."""
    state: State
    """`free`, `bound` to user space, `in use`, or `shared` with a function that is in use."""
    why: str
    """Why it is in that state, for people; may be empty."""
    reasons: tuple[ReasonRow, ...]
    """What speaks against binding it."""


@dataclass(frozen=True, kw_only=True)
class DevicesAnswer(Answer):
    """The NICs of this machine."""

    devices: tuple[Nic, ...]
    """Every NIC, or those that were named."""


def inventory(machine: Machine, texts: Sequence[str] = ()) -> list[Nic]:
    """Return every network function, or those that are named. Raises Usage, NoDevice, Refused."""
    tree = machine.tree
    wanted = [function(tree, resolve(tree, text)) for text in texts] if texts else scan(tree)
    for found in wanted:
        check_nic(found)
    snapshot, modes = inspect(machine), machine.network.xdp()
    return [describe(machine, snapshot, modes, found) for found in wanted]


def describe(
    machine: Machine, snapshot: Snapshot, modes: Mapping[int, str], found: Function
) -> Nic:
    """Return the row of one function."""
    reasons = snapshot.reasons(found)
    state, why = classify(machine, found, reasons)
    numbers = {link.name: link.index for link in snapshot.net.links}
    indices = [numbers[name] for name in found.interfaces if name in numbers]
    return Nic(
        found.address,
        found.ids,
        model(machine.tree, found),
        found.numa,
        found.driver,
        found.interfaces,
        tuple(f"{a.address}/{a.prefix}" for a in snapshot.net.addresses if a.index in indices),
        next((modes[index] for index in indices if index in modes), None),
        found.group,
        found.members,
        nic_driver(found.vendor, found.device),
        state,
        why,
        tuple(reason.row() for reason in reasons),
    )


def classify(machine: Machine, found: Function, reasons: Sequence[Reason]) -> tuple[State, str]:
    """Return free, bound, in use or shared, and the reason."""
    if found.in_user_space:
        users = holders.users_of_device(machine.tree, found)
        return ("in use", f"{users[0]} drives it") if users else ("bound", _bound(machine, found))
    blocking = [reason for reason in reasons if reason.blocks]
    others = [reason for reason in blocking if reason.name != "group"]
    if others:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        return "in use", f"{others[0]}{more}"
    if blocking:
        return "shared", str(blocking[0])
    if found.driver is None and found.address in machine.store.addresses():
        return "free", f"left without driver: uspnet unbind {found.address}"
    return "free", "" if found.driver else "bound to no driver"


def _bound(machine: Machine, found: Function) -> str:
    try:
        saved = machine.store.load(found.address)
    except Malformed as error:
        return error.message
    except PermissionError:
        return "only root may read its saved state"
    if saved is None:
        return "not by uspnet"
    if saved.deadline is not None:
        left = saved.deadline - time.clock_gettime(time.CLOCK_BOOTTIME)
        return f"for {left:.0f} s more, unless: uspnet bind --keep {found.address}"
    names = ", ".join(saved.network.get("own", ()))
    return f"was {saved.driver or 'without driver'}{f' as {names}' if names else ''}"
