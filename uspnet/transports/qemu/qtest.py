# SPDX-License-Identifier: Apache-2.0
"""QEMU's device models as a transport, through QEMU's qtest server: no guest, no privileges.

The server reads and writes the machine's ports and memory for us, one line of text a request
(system/qtest.c in QEMU describes the commands). Its CPU only halts; we are the guest.
"""

from __future__ import annotations

import threading

from uspnet.errors import DeviceFault, NotSupported
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import SharedMemory, new
from uspnet.pci.config import Bar, assign_bars, config_of
from uspnet.transports import BarWindow, Transport
from uspnet.transports.qemu.machine import Machine

CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC  # I/O ports, PCI 3.0 §3.2.2.3.2
CONFIG_ENABLE = 0x80000000
PCI_HOLE = 0xC0000000  # where the machine's memory map has room for BARs
LETTER = {1: "b", 2: "w", 4: "l"}


class Link:
    """The conversation with one server. C rings use the same `struct qtest_link`."""

    def __init__(self, fd: int, name: str) -> None:
        self.name, self.fd = name, fd
        self.broken = False  # no request is worth its time limit any more
        self.c = new("struct qtest_link *", {"fd": fd})

    def ask(self, request: str, size: int = 8) -> int:
        """Send one request; return the value in its answer, if any. Raises DeviceFault, also if
        that has more than `size` bytes: then it answers something else.
        """
        line = request.encode() + b"\n"
        value = ffi.new("uint64_t *")
        if not self.broken:
            self.broken = bool(lib.qtest_ask(self.c, self.fd, line, len(line), value))
        if self.broken or value[0] >> 8 * size:
            raise self._silent()
        return int(value[0])

    def synchronize(self) -> None:
        """Match replies to requests again, after a reply that came too late or a worker that was
        killed. No worker runs. Raises DeviceFault.
        """
        self.broken = bool(lib.qtest_synchronize(self.c, self.fd))
        if self.broken:
            raise self._silent()

    def _silent(self) -> DeviceFault:
        return DeviceFault(f"{self.name}: QEMU does not answer any more", "run it once more")


class QtestBar(BarWindow):
    """A BAR of the emulated machine."""

    def __init__(self, link: Link, bar: Bar, wire_fd: int) -> None:
        super().__init__(bar.size)
        self.link, self.address, self.wire_fd = link, bar.address, wire_fd

    def read(self, offset: int, size: int) -> int:
        """Read by one request, which takes 0.05 to 0.5 ms."""
        return self.link.ask(f"read{LETTER[size]} {self.address + offset:#x}", size)

    def write(self, offset: int, value: int, size: int) -> None:
        """Write by one request, which takes 0.05 to 0.5 ms."""
        self.link.ask(f"write{LETTER[size]} {self.address + offset:#x} {value:#x}")

    def doorbell(self, offset: int, size: int = 4, *, sends: bool = False) -> c.DoorbellFields:
        """Return a doorbell that is rung through the qtest server."""
        return {
            "link": self.link.c,
            "address": self.address + offset,
            "bytes": size,
            "wire_fd": self.wire_fd if sends else -1,
        }


class Qtest(Transport):
    """The NIC of a machine. The pool's memories are the machine's memory modules."""

    found = "as in a machine that has just been switched on"

    def __init__(self, name: str, machine: Machine) -> None:
        super().__init__(name)
        self.machine = machine
        self._config = threading.Lock()  # an access takes two requests
        self.lost: list[c.Pointer[int]] = []  # nonzero: a memory has lost pages
        self.link = Link(machine.qtest.fileno(), name)
        self.bars = assign_bars(self, PCI_HOLE)

    def reach(self, memory: SharedMemory) -> int:
        """Plug the memory into the machine, and return its address there."""
        self.lost.append(memory.guard())  # QEMU gets the descriptor, and could punch holes
        return self.machine.plug(memory.fd, memory.size)

    def descriptors(self) -> list[int]:
        """Return the sockets of the server and of the cable."""
        return [self.machine.qtest.fileno(), self.machine.wire_fd]

    def check(self) -> None:
        """Raise DeviceFault when QEMU has removed pages of the job's memory."""
        if any(lost[0] for lost in self.lost):
            raise DeviceFault(
                f"{self.name}: QEMU took pages out of the job's memory", "run it once more"
            )

    def _select(self, offset: int) -> int:
        """Select a register of configuration space; return the I/O port of its data."""
        at = CONFIG_ENABLE + self.machine.slot * 0x800 + offset - offset % 4
        self.link.ask(f"outl {CONFIG_ADDRESS:#x} {at:#x}")
        return CONFIG_DATA + offset % 4

    def read_config(self, offset: int, size: int) -> int:
        """Read by PCI configuration mechanism #1."""
        with self._config:
            return self.link.ask(f"in{LETTER[size]} {self._select(offset):#x}", size)

    def write_config(self, offset: int, value: int, size: int) -> None:
        """Write by PCI configuration mechanism #1."""
        with self._config:
            self.link.ask(f"out{LETTER[size]} {self._select(offset):#x} {value:#x}")

    def map_bar(self, number: int) -> QtestBar:
        """Return a BAR, whose address was assigned when the transport was made."""
        if number not in self.bars:
            raise NotSupported(f"{self.name}: the device has no memory BAR {number}")
        return QtestBar(self.link, self.bars[number], self.machine.wire_fd)

    def reconnect(self) -> None:
        """Make sense of QEMU's replies again, if one came too late. The queues are closed."""
        if self.link.broken or self.link.c.gone:
            self.link.synchronize()

    def reset(self) -> None:
        """Disable DMA: few models have a function-level reset, and drivers reset the rest."""
        config_of(self).COMMAND.update(BUS_MASTER=0)

    def close(self) -> None:
        """Leave the machine to the port that started it."""
