# SPDX-License-Identifier: Apache-2.0
"""How a driver reaches its device: seven verbs, the same on every transport.

read_config, write_config   the function's PCI configuration space
map_bar                     a window on one of its memory BARs
alloc_dma                   memory that it can read and write, beside the job's packets
irq                         descriptors that become ready on its interrupts
reset                       puts the function back to its power-on state
close                       undoes all of it

`attach` hands over the pool, whose memory the device will use: it must come before `alloc_dma`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from uspnet.pool import Pool, SharedMemory


@dataclass(frozen=True)
class Dma:
    """Memory shared with the device: where we see it (`uint8_t *`), and where the device does."""

    pointer: Any
    address: int
    size: int


class BarWindow(ABC):
    """A mapped BAR: `register.Window`, and a doorbell for the C rings."""

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def read(self, offset: int, size: int) -> int:
        """The value at `offset`; `size` is 1, 2 or 4 bytes. Raises DeviceFault."""

    @abstractmethod
    def write(self, offset: int, value: int, size: int) -> None:
        """Stores `value` at `offset`; `size` is 1, 2 or 4 bytes. Raises DeviceFault."""

    @abstractmethod
    def doorbell(self, offset: int, size: int = 4, *, sends: bool = False) -> dict[str, Any]:
        """What a C ring needs to write the register at `offset`: a `struct doorbell`'s fields.
        `sends`: it is a transmit ring's.
        """


class Transport(ABC):
    """One PCI function, opened. `name` is for messages, `danger` what users must be told, `found`
    the state that opening it left it in.
    """

    danger = ""
    found = "as it was"
    line_fd = -1  # INTx: an eventfd; writing to it has the kernel let the next interrupt through

    def __init__(self, name: str) -> None:
        self.name = name
        self.dma_base = 0  # where the device sees the pool's first byte
        self.rings_base = 0  # and the first byte of its memory for rings

    def attach(self, pool: Pool) -> None:
        """Lets the device use the pool's memories."""
        self.pool = pool
        self.dma_base, self.rings_base = ([*map(self.reach, pool.memories), 0])[:2]

    @abstractmethod
    def reach(self, memory: SharedMemory) -> int:
        """Lets the device use a memory. Returns the address of its first byte to the device."""

    def alloc_dma(self, size: int) -> Dma:
        """`size` bytes for rings, aligned to a page and poisoned. Raises NoMemory."""
        offset = self.pool.reserve(size)
        pointer = self.pool.memories[1].base + offset
        return Dma(pointer, self.rings_base + offset, size)

    @abstractmethod
    def read_config(self, offset: int, size: int) -> int:
        """Configuration space at `offset`; `size` is 1, 2 or 4 bytes."""

    @abstractmethod
    def write_config(self, offset: int, value: int, size: int) -> None:
        """Stores `value` into configuration space."""

    @abstractmethod
    def map_bar(self, number: int) -> BarWindow:
        """A window on memory BAR `number`. Raises NotSupported when there is none."""

    def irq(self, kind: str, count: int) -> list[int]:
        """Descriptors for up to `count` interrupt vectors, "MSI-X" or "INTx"; empty where there are
        none, and then a worker that sleeps looks round by short naps.
        """
        return []

    def check(self) -> None:
        """Raises DeviceFault when the function was caught doing what it may not."""

    @abstractmethod
    def reset(self) -> None:
        """Resets the function where the bus can do that; a driver resets the rest itself."""

    @abstractmethod
    def close(self) -> None:
        """Lets the device go. Also called when opening failed half-way."""
