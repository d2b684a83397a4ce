# SPDX-License-Identifier: Apache-2.0
"""PCI functions: their configuration space as registers, capabilities and BARs.

Sections are those of the PCI Local Bus Specification 3.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uspnet.errors import NotSupported
from uspnet.register import RO, RW, Registers
from uspnet.transports import Transport

NETWORK_CLASS = 0x02  # the upper byte of a class code: network controllers
CAPABILITIES_MAX = 48  # what fits behind the header; a longer list is a loop


class Config(Registers, bytes=256):
    """The type 0 configuration header."""

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


class ConfigWindow:
    """Configuration space as a `register.Window`."""

    size = 4096

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def read(self, offset: int, size: int) -> int:
        """The value at `offset`."""
        return self.transport.read_config(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """Stores `value` at `offset`."""
        self.transport.write_config(offset, value, size)


def config_of(transport: Transport) -> Config:
    """The configuration space of a function, as registers."""
    return Config(ConfigWindow(transport), transport.name)


@dataclass(frozen=True)
class Bar:
    """One memory BAR, in bytes."""

    number: int
    address: int
    size: int


def capabilities(transport: Transport) -> Iterator[tuple[int, int]]:
    """Pairs of a capability's id and offset (§6.7)."""
    config = config_of(transport)
    at = int(config.CAPABILITIES.read()) if config.STATUS.read().CAPABILITIES else 0
    for _ in range(CAPABILITIES_MAX):
        at -= at % 4
        if at < 0x40:
            return
        yield transport.read_config(at, 1), at
        at = transport.read_config(at + 1, 1)


def assign_bars(transport: Transport, free: int) -> dict[int, Bar]:
    """Places the memory BARs from `free` upward, as firmware would (§6.2.5.1)."""
    config = config_of(transport)
    bars: dict[int, Bar] = {}
    number = 0
    while number < config.BAR.row.count:
        register = config.BAR[number]
        register.write(config.BAR.row.ones)
        answer = register.read()
        wide = answer.TYPE == 2 and not answer.IO
        if answer and not answer.IO:
            if not answer.ADDRESS:
                raise NotSupported(f"{transport.name}: BAR {number} is larger than 2 GiB")
            size = 16 * (2**28 - answer.ADDRESS)
            address = -(-free // size) * size
            bars[number] = Bar(number, address, size)
            free = address + size
            register.write(address)
            if wide:
                config.BAR[number + 1].write(0)
        number += 2 if wide else 1
    config.COMMAND.update(MEMORY=1)
    return bars
