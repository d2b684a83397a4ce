# SPDX-License-Identifier: Apache-2.0
"""A device that exists only as a script: for unit tests of what a driver says to its device.

Registers are a dict that remembers writes. `on_read` and `on_write` hooks make single registers
behave (a bit that clears itself, a link that comes up late); `log` holds the conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uspnet.fastpath import ffi
from uspnet.pool import SharedMemory
from uspnet.transports import BarWindow, Transport


class FakeBar(BarWindow):
    """One BAR: `cells` by offset, each as wide as it was written."""

    def __init__(self, transport: Fake, size: int) -> None:
        super().__init__(size)
        self.transport = transport
        self.cells: dict[int, int] = {}
        self.on_read: dict[int, Callable[[int], int]] = {}  # from the cell to what is seen
        self.on_write: dict[int, Callable[[int], int]] = {}  # from what is written to the cell
        self.stores = ffi.new("uint32_t[]", size // 4)  # where the C rings' doorbells land

    def read(self, offset: int, size: int) -> int:
        """The cell, through its hook; all ones once the device was removed."""
        if self.transport.removed:
            return int(256**size) - 1
        value = self.on_read.get(offset, int)(self.cells.get(offset, 0))
        self.transport.log.append(("read", offset, value))
        return value

    def write(self, offset: int, value: int, size: int) -> None:
        """Fills the cell, through its hook."""
        self.transport.log.append(("write", offset, value))
        self.cells[offset] = self.on_write.get(offset, int)(value)

    def doorbell(self, offset: int, size: int = 4, *, sends: bool = False) -> dict[str, Any]:
        """A plain store into `stores`."""
        return {"mmio": self.stores + offset // 4, "bytes": size}


class Fake(Transport):
    """A function with the given configuration space and one BAR. `log`: every access to it."""

    def __init__(self, config: dict[int, int], bar_bytes: int) -> None:
        super().__init__("fake")
        self.config = config
        self.log: list[tuple[str, int, int]] = []
        self.removed = False
        self.bar = FakeBar(self, bar_bytes)

    def reach(self, memory: SharedMemory) -> int:
        """The device sees all above 4 GiB, so that truncated addresses show."""
        return 1 << 32 | 1 << 20 if memory is self.pool.rings else 2 << 32

    def read_config(self, offset: int, size: int) -> int:
        """The given bytes, zero elsewhere; all ones once the device was removed."""
        if self.removed:
            return int(256**size) - 1
        return self.config.get(offset, 0) % int(256**size)

    def write_config(self, offset: int, value: int, size: int) -> None:
        """Remembers the value."""
        self.log.append(("config", offset, value))
        self.config[offset] = value

    def map_bar(self, number: int) -> FakeBar:
        """The one BAR, whatever its number."""
        return self.bar

    def reset(self) -> None:
        """Notes that it was asked for."""
        self.log.append(("reset", 0, 0))

    def close(self) -> None:
        """Nothing to give back."""
