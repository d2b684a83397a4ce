# SPDX-License-Identifier: Apache-2.0
"""How a driver accesses its device: seven verbs, the same on every transport.

read_config, write_config   the function's PCI configuration space
map_bar                     registers in one of its memory BARs
alloc_dma                   memory for rings, which the device can read and write
irq                         descriptors that become ready on its interrupts
reset                       return the function to its power-on state
close                       undo all of it

`attach` gives the device access to the pool's memory; it must come before `alloc_dma`.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

from uspnet.errors import NotSupported, UspnetError
from uspnet.fastpath import c
from uspnet.memory import SharedMemory
from uspnet.pci.config import set_command
from uspnet.pool import Pool
from uspnet.system.kept import ANEW


@dataclass(frozen=True)
class Dma:
    """Memory shared with the device: `pointer` (`uint8_t *`) is its address in this process,
    `address` its address to the device, `size` is in bytes.
    """

    pointer: c.Pointer[int]
    address: int
    size: int


class BarWindow(ABC):
    """A mapped BAR: `register.Window`, and a doorbell for the C rings."""

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def read(self, offset: int, size: int) -> int:
        """Return the value at `offset`; `size` is 1, 2 or 4 bytes. Raises DeviceFault."""

    @abstractmethod
    def write(self, offset: int, value: int, size: int) -> None:
        """Store `value` at `offset`; `size` is 1, 2 or 4 bytes. Raises DeviceFault."""

    @abstractmethod
    def doorbell(self, offset: int, size: int = 4, *, sends: bool = False) -> c.DoorbellFields:
        """Return the fields of a `struct doorbell`, with which a C ring writes the register at
        `offset`. `sends`: the doorbell of a transmit ring.
        """


class Transport(ABC):
    """One open PCI function. `name`: its address or model, for messages. `danger`: a warning to
    show to the user. `found`: the state in which opening left it.
    """

    danger = ""
    found = "as it was"
    line_fd = -1  # INTx: an eventfd; a write to it unmasks the interrupt line

    def __init__(self, name: str) -> None:
        self.name = name
        self.dma_base = 0  # the device's address of the pool's first byte
        self.rings_base = 0  # and of the first byte of its memory for rings

    def attach(self, pool: Pool) -> None:
        """Give the device access to the pool's memories."""
        self.pool = pool
        self.dma_base, self.rings_base = ([*map(self.reach, pool.memories), 0])[:2]

    @abstractmethod
    def reach(self, memory: SharedMemory) -> int:
        """Give the device access to a memory. Returns the device's address of its first byte."""

    def alloc_dma(self, size: int) -> Dma:
        """Reserve `size` bytes for rings, aligned to a page and filled with a poison pattern.
        Raises NoMemory.
        """
        offset = self.pool.reserve(size)
        pointer = self.pool.memories[1].base + offset
        return Dma(pointer, self.rings_base + offset, size)

    @abstractmethod
    def read_config(self, offset: int, size: int) -> int:
        """Return the value at `offset` of configuration space; `size` is 1, 2 or 4 bytes."""

    @abstractmethod
    def write_config(self, offset: int, value: int, size: int) -> None:
        """Store `value` into configuration space; `size` is 1, 2 or 4 bytes."""

    @abstractmethod
    def map_bar(self, number: int) -> BarWindow:
        """Map memory BAR `number`. Raises NotSupported if there is none."""

    def irq(self, kind: str, count: int) -> list[int]:
        """Return descriptors of up to `count` interrupt vectors of a kind, "MSI-X" or "INTx". Empty
        if the transport has no interrupts: idle workers then poll with short sleeps.
        """
        return []

    def descriptors(self) -> list[int]:
        """Return the descriptors that rings need to ring doorbells and unmask interrupts."""
        return [self.line_fd] if self.line_fd >= 0 else []

    def held(self) -> dict[str, int]:
        """Return the descriptors with which another version goes on: see `Port.held`. Raises
        NotSupported.
        """
        text = f"{self.name}: its device can't be held while another version starts"
        raise NotSupported(text, ANEW)

    def check(self) -> None:
        """Raise DeviceFault if the device has tried an access that is not allowed."""

    def alert_fds(self) -> list[int]:
        """Return descriptors that are readable when `check` or `look` have something to say."""
        return []

    def look(self) -> None:
        """Raise DeviceFault after an error of the bus; the device has to be started again."""

    def is_wanted(self) -> bool:
        """Return whether the host asks for the function."""
        return False

    def release(self) -> None:
        """Give the function to the host if that asks for it; `reconnect` opens it again. The device
        is stopped, no worker runs, and none has it mapped afterwards.
        """

    def reconnect(self) -> None:
        """Make the function reachable again after a fault. Raises DeviceFault while it is not."""

    def quiet(self) -> None:
        """Clear Bus Master Enable: the function accesses no memory. Any thread may call it at any
        time; never raises.
        """
        with contextlib.suppress(UspnetError, OSError):
            set_command(self, BUS_MASTER=0)

    @abstractmethod
    def reset(self) -> None:
        """Reset the function if the bus can do that; the driver resets the rest itself. Raises
        DeviceFault.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the device. Also called when opening failed half-way."""
