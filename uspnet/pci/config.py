# SPDX-License-Identifier: Apache-2.0
"""PCI functions: their configuration space as registers, capabilities and BARs.

Sections are those of the PCI Local Bus Specification 3.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from uspnet.errors import DeviceFault, NotSupported
from uspnet.register import RO, RW, Registers

NETWORK_CLASS = 0x02  # the upper byte of a class code: network controllers
CAPABILITIES_MAX = 48  # as many as fit after the header; a longer list is a loop


class Config(Registers, bytes=256):
    """Type 0 configuration header."""

    VENDOR = RO(0x00, "Vendor ID, §6.2.1", width=16)
    DEVICE = RO(0x02, "Device ID, §6.2.1", width=16)
    COMMAND = RW(0x04, "Command, §6.2.2", width=16, IO=0, MEMORY=1, BUS_MASTER=2, INTX_DISABLE=10)
    STATUS = RW(0x06, "Status, §6.2.3", width=16, INTX=3, CAPABILITIES=4)
    REVISION = RO(0x08, "Revision ID, §6.2.1", width=8)
    CLASS = RO(0x0A, "Base class and subclass, §6.2.1", width=16)
    BAR = RW(0x10, "Base Address, §6.2.5", count=6, stride=4, IO=0, TYPE=(1, 2), ADDRESS=(4, 31))
    SUBVENDOR = RO(0x2C, "Subsystem Vendor ID, §6.2.4", width=16)
    SUBDEVICE = RO(0x2E, "Subsystem ID, §6.2.4", width=16)
    CAPABILITIES = RO(0x34, "Capabilities Pointer, §6.7", width=8)


class ConfigAccess(Protocol):
    """Access to a function's configuration space; every transport gives it. `name`: the function's,
    for messages.
    """

    name: str

    def read_config(self, offset: int, size: int) -> int:
        """Return the value at `offset`; `size` is 1, 2 or 4 bytes."""
        ...

    def write_config(self, offset: int, value: int, size: int) -> None:
        """Store `value` at `offset`; `size` is 1, 2 or 4 bytes."""
        ...


class ConfigWindow:
    """Configuration space as a `register.Window`."""

    size = 4096

    def __init__(self, function: ConfigAccess) -> None:
        self.function = function

    def read(self, offset: int, size: int) -> int:
        """Return the value at `offset`."""
        return self.function.read_config(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """Store `value` at `offset`."""
        self.function.write_config(offset, value, size)


def config_of(function: ConfigAccess) -> Config:
    """Return the configuration space of a function, as registers."""
    return Config(ConfigWindow(function), function.name)


def set_command(function: ConfigAccess, **fields: int) -> None:
    """Set fields of the Command register and keep the others. A function that is gone, which reads
    as all ones, is no error: closing it must go on.
    """
    command = config_of(function).COMMAND
    command.write(command.read(), **fields)


@dataclass(frozen=True)
class Snapshot:
    """What identifies a function, and the BARs that a reset clears."""

    ids: tuple[int, int]
    bars: tuple[int, ...]

    @classmethod
    def of(cls, function: ConfigAccess) -> Snapshot:
        """Read both. Raises DeviceFault when the function is gone."""
        config = config_of(function)
        ids = int(config.VENDOR.read_checked()), int(config.DEVICE.read())
        bars = (config.BAR[number].read() for number in range(config.BAR.row.count))
        return cls(ids, tuple(map(int, bars)))

    def restore(self, function: ConfigAccess) -> None:
        """Write the BARs again, and have the function answer there. Raises DeviceFault when it is
        gone, or is another one.
        """
        now = Snapshot.of(function)
        if now.ids != self.ids:
            text = f"{function.name}: another device has taken its place"
            raise DeviceFault(text, "see: uspnet devices")
        config = config_of(function)
        for number, (is_now, was) in enumerate(zip(now.bars, self.bars, strict=True)):
            if is_now != was:
                config.BAR[number].write(was)
        config.COMMAND.update(MEMORY=1)


@dataclass(frozen=True)
class Bar:
    """One memory BAR, in bytes."""

    number: int
    address: int
    size: int


def capabilities(function: ConfigAccess) -> Iterator[tuple[int, int]]:
    """Yield the id and the offset of each capability (§6.7)."""
    config = config_of(function)
    at = int(config.CAPABILITIES.read()) if config.STATUS.read().CAPABILITIES else 0
    for _ in range(CAPABILITIES_MAX):
        at -= at % 4
        if at < 0x40:
            return
        yield function.read_config(at, 1), at
        at = function.read_config(at + 1, 1)


def assign_bars(function: ConfigAccess, free: int) -> dict[int, Bar]:
    """Place the memory BARs from the address `free` upward, as firmware would (§6.2.5.1). Raises
    NotSupported for a BAR larger than 2 GiB.
    """
    config = config_of(function)
    bars: dict[int, Bar] = {}
    number = 0
    while number < config.BAR.row.count:
        register = config.BAR[number]
        register.write(config.BAR.row.ones)
        answer = register.read()
        wide = answer.TYPE == 2 and not answer.IO
        if wide and number + 1 == config.BAR.row.count:
            raise NotSupported(f"{function.name}: BAR {number} has 64 bits, and is the last one")
        if answer and not answer.IO:
            if not answer.ADDRESS:
                raise NotSupported(f"{function.name}: BAR {number} is larger than 2 GiB")
            size = 16 * (2**28 - answer.ADDRESS)
            address = -(-free // size) * size
            if address + size > 1 << 32:
                raise NotSupported(f"{function.name}: there is no room for BAR {number}")
            bars[number] = Bar(number, address, size)
            free = address + size
            register.write(address)
            if wide:
                config.BAR[number + 1].write(0)
        number += 2 if wide else 1
    config.COMMAND.update(MEMORY=1)
    return bars
