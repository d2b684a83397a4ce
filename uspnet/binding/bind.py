# SPDX-License-Identifier: Apache-2.0
"""`bind`: check, save, take. Afterwards all functions are bound, or none has changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from uspnet.binding import guardian, holders, owner, persist, rebind, rollback
from uspnet.binding.collect import collect
from uspnet.binding.machine import Machine, check_privilege, signals_blocked
from uspnet.binding.names import resolve
from uspnet.binding.netstate import Message, NetState
from uspnet.binding.safety import BLOCKING, Candidate, Reason, check, peers_to_look_up
from uspnet.binding.saved import Saved, boot_id
from uspnet.errors import LeftUnbound, NotSupported, Refused, Usage, UspnetError
from uspnet.pci.functions import PROBE, Function, check_nic, folder, function
from uspnet.pci.sysfs import Tree

DRIVERS = ("vfio-pci", "uio_pci_generic")
NOIOMMU = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


@dataclass(frozen=True)
class BindRequest:
    """What the user asks for, besides the addresses."""

    allow: frozenset[str] = frozenset()
    driver: str | None = None
    persist: bool = False
    owner: str | None = None
    confirm_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """What bind would do with one function, and the reasons against it."""

    function: Function
    driver: str
    reasons: tuple[Reason, ...]
    network: Message
    already: bool = False
    obstacle: UspnetError | None = None  # why it is not possible, safe or not

    @property
    def address(self) -> str:
        """The function's address."""
        return self.function.address

    def blocking(self, allow: frozenset[str]) -> list[Reason]:
        """Return the blocking reasons that `allow` does not override."""
        return [reason for reason in self.reasons if reason.blocks and reason.name not in allow]

    def steps(self) -> list[str]:
        """Return the steps of binding it, for --dry-run."""
        if self.already:
            return ["nothing: it is bound already"]
        where = f"/{folder(self.address)}"
        old = self.function.driver
        return [
            f"save its state in /var/lib/uspnet/{self.address}.json",
            f"write {self.driver} to {where}/driver_override",
            *([f"write {self.address} to {where}/driver/unbind (leaves {old})"] if old else []),
            f"write {self.address} to /{PROBE}",
            f"check that it is bound to {self.driver}",
        ]


class InUse(Refused):
    """A reason blocks binding. `plans` hold every reason, for --json."""

    kind = "Refused"

    def __init__(self, reasons: Sequence[str], hint: str, plans: Sequence[Plan]) -> None:
        super().__init__("in use, not bound:", hint, reasons)
        self.plans = plans


@dataclass(frozen=True)
class Snapshot:
    """The state of the whole machine at one moment, to judge several functions by. `logins`: the
    addresses that login sessions come from.
    """

    tree: Tree
    net: NetState
    logins: tuple[str, ...]

    def reasons(self, found: Function, together: frozenset[str] = frozenset()) -> list[Reason]:
        """Return every reason against binding; `together`: the functions of the same request."""
        return check(Candidate(self.tree, self.net, found, together, self.logins))


def inspect(machine: Machine) -> Snapshot:
    """Read the state of the machine."""
    tree = machine.tree
    logins = tuple(holders.ssh_peers(tree, machine.environ, machine.pid))
    return Snapshot(tree, machine.network.snapshot(peers_to_look_up(tree, logins)), logins)


def plan(machine: Machine, texts: Sequence[str], request: BindRequest) -> list[Plan]:
    """Plan what `bind` would do. Raises Usage, NoDevice, Refused."""
    unknown = sorted(request.allow - BLOCKING.keys())
    if unknown:
        raise Usage(f"--allow {unknown[0]}: no such reason", f"reasons: {', '.join(BLOCKING)}")
    driver, tree = choose_driver(request.driver), machine.tree
    functions = [
        function(tree, address) for address in dict.fromkeys(resolve(tree, t) for t in texts)
    ]
    for found in functions:
        check_nic(found)
    snapshot, together = inspect(machine), frozenset(found.address for found in functions)
    plans = []
    for found in functions:
        reasons = tuple(snapshot.reasons(found, together))
        network = collect(snapshot.net, tree, found.interfaces)
        already, obstacle = found.driver == driver, unprotected(tree, found, driver)
        plans.append(Plan(found, driver, reasons, network, already, obstacle))
    bound = [item.address for item in plans if item.already]
    if bound and request.confirm_s is not None:
        raise Usage(
            f"--confirm: {', '.join(bound)} is bound already, and would stay bound",
            f"give it back now: uspnet unbind {' '.join(bound)}; or leave it out, or --confirm",
        )
    return plans


def choose_driver(wanted: str | None) -> str:
    """Return the driver to bind to: vfio-pci unless `wanted` names another. Raises Usage."""
    driver = wanted or DRIVERS[0]
    if driver not in DRIVERS:
        looks = "it looks like a device: is the address before it? " if ":" in driver else ""
        raise Usage(f"--driver {driver}: no such driver", f"{looks}drivers: {', '.join(DRIVERS)}")
    return driver


def unprotected(tree: Tree, found: Function, driver: str) -> NotSupported | None:
    """Return the error for a function without an IOMMU group, to which vfio-pci can't be bound;
    None if it can, or if the machine's unsafe no-IOMMU mode is on.
    """
    if driver != "vfio-pci" or found.group is not None or tree.text(NOIOMMU) in {"Y", "1"}:
        return None
    return NotSupported(
        f"{found.address} has no IOMMU group, so vfio-pci can't protect the memory from it",
        f"switch the IOMMU on, see: uspnet doctor {found.address}; or, if the card may write "
        "anywhere in memory: --driver uio_pci_generic",
    )


def bind(machine: Machine, texts: Sequence[str], request: BindRequest) -> list[Plan]:
    """Bind all of the functions, or none. Raises Refused with every reason; what `plan` raises;
    DeviceFault after rolling back; LeftUnbound if that failed too.
    """
    check_privilege(machine.tree)
    if request.confirm_s is not None and request.persist:
        raise Usage(
            "--persist would take effect without --confirm if the machine reboots meanwhile",
            "confirm first (--keep), then: uspnet bind --persist",
        )
    if request.owner is not None:
        owner.find(request.owner)
        if request.driver == "uio_pci_generic":
            raise NotSupported(
                "uio needs root: only root may read physical addresses", "use vfio-pci"
            )
    with machine.store.lock():
        plans = plan(machine, texts, request)
        refuse(plans, request.allow)
        if request.owner is not None and any(item.function.group is None for item in plans):
            hint = "switch the IOMMU on, see: uspnet doctor"
            raise NotSupported("without an IOMMU only root may drive a NIC", hint)
        todo = [item for item in plans if not item.already]
        for item in todo:
            rebind.load(machine.tree, item.driver, machine.modprobe)
        with signals_blocked():
            _take_all(machine, plans, todo, request)
    return plans


def refuse(plans: Sequence[Plan], allow: frozenset[str]) -> None:
    """Raise InUse if a reason blocks; the message has every reason with its name and chain. Raises
    NotSupported if binding is safe but not possible.
    """
    blocked = [(item, item.blocking(allow)) for item in plans]
    blocked = [(item, reasons) for item, reasons in blocked if reasons and not item.already]
    if not blocked:
        for item in plans:
            if item.obstacle and not item.already:
                raise item.obstacle
        return
    lines = [f"  {p.address} [{reason.name}] {reason}" for p, found in blocked for reason in found]
    names = sorted({reason.name for _, reasons in blocked for reason in reasons})
    hints = sorted({reason.hint for _, reasons in blocked for reason in reasons if reason.hint})
    hints.append(f"to bind all the same: --allow {','.join(names)} (and --confirm 60)")
    raise InUse(lines, "; ".join(hints), plans)


def save(machine: Machine, item: Plan, before: rollback.Before) -> Saved:
    """Save a function's state. Returns it. A state that a bind of this boot saved is kept: it has
    more than can be read now.
    """
    found = item.function
    if before.kept and before.saved:
        state = replace(before.saved, target=item.driver)
    else:
        state = Saved(
            item.address,
            found.driver,
            found.override,
            item.driver,
            boot_id(machine.tree),
            time.time(),
            item.network,
        )
    machine.store.put(state)
    return state


def _take_all(
    machine: Machine, plans: Sequence[Plan], todo: Sequence[Plan], request: BindRequest
) -> None:
    changed = plans if request.persist else todo  # also the saved state of what is bound already
    marks = {item.address: rollback.look(machine, item.function) for item in changed}
    saved: dict[str, Saved] = {}
    touched: list[str] = []
    addresses = [item.address for item in todo]
    try:
        for item in todo:
            saved[item.address] = save(machine, item, marks[item.address])
        if request.confirm_s is not None and todo:
            guardian.start(machine, addresses, request.confirm_s)
        for item in todo:
            touched.append(item.address)
            rebind.take(machine.tree, item.address, item.driver)
        for item in plans:
            if request.owner is not None:
                owner.hand_over(machine.tree, item.address, request.owner)
            if request.persist:
                persist.write(machine, item.address, item.driver)
        if request.confirm_s is not None:
            guardian.set_deadline(machine, addresses, request.confirm_s)
    except (UspnetError, OSError) as error:
        lost = rollback.undo(machine, list(marks.values()), touched, saved)
        _report_failure(error, lost, rollback.done(list(marks.values()), touched))


def _report_failure(error: Exception, lost: list[UspnetError], done: str) -> None:
    message = error.message if isinstance(error, UspnetError) else str(error)
    unbound = [item for item in lost if isinstance(item, LeftUnbound)]
    if unbound:
        text = "; ".join(item.message for item in unbound)
        raise LeftUnbound(f"{message}; rolling back failed too: {text}", unbound[0].hint) from None
    text = "; ".join([message, *(item.message for item in lost if item.message != message), done])
    kind = type(error) if isinstance(error, UspnetError) else UspnetError
    raise kind(text, getattr(error, "hint", "")) from None
