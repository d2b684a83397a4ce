# SPDX-License-Identifier: Apache-2.0
"""A scripted device, for unit tests of a driver's register accesses.

Registers are a dict. `on_read` and `on_write` hooks give single registers behaviour (a bit that
clears itself, a link that comes up late); `log` holds all accesses.
"""

from __future__ import annotations

from collections.abc import Callable

from uspnet.fastpath import c
from uspnet.memory import SharedMemory, new
from uspnet.transports import BarWindow, Transport


class FakeBar(BarWindow):
    """One BAR. `cells`: values by offset, each as wide as it was written. `stores`: where the
    doorbells of C rings write.
    """

    def __init__(self, transport: Fake, size: int) -> None:
        super().__init__(size)
        self.transport = transport
        self.cells: dict[int, int] = {}
        self.on_read: dict[int, Callable[[int], int]] = {}  # from the cell to the value read
        self.on_write: dict[int, Callable[[int], int]] = {}  # from the value written to the cell
        self.stores = new("uint32_t[]", size // 4)  # where doorbells of C rings write

    def read(self, offset: int, size: int) -> int:
        """Return the cell, passed through its hook; all ones after the device was removed."""
        if self.transport.removed:
            return int(256**size) - 1
        value = self.on_read.get(offset, int)(self.cells.get(offset, 0))
        self.transport.log.append(("read", offset, value))
        return value

    def write(self, offset: int, value: int, size: int) -> None:
        """Store into the cell, passed through its hook."""
        self.transport.log.append(("write", offset, value))
        self.cells[offset] = self.on_write.get(offset, int)(value)

    def doorbell(self, offset: int, size: int = 4, *, sends: bool = False) -> c.DoorbellFields:
        """Return a plain store into `stores`."""
        return {"mmio": self.stores + offset // 4, "bytes": size}


class Fake(Transport):
    """A function with the given configuration space and one BAR. `log`: every access to it.
    `removed`: it reads as all ones.
    """

    def __init__(self, config: dict[int, int], bar_bytes: int) -> None:
        super().__init__("fake")
        self.config = config
        self.log: list[tuple[str, int, int]] = []
        self.removed = False
        self.bar = FakeBar(self, bar_bytes)

    def reach(self, memory: SharedMemory) -> int:
        """Return an address above 4 GiB, so that truncated addresses show."""
        return 1 << 32 | 1 << 20 if memory is self.pool.rings else 2 << 32

    def read_config(self, offset: int, size: int) -> int:
        """Return the given value, zero elsewhere; all ones after the device was removed."""
        if self.removed:
            return int(256**size) - 1
        return self.config.get(offset, 0) % int(256**size)

    def write_config(self, offset: int, value: int, size: int) -> None:
        """Store and log the value."""
        self.log.append(("config", offset, value))
        self.config[offset] = value

    def map_bar(self, number: int) -> FakeBar:
        """Return the only BAR, for any number."""
        return self.bar

    def reset(self) -> None:
        """Log the reset."""
        self.log.append(("reset", 0, 0))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
