# SPDX-License-Identifier: Apache-2.0
"""regs: a device's registers by name, from its driver's tables.

Reading has no side effects: no driver opens the device, nothing in it is written or reset, no
memory is shared with it. The result says what opening the function did (VFIO resets it). Registers
that reading clears are read only if they are named in full; semaphores, which reading takes, never.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Self

from uspnet.answer import Answer
from uspnet.drivers import nics
from uspnet.errors import NotSupported, Usage
from uspnet.port import Port
from uspnet.ports.nic import NicPort
from uspnet.ports.qemu import models
from uspnet.register import Register, Value
from uspnet.spec import parse

WHY = {  # not read, by access
    "WO": "write only",
    "RC": "not read: reading clears it",
    "RS": "not read: reading takes it",
}


@dataclass(frozen=True, kw_only=True)
class RegisterRow:
    """A register."""

    name: str
    """Its name in the datasheet, with an index in an array."""
    table: str
    """The register table that it is in."""
    offset: int
    """Its offset in that table's memory, in bytes."""
    bits: int
    """Its width."""
    access: str
    """How it may be accessed: `RO`, `RW`, `WO`, `RC` (clear on read), `RS` (set on read), …"""
    title: str
    """Its title in the datasheet."""
    value: int | None
    """Its value; null: not read."""
    fields: dict[str, int]
    """Its fields' values; empty when it was not read."""


@dataclass(frozen=True, kw_only=True)
class RegistersAnswer(Answer):
    """A device's registers."""

    port: str
    """The port spec."""
    driver: str
    """The NIC driver."""
    device: str
    """The device's name."""
    how: str
    """The transport to the device, and why that one."""
    found: str
    """The state that the device was found in."""
    registers: tuple[RegisterRow, ...]
    """The registers that were asked for, in the tables' order."""


@dataclass(frozen=True)
class Sample:
    """A register's value at one moment; None if it was not read."""

    register: Register
    value: Value | None

    @property
    def why(self) -> str:
        """Why it was not read."""
        return "" if self.value is not None else WHY[self.register.row.access]

    def row(self) -> RegisterRow:
        """Return the row for `--json`."""
        row = self.register.row
        return RegisterRow(
            name=self.register.name,
            table=type(self.register.table).__name__,
            offset=self.register.offset,
            bits=row.width,
            access=row.access,
            title=row.title,
            value=None if self.value is None else int(self.value),
            fields={} if self.value is None else self.value.fields(),
        )


class Registers:
    """The chosen registers of a port's device; all of them without `names`. A context manager."""

    def __init__(self, port: Port, names: Sequence[str]) -> None:
        if not isinstance(port, NicPort):
            raise NotSupported(
                f"{port.name} has no registers", "name a NIC: 0000:03:00.0, or qemu:e1000e"
            )
        self.port, self.names = port, names

    def __enter__(self) -> Self:
        try:
            self.nic = self.port.find()
            every = [each for table in self.nic.tables() for each in table.in_window()]
            self.chosen = choose(every, self.names)
        except BaseException:
            self.port.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.port.close()

    def sample(self) -> list[Sample]:
        """Read the registers that may be read. Raises DeviceFault if the device is gone."""
        self.port.poll_health()
        self.nic.config.VENDOR.read_checked()
        return [Sample(each, each.read() if read else None) for each, read in self.chosen]

    def answer(self, samples: list[Sample]) -> RegistersAnswer:
        """Return the answer for `--json`."""
        return RegistersAnswer(
            command="regs",
            port=self.port.name,
            driver=self.port.kind,
            device=self.nic.title,
            how=self.port.how,
            found=self.nic.transport.found,
            registers=tuple(each.row() for each in samples),
        )


def choose(every: list[Register], names: Sequence[str]) -> list[tuple[Register, bool]]:
    """Return registers by name (`CTRL`, an array's `RDT` or `RDT[0]`, or a pattern such as `R*`),
    in any case, in the tables' order; and whether to read each. Raises Usage for a name that
    matches none.
    """
    wanted = [name.upper() for name in names]
    full = {name for each in every for name in (each.name, each.row.name)}
    for given, name in zip(names, wanted, strict=True):
        if not any(_matches(each, name) for each in every):
            close = get_close_matches(name, full, n=5)
            hint = f"perhaps {', '.join(close)}" if close else "without a name: all of them"
            raise Usage(f"no register is called {given}", hint)
    chosen = []
    for each in every:
        named = not {each.name, each.row.name}.isdisjoint(wanted)
        if named or any(_matches(each, name) for name in wanted or ("*",)):
            look = each.row.read_policy
            chosen.append((each, look == "always" or (look == "named" and named)))
    return [pair for pair in chosen if not pair[0].row.alias or names]


def _matches(register: Register, name: str) -> bool:
    """Return whether a register's name matches; brackets are an index, not a set of characters."""
    pattern = name.replace("[", "[[]")
    return any(fnmatchcase(each, pattern) for each in (register.name, register.row.name))


def known_names(spec: str) -> set[str]:
    """Return the names of the registers of a port's model; of every NIC if it is not known."""
    kinds = list(nics().values())
    with contextlib.suppress(Usage):
        parsed = parse(spec)
        if parsed.scheme == "qemu" and parsed.target in models():
            kinds = [models()[parsed.target]]
    return {name for kind in kinds for name in kind.registers.rows}
