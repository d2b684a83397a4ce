# SPDX-License-Identifier: Apache-2.0
"""Virtio over PCI: where a function keeps its structures, and what is in the common one.

Sections (§) are those of "Virtual I/O Device (VIRTIO) Version 1.2".
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import TypeVar

from uspnet.errors import DeviceFault, NotSupported
from uspnet.fastpath import c
from uspnet.nic.virtio import Ring, Virtio
from uspnet.pci.config import ConfigWindow, capabilities, config_of
from uspnet.register import RO, RW, Registers, Window
from uspnet.transports import BarWindow, Transport

T = TypeVar("T")
VENDOR_CAPABILITY = 0x09  # PCI's id for what a vendor defines
COMMON, NOTIFY, DEVICE = 1, 2, 4  # types of structures, §4.1.4
BARS = 6  # larger numbers are reserved, §4.1.4
CONFIG_TRIES = 16  # the device changes its configuration rarely, or is broken


class Capability(Registers, bytes=20):
    """A PCI capability that says where a structure lies."""

    ID = RO(0, "Generic PCI field, §4.1.4", width=8)
    NEXT = RO(1, "Generic PCI field, §4.1.4", width=8)
    LENGTH = RO(2, "Bytes of the capability, §4.1.4", width=8)
    TYPE = RO(3, "Which structure, §4.1.4", width=8)
    BAR = RO(4, "Where to find it, §4.1.4", width=8)
    AT = RO(8, "Offset within the BAR, §4.1.4")
    BYTES = RO(12, "Length of the structure, §4.1.4")
    MULTIPLIER = RO(16, "notify_off_multiplier, §4.1.4.4")


class Common(Registers, bytes=0x38):
    """The common configuration structure."""

    DEVICE_FEATURE_SELECT = RW(0x00, "Selects DEVICE_FEATURE, §4.1.4.3")
    DEVICE_FEATURE = RO(0x04, "32 bits of what is offered, §4.1.4.3")
    DRIVER_FEATURE_SELECT = RW(0x08, "Selects DRIVER_FEATURE, §4.1.4.3")
    DRIVER_FEATURE = RW(0x0C, "32 bits of what is taken, §4.1.4.3")
    MSIX_CONFIG = RW(0x10, "Vector of configuration changes, §4.1.4.3", width=16)
    NUM_QUEUES = RO(0x12, "Virtqueues supported, §4.1.4.3", width=16)
    DEVICE_STATUS = RW(
        0x14, "Device Status, §2.1", width=8,
        ACKNOWLEDGE=0, DRIVER=1, DRIVER_OK=2, FEATURES_OK=3, NEEDS_RESET=6, FAILED=7,
    )  # fmt: skip
    CONFIG_GENERATION = RO(0x15, "Changes with the configuration, §4.1.4.3", width=8)
    QUEUE_SELECT = RW(0x16, "Selects what follows, §4.1.4.3", width=16)
    QUEUE_SIZE = RW(0x18, "Descriptors, at reset the most, §4.1.4.3", width=16)
    QUEUE_MSIX_VECTOR = RW(0x1A, "Vector of the queue, §4.1.4.3", width=16)
    QUEUE_ENABLE = RW(0x1C, "1: the device may use the queue, §4.1.4.3", width=16)
    QUEUE_NOTIFY_OFF = RO(0x1E, "Where its doorbell is, §4.1.4.3", width=16)
    QUEUE_DESC = RW(0x20, "Descriptor area, §4.1.4.3", width=64)
    QUEUE_DRIVER = RW(0x28, "Driver area, §4.1.4.3", width=64)
    QUEUE_DEVICE = RW(0x30, "Device area, §4.1.4.3", width=64)


class Part:
    """A piece of a window, as a window: no access leaves it."""

    def __init__(self, window: Window, offset: int, size: int) -> None:
        self.window, self.offset, self.size = window, offset, size

    def _check(self, offset: int, size: int) -> int:
        if offset < 0 or offset + size > self.size:
            text = f"byte {offset} of a structure of {self.size} bytes"
            raise DeviceFault(text, "see: uspnet doctor")
        return self.offset + offset

    def read(self, offset: int, size: int) -> int:
        """Return the value at `offset`. Raises DeviceFault outside of the structure."""
        return self.window.read(self._check(offset, size), size)

    def write(self, offset: int, value: int, size: int) -> None:
        """Write `value` at `offset`. Raises DeviceFault outside of the structure."""
        self.window.write(self._check(offset, size), value, size)


class VirtioPci(Virtio):
    """A modern device, or a transitional one in modern mode."""

    transport: Transport
    regs: Common
    notify: tuple[BarWindow, Part, int]  # the BAR, the structure in it, and its multiplier

    def find_structures(self, device_bytes: int) -> None:
        """Find the structures in the capability list. `device_bytes`: the bytes needed of the
        device-specific one. Raises NotSupported for a legacy device, DeviceFault when it is gone.
        """
        self.parts: dict[int, Part] = {}  # by type
        self.least = {COMMON: Common.bytes, NOTIFY: 2, DEVICE: device_bytes}  # bytes
        for identity, at in capabilities(self.transport):
            if identity == VENDOR_CAPABILITY:
                self._capability(at)
        if set(self.parts) != set(self.least):
            config_of(self.transport).VENDOR.read_checked()
            raise NotSupported(
                f"{self.name}: a legacy virtio device", "only virtio 1.0 and later are driven"
            )
        self.regs = Common(self.parts[COMMON], self.name)

    def _capability(self, at: int) -> None:
        """Take over one structure; the first of each type that can be mapped counts (§4.1.4.1)."""
        cap = Capability(Part(ConfigWindow(self.transport), at, 256 - at), self.name)
        kind, offset, size = int(cap.TYPE.read()), int(cap.AT.read()), int(cap.BYTES.read())
        number = int(cap.BAR.read())
        if kind in self.parts or size < self.least.get(kind, size + 1) or number >= BARS:
            return
        with contextlib.suppress(NotSupported):  # a BAR of I/O ports
            bar = self.transport.map_bar(number)
            if offset + size > bar.size:
                raise self._broken(f"structure {kind} ends outside of its BAR")
            self.parts[kind] = Part(bar, offset, size)
            if kind == NOTIFY:
                self.notify = bar, self.parts[kind], int(cap.MULTIPLIER.read())

    def get_status(self) -> int:
        """Read the status from the common configuration."""
        return int(self.regs.DEVICE_STATUS.read_checked())

    def set_status(self, status: int) -> None:
        """Write the status to the common configuration."""
        self.regs.DEVICE_STATUS.write(status)

    def device_features(self) -> int:
        """Read both halves of the offered features."""
        halves = []
        for half in range(2):
            self.regs.DEVICE_FEATURE_SELECT.write(half)
            halves.append(int(self.regs.DEVICE_FEATURE.read()))
        return int.from_bytes(struct.pack("<2I", *halves), "little")

    def driver_features(self, features: int) -> None:
        """Write both halves of the accepted features."""
        for half, value in enumerate(struct.unpack("<2I", features.to_bytes(8, "little"))):
            self.regs.DRIVER_FEATURE_SELECT.write(half)
            self.regs.DRIVER_FEATURE.write(value)

    def stable(self, read: Callable[[], T]) -> T:
        """Call `read` until the configuration did not change meanwhile (§2.5.1). Raises
        DeviceFault.
        """
        for _ in range(CONFIG_TRIES):
            before = self.regs.CONFIG_GENERATION.read()
            value = read()
            if self.regs.CONFIG_GENERATION.read() == before:
                return value
        raise self._broken("its configuration never stops changing")

    def _broken(self, what: str) -> DeviceFault:
        return DeviceFault(f"{self.name}: {what}", f"see: uspnet doctor {self.name}")

    # -- queues ---------------------------------------------------------------------------------

    def queue_size(self, number: int) -> int:
        """Return a queue's maximum size, rounded down to a power of two. Raises DeviceFault."""
        self.regs.QUEUE_SELECT.write(number)
        if not (most := int(self.regs.QUEUE_SIZE.read())):
            raise self._broken(f"queue {number} does not exist")
        return int(2 ** (most.bit_length() - 1))

    def _doorbell(self, number: int) -> tuple[int, int]:
        """Return a doorbell's offset in the notification structure, and its width (§4.1.4.4)."""
        _, part, multiplier = self.notify
        self.regs.QUEUE_SELECT.write(number)
        offset = self.regs.QUEUE_NOTIFY_OFF.read() * multiplier
        width = 4 if self.features.NOTIFICATION_DATA else 2
        if offset + width > part.size or (part.offset + offset) % width:
            raise self._broken(f"the doorbell of queue {number} is out of bounds")
        return offset, width

    def doorbell(self, number: int) -> c.DoorbellFields:
        """Return a queue's doorbell for its C ring."""
        bar, part, _ = self.notify
        offset, width = self._doorbell(number)
        return bar.doorbell(part.offset + offset, width)

    def ring_doorbell(self, number: int, value: int) -> None:
        """Write `value` to a queue's doorbell from Python."""
        offset, width = self._doorbell(number)
        self.notify[1].write(offset, value, width)

    def enable_queue(self, number: int, ring: Ring, vector: int | None = None) -> None:
        """Write a queue's addresses, and its MSI-X vector if it has one, and enable it
        (§4.1.5.1.3). Raises DeviceFault when the device has no such vector.
        """
        address, layout = ring.memory.address, ring.layout
        self.regs.QUEUE_SELECT.write(number)
        self.regs.QUEUE_SIZE.write(layout.size)
        self.regs.QUEUE_DESC.write(address)
        self.regs.QUEUE_DRIVER.write(address + layout.driver)
        self.regs.QUEUE_DEVICE.write(address + layout.device)
        if vector is not None:
            self.regs.QUEUE_MSIX_VECTOR.write(vector)
            if self.regs.QUEUE_MSIX_VECTOR.read() != vector:  # §4.1.5.1.2: reads as none
                raise self._broken(f"queue {number} gets no MSI-X vector")
        self.regs.QUEUE_ENABLE.write(1)
