# SPDX-License-Identifier: Apache-2.0
"""Rolling a failed `bind` back: each function, its saved state and its file of driverctl become
what they were before, also where an earlier bind had made them so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from uspnet.binding import persist, unbind
from uspnet.binding.machine import Machine
from uspnet.binding.saved import Saved, boot_id
from uspnet.errors import DeviceFault, NoDevice, UspnetError
from uspnet.pci.functions import Function


@dataclass(frozen=True)
class Before:
    """What one function had before this bind."""

    function: Function
    saved: Saved | None
    lasting: str | None  # in driverctl's file
    kept: bool = False  # the saved state is of a bind of this boot, and knows more than we can read

    @property
    def address(self) -> str:
        """The function's address."""
        return self.function.address

    @property
    def unfinished(self) -> bool:
        """Whether an earlier bind or unbind was cut off in the middle."""
        return self.kept and not self.function.in_user_space

    def state(self, new: Saved) -> Saved:
        """Return what to restore, if the function was touched. `new`: what this bind has saved."""
        if not self.kept or self.saved is None:
            return new
        if self.unfinished:
            return self.saved
        found = self.function
        return replace(self.saved, driver=found.driver, override=found.override, network={})


def look(machine: Machine, found: Function) -> Before:
    """Return what the function has now. Raises Malformed, Refused."""
    old = machine.store.load(found.address)
    kept = old is not None and old.boot == boot_id(machine.tree) and _is_taken(old, found)
    return Before(found, old, machine.tree.text(persist.path_of(found.address)), kept)


def _is_taken(old: Saved, found: Function) -> bool:
    """Return whether the function is, wholly or in part, as the bind that saved `old` made it. One
    that was killed after its first write has changed nothing but the override.
    """
    return found.driver != old.driver or found.override == old.target != old.override


def undo(
    machine: Machine, marks: Sequence[Before], touched: Collection[str], saved: dict[str, Saved]
) -> list[UspnetError]:
    """Roll back, the last function first. `touched`: those whose driver may have changed; `saved`:
    what this bind has saved. Returns what could not be undone; what was saved of it then stays.
    """
    errors: list[UspnetError] = []
    for before in reversed(marks):
        address = before.address
        try:
            if address in touched:
                problems = unbind.restore(machine, before.state(saved[address]))
                if problems:
                    errors.append(DeviceFault(f"{address}: {'; '.join(problems)}"))
                    continue
            _files_back(machine, before, touched)
        except NoDevice as error:  # nothing to give back, and no state to keep
            machine.store.drop(address)
            errors.append(error)
        except UspnetError as error:
            errors.append(error)
        except OSError as error:
            errors.append(DeviceFault(f"{error.filename or address}: {error.strerror}"))
    return errors


def _files_back(machine: Machine, before: Before, touched: Collection[str]) -> None:
    tree, store, address = machine.tree, machine.store, before.address
    persist.put_back(tree, address, before.lasting)
    if before.unfinished and before.saved and address in touched:  # it is the kernel's again
        persist.take_back(tree, before.saved)
        store.drop(address)
    elif before.saved is None:
        store.drop(address)
    elif store.load(address) != before.saved:
        store.put(before.saved)


def done(marks: Sequence[Before], touched: Collection[str]) -> str:
    """Return what rolling back has done, for people."""
    changed = [before for before in marks if before.address in touched]
    same = [before.address for before in changed if not before.unfinished]
    parts = [f"{', '.join(same)} as before"] if same else []
    parts += [
        f"{before.address} given back to {before.saved.driver or 'no driver'}"
        for before in changed
        if before.unfinished and before.saved
    ]
    return f"rolled back: {', '.join(parts)}" if parts else "nothing was changed"
