# SPDX-License-Identifier: Apache-2.0
"""The parts that both VFIO interfaces share: ioctls of an open device.

Numbers and structs are those of the kernel's include/uapi/linux/vfio.h and iommufd.h; every call
has its struct's name beside its format.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from abc import abstractmethod

from uspnet.errors import DeviceFault, NotSupported, UspnetError
from uspnet.memory import SharedMemory
from uspnet.pci.config import set_command
from uspnet.transports import Transport
from uspnet.transports.dma_space import DmaSpace
from uspnet.transports.faults import FaultLog
from uspnet.transports.locked import check_limit, raise_limit
from uspnet.transports.mapped import FunctionLock, MappedBar, device_error

CONFIG_REGION = 7  # VFIO_PCI_CONFIG_REGION_INDEX; regions 0 to 5 are the BARs
REGION_MMAP = 1 << 2  # VFIO_REGION_INFO_FLAG_MMAP
INTERRUPTS = {"INTx": 0, "MSI-X": 2}  # VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
ERROR, REQUEST = 3, 4  # VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX
DEVICE_RESETS = 1 << 0  # VFIO_DEVICE_FLAGS_RESET
IRQ_EVENTFDS = 1 << 2 | 1 << 5  # VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER
IRQ_NONE = 1 << 0 | 1 << 5  # VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER
IRQ_UNMASK = 1 << 2 | 1 << 4  # VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK


def io(number: int) -> int:
    """Return _IO(';', number): the type and number of every VFIO and iommufd request."""
    return ord(";") << 8 | number


GET_INFO, GET_REGION_INFO, GET_IRQ_INFO = io(107), io(108), io(109)  # VFIO_DEVICE_…
SET_IRQS, RESET = io(110), io(111)  # VFIO_DEVICE_…


def call(fd: int, request: int, layout: str, *values: int) -> tuple[int, ...]:
    """Call an ioctl whose struct begins with its own size, as all of them do. `layout` is the rest
    of the struct, `values` its fields; returns that rest afterwards. Raises OSError, also when the
    kernel granted only a part of the request.
    """
    layout = "=I" + layout
    data = bytearray(struct.pack(layout, struct.calcsize(layout), *values))
    if fcntl.ioctl(fd, request, data, True):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return struct.unpack(layout, data)[1:]


class Vfio(Transport):
    """A function bound to vfio-pci. A subclass opens `fd` and joins `space`.

    The kernel resets the function when it is opened and when it is closed, and clears Bus Master
    Enable then; it also does when this process is killed.
    """

    found = "as the kernel's reset left it, where the function has one"
    fd = -1
    wanted = False  # the host has asked for the function
    config_at = -1  # offset of configuration space in `fd`, once that is known
    space: DmaSpace | None = None

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.bars: dict[int, MappedBar] = {}
        self.reached: list[tuple[SharedMemory, int]] = []  # memories, and where they are mapped
        self.mapped: list[SharedMemory] = []  # those that are mapped now
        self.events: list[int] = []  # eventfds: of vectors, or of INTx with `line_fd`
        self.events_on = 0  # an index of INTERRUPTS
        self.alerts: dict[int, int] = {}  # eventfds of ERROR and REQUEST, where the kernel has them
        self.lock = FunctionLock(address)
        self.faults = FaultLog(address)
        try:
            raise_limit()
            self._claim()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, UspnetError):
                raise device_error(address, "vfio", error) from None
            raise

    def _claim(self) -> None:
        """Open the function, which is locked."""
        self.open()
        self.config_at = self._region(CONFIG_REGION)[3]
        self.master(on=False)
        self._listen()

    @abstractmethod
    def open(self) -> None:
        """Open `fd`, attached to `space`. Raises Busy, NotPermitted, NoDevice, NotSupported."""

    @abstractmethod
    def leave(self) -> None:
        """Undo what `open` did besides `fd`."""

    def held(self) -> dict[str, int]:
        """Return device, address space, lock and kernel log. The kernel does not reset a function
        that is held, and nobody else can open it. Raises NotSupported.
        """
        if self.fd < 0:
            raise NotSupported(f"{self.name}: the device is away", "try again when it is back")
        check_limit(self.name, sum(memory.size for memory in self.mapped))
        own = {"device": self.fd, "lock": self.lock.fd, "log": self.faults.fd}
        return {f"{self.name} {name}": fd for name, fd in own.items() if fd >= 0}

    def _region(self, index: int) -> tuple[int, int, int, int]:
        """Return flags, capability offset, size and offset of a region."""
        # struct vfio_region_info: flags, index, cap_offset, size, offset
        flags, _, caps, size, offset = call(self.fd, GET_REGION_INFO, "IIIQQ", 0, index, 0, 0, 0)
        return flags, caps, size, offset

    def reach(self, memory: SharedMemory) -> int:
        """Map the memory for reading and writing."""
        assert self.space  # noqa: S101 - since open
        address = self.space.map(memory)
        self.mapped.append(memory)
        self.reached.append((memory, address))
        return address

    def read_config(self, offset: int, size: int) -> int:
        """Read through the kernel, which virtualizes some fields. A function that is gone reads as
        all ones.
        """
        with contextlib.suppress(OSError):
            data = os.pread(self.fd, size, self.config_at + offset)
            if len(data) == size:
                return int.from_bytes(data, "little")
        return int(256**size) - 1

    def write_config(self, offset: int, value: int, size: int) -> None:
        """Write through the kernel, which ignores writes to some fields, and to a function that is
        gone.
        """
        with contextlib.suppress(OSError):
            os.pwrite(self.fd, value.to_bytes(size, "little"), self.config_at + offset)

    def master(self, *, on: bool) -> None:
        """Set or clear Bus Master Enable: whether the function may read and write memory."""
        set_command(self, BUS_MASTER=int(on))

    def map_bar(self, number: int) -> MappedBar:
        """Map a BAR, once."""
        if number not in self.bars:
            flags, _, size, offset = self._region(number)
            if not size or not flags & REGION_MMAP:
                raise NotSupported(f"{self.name}: BAR {number} is not memory that can be mapped")
            self.bars[number] = MappedBar(self.name, self.fd, offset, size)
        return self.bars[number]

    def irq(self, kind: str, count: int) -> list[int]:
        """Return eventfds, once; an empty list if the function or the kernel has not enough."""
        self.events_on = index = INTERRUPTS[kind]
        # struct vfio_irq_info: flags, index, count
        count = min(count, call(self.fd, GET_IRQ_INFO, "III", 0, index, 0)[2])
        try:
            for _ in range(count):
                self.events.append(self._eventfd())
            if count and kind == "INTx":  # the kernel masks the line at each interrupt
                self.line_fd = self._eventfd()
            self._begin_interrupts()
        except OSError:
            self._end_interrupts()
        return self.events

    def _begin_interrupts(self) -> None:
        """Have the kernel signal them. Raises OSError."""
        if self.events:
            self._set_irqs(self.events_on, IRQ_EVENTFDS, self.events)
        if self.line_fd >= 0:
            self._set_irqs(self.events_on, IRQ_UNMASK, [self.line_fd])

    def _listen(self) -> None:
        """Ask to be told of the function's errors, and when the host wants it back. A conventional
        PCI function reports no errors, and an old kernel has neither.
        """
        for index in (ERROR, REQUEST):
            fd = self._eventfd()
            try:
                self._set_irqs(index, IRQ_EVENTFDS, [fd])
                self.alerts[index] = fd
            except OSError:
                os.close(fd)

    def alert_fds(self) -> list[int]:
        """Return the descriptors that are readable when `check` or `look` have something to say."""
        return list(self.alerts.values())

    def _alerted(self, index: int) -> bool:
        """Return whether the kernel has signalled this since the last look."""
        try:
            return index in self.alerts and os.eventfd_read(self.alerts[index]) > 0
        except BlockingIOError:
            return False

    def check(self) -> None:
        """Raise DeviceFault if the IOMMU has blocked an access, where this process may read the
        kernel log.
        """
        for fault in self.faults.new_faults():
            raise DeviceFault(
                f"{self.name}: the IOMMU stopped it from {fault}, which is not memory of this job",
                f"the access was blocked; see: dmesg, uspnet doctor {self.name}",
            )

    def look(self) -> None:
        """Raise DeviceFault if the host wants the function back, or after an error that PCI Express
        could not correct.
        """
        if self.is_wanted():
            raise DeviceFault(
                f"{self.name}: the host takes the device away: it is being unplugged or unbound",
                "start it again when the device is back, or have it waited for, with outage=",
            )
        if self._alerted(ERROR):
            text = f"{self.name}: PCI Express reports an error that it can't correct"
            raise DeviceFault(text, "see: dmesg")

    def is_wanted(self) -> bool:
        """Return whether the host has asked for the function since it was opened."""
        self.wanted = self.wanted or self._alerted(REQUEST)
        return self.wanted

    def _eventfd(self) -> int:
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def _set_irqs(self, index: int, flags: int, fds: list[int]) -> None:
        """Send a struct vfio_irq_set: flags, index, start, count, data."""
        layout = f"IIII{len(fds)}i"
        call(self.fd, SET_IRQS, layout, flags, index, 0, len(fds), *fds)

    def _silence(self) -> None:
        """Have the kernel signal no interrupt any more."""
        if self.events and self.fd >= 0:
            with contextlib.suppress(OSError):  # the device is gone
                self._set_irqs(self.events_on, IRQ_NONE, [])

    def _end_interrupts(self) -> None:
        self._silence()
        for fd in (*self.events, self.line_fd):
            if fd >= 0:
                os.close(fd)
        self.events, self.line_fd = [], -1

    def _end_alerts(self) -> None:
        for index, fd in self.alerts.items():
            with contextlib.suppress(OSError):  # the device is gone
                self._set_irqs(index, IRQ_NONE, [])
            os.close(fd)
        self.alerts = {}

    def reset(self) -> None:
        """Reset the function at function level, if it has such a reset. The kernel restores its
        configuration, and the interrupts that `irq` has set up. Raises DeviceFault.
        """
        try:
            # struct vfio_device_info: flags, num_regions, num_irqs, cap_offset
            flags = call(self.fd, GET_INFO, "IIII", 0, 0, 0, 0)[0]
            if flags & DEVICE_RESETS:
                fcntl.ioctl(self.fd, RESET)
        except OSError as error:
            raise device_error(self.name, "vfio", error) from None

    def release(self) -> None:
        """Give the function to the host if that asks for it. Memories, BARs and interrupts are the
        same ones again after `reconnect`.
        """
        if self.is_wanted():
            self._let_go()

    def _let_go(self) -> None:
        """End all DMA and close the function."""
        with contextlib.suppress(OSError):  # the device is gone, and its DMA with it
            if self.fd >= 0 and self.config_at >= 0:
                self.master(on=False)  # first: no memory is unmapped while it may still write
        self._silence()
        self._end_alerts()
        for bar in self.bars.values():
            bar.close()
        while self.space and self.mapped:
            self.space.unmap(self.mapped.pop())
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        self.leave()
        self.lock.close()
        self.wanted = False

    def reconnect(self) -> None:
        """Open a function again that was given to the host, once vfio-pci has it again. Raises
        DeviceFault while it has not, or may not be opened.
        """
        if self.fd >= 0:
            return
        try:
            self.lock = FunctionLock(self.name)
            self._claim()
            self._restore()
        except OSError as error:
            self._let_go()
            why = (
                error if isinstance(error, UspnetError) else device_error(self.name, "vfio", error)
            )
            raise DeviceFault(str(why), why.hint) from None
        except UspnetError as error:
            self._let_go()
            raise DeviceFault(str(error), error.hint) from None

    def _restore(self) -> None:
        """Have memories, BARs and interrupts where they were. Raises OSError, DeviceFault."""
        for number, bar in self.bars.items():
            _, _, size, offset = self._region(number)
            if size != bar.size:
                raise DeviceFault(f"{self.name}: another device has taken its place")
            bar.reopen(self.fd, offset)
        for memory, address in self.reached:
            if not self.space or self.space.map(memory, address) != address:
                raise DeviceFault(f"{self.name}: its memory can't be mapped where it was")
            self.mapped.append(memory)
        self._begin_interrupts()

    def close(self) -> None:
        """End all DMA and interrupts, and release the function to vfio-pci."""
        self._let_go()
        self._end_interrupts()
        self.bars = {}
        self.faults.close()
