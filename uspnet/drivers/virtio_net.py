# SPDX-License-Identifier: Apache-2.0
"""virtio-net on PCI: modern devices, and transitional ones in modern mode.

Sections (§) are those of "Virtual I/O Device (VIRTIO) Version 1.2".
Does not do: legacy devices, checksum and segmentation offload, receive hashing, interrupts.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from uspnet.errors import DeviceFault, NoMemory, NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.nic import HEADER, Link, Model, Nic, ring_size
from uspnet.pci import ConfigWindow, capabilities
from uspnet.pool import FRAME_MAX, PAGE, pages_for
from uspnet.register import RO, RW, Registers, Window
from uspnet.spec import Option, integer, switch
from uspnet.transports import BarWindow, Transport
from uspnet.virtio import (
    MAC_ADDR_SET,
    NET_HEADER,
    RX_ALLMULTI,
    RX_PROMISC,
    VQ_PAIRS_SET,
    Control,
    Layout,
    Ring,
    Virtio,
)

T = TypeVar("T")
VENDOR_CAPABILITY = 0x09  # PCI's id for what a vendor defines
CONTROL_SLOTS = 64
CONFIG_TRIES = 16  # the device changes its configuration rarely, or is broken
SPEED_UNKNOWN = 0x7FFFFFFF  # Mbit/s, and above
STRUCTURE_BYTES = 2**32 - 1  # the longest that a capability can describe


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


class NetConfig(Registers, bytes=17):
    """The network device's configuration. What follows MAC depends on features."""

    MAC = RO(0x00, "Station address, §5.1.4", width=8, count=6, stride=1)
    STATUS = RO(0x06, "Link status, §5.1.4", width=16, LINK_UP=0, ANNOUNCE=1)
    MAX_PAIRS = RO(0x08, "max_virtqueue_pairs, §5.1.4", width=16)
    MTU = RO(0x0A, "Longest payload, §5.1.4", width=16)
    SPEED = RO(0x0C, "Mbit/s, §5.1.4")
    DUPLEX = RO(0x10, "1: full, §5.1.4", width=8)


class Part:
    """A piece of a window, as a window: no access leaves it."""

    def __init__(self, window: Window, offset: int, size: int) -> None:
        self.window, self.offset, self.size = window, offset, size

    def _check(self, offset: int, size: int) -> int:
        if offset < 0 or offset + size > self.size:
            raise DeviceFault(f"byte {offset} of a structure of {self.size} bytes")
        return self.offset + offset

    def read(self, offset: int, size: int) -> int:
        """The value at `offset`."""
        return self.window.read(self._check(offset, size), size)

    def write(self, offset: int, value: int, size: int) -> None:
        """Stores `value` at `offset`."""
        self.window.write(self._check(offset, size), value, size)


class VirtioNet(
    Nic,
    Virtio,
    ids={(0x1AF4, 0x1041): "virtio-net", (0x1AF4, 0x1000): "transitional virtio-net"},
    ring="virtq",
):
    """A virtio network device."""

    # The largest ring that QEMU has; it takes smaller ones.
    models: ClassVar[dict[str, Model]] = {
        name: Model(
            f"{device},rx_queue_size=1024",
            arguments={"packed": "packed", "mrg-rxbuf": "mrg_rxbuf", "mtu": "host_mtu"},
        )
        for name, device in {
            "virtio-net": "virtio-net-pci-non-transitional",
            "virtio-net-transitional": "virtio-net-pci-transitional",
        }.items()
    }
    options: ClassVar[dict[str, Option]] = {
        "rx-ring": ring_size(64, 4096),
        "tx-ring": ring_size(64, 4096),
        "packed": Option(switch, False, "packed rings instead of split ones: on or off"),
        "mrg-rxbuf": Option(
            switch, False, "let the device spread a frame over several buffers: on or off"
        ),
        "queues": Option(integer(1, 64), 1, "queue pairs, 1 to 64"),
    }
    frame_max = FRAME_MAX - NET_HEADER  # both share a buffer
    unknown: ClassVar[frozenset[str]] = frozenset({"rx_missed_errors"})  # no register has it

    def __init__(self, transport: Transport, name: str, values: Mapping[str, Any]) -> None:
        super().__init__(transport, name, values)
        self.packed = bool(values["packed"])
        self.ring = "virtq_packed" if self.packed else "virtq"
        self.limit = self.frame  # bytes of the longest frame to send
        self.frame += NET_HEADER
        self.rings: dict[int, Ring] = {}  # by queue number
        self.control: Control | None = None
        self.needed = {"VERSION_1"}
        self.needed |= {"RING_PACKED"} if self.packed else set()
        self.needed |= {"MRG_RXBUF"} if values["mrg-rxbuf"] else set()
        self.needed |= {"MQ", "CTRL_VQ"} if values["queues"] > 1 else set()

    # -- the device's structures (§4.1.4) -------------------------------------------------------

    def open(self) -> None:
        """Finds the structures, agrees on features, and reads the configuration."""
        self.notify: tuple[BarWindow, Part, int] | None = None  # and the multiplier
        parts: dict[int, Part] = {}
        for identity, at in capabilities(self.transport):
            if identity == VENDOR_CAPABILITY:
                self._capability(at, parts)
        if not self.notify or 1 not in parts or 4 not in parts:
            raise NotSupported(
                f"{self.name}: a legacy virtio device", "only virtio 1.0 and later are driven"
            )
        self.regs = Common(parts[1], self.name)
        self.net = NetConfig(parts[4], self.name)
        self.begin_init(self.needed)
        self.stable(self._read_config)
        self.sizes = (
            self._size("rx-ring", range(0, 2 * self.queues, 2)),
            self._size("tx-ring", range(1, 2 * self.queues, 2)),
        )

    def _capability(self, at: int, parts: dict[int, Part]) -> None:
        """One structure; of each type the first that we can reach counts (§4.1.4.1)."""
        cap = Capability(Part(ConfigWindow(self.transport), at, 256 - at), self.name)
        if cap.LENGTH.read() < Capability.bytes - 4 or at + Capability.bytes > 256:
            return
        kind, offset, size = int(cap.TYPE.read()), int(cap.AT.read()), int(cap.BYTES.read())
        with contextlib.suppress(NotSupported):  # a BAR of I/O ports, or one that is reserved
            bar = self.transport.map_bar(int(cap.BAR.read()))
            least = {1: Common.bytes, 2: 2, 4: NetConfig.STATUS.offset + 2}.get(kind, 0)
            if not least or kind in parts or size < least:
                return
            if offset + size > bar.size:
                raise DeviceFault(f"{self.name}: structure {kind} ends outside of its BAR")
            parts[kind] = Part(bar, offset, size)
            if kind == 2:
                self.notify = bar, parts[kind], int(cap.MULTIPLIER.read())

    def get_status(self) -> int:
        """Of the common configuration."""
        return self.regs.DEVICE_STATUS.present()

    def set_status(self, status: int) -> None:
        """Into the common configuration."""
        self.regs.DEVICE_STATUS.write(status)

    def device_features(self) -> int:
        """Both halves."""
        halves = []
        for half in range(2):
            self.regs.DEVICE_FEATURE_SELECT.write(half)
            halves.append(int(self.regs.DEVICE_FEATURE.read()))
        return int.from_bytes(struct.pack("<2I", *halves), "little")

    def driver_features(self, features: int) -> None:
        """Both halves."""
        for half, value in enumerate(struct.unpack("<2I", features.to_bytes(8, "little"))):
            self.regs.DRIVER_FEATURE_SELECT.write(half)
            self.regs.DRIVER_FEATURE.write(value)

    def stable(self, read: Callable[[], T]) -> T:
        """What `read` reads of the configuration, all of one moment (§2.5.1)."""
        for _ in range(CONFIG_TRIES):
            before = self.regs.CONFIG_GENERATION.read()
            value = read()
            if self.regs.CONFIG_GENERATION.read() == before:
                return value
        raise DeviceFault(f"{self.name}: its configuration never stops changing")

    def _read_config(self) -> None:
        """Station address, queues and MTU, each if it is there (§5.1.4)."""
        features, pairs = self.features, self.values["queues"]
        self.mac = bytes(self.net.MAC[i].read() for i in range(6))
        if not features.MAC:
            self.mac = b"\x02" + os.urandom(5)
        self.most_pairs = int(self.net.MAX_PAIRS.read()) if features.MQ else 1
        if pairs > self.most_pairs:
            raise Usage(f"{self.name}: the device has {self.most_pairs} queue pairs", "lower queues=")
        self.queues = pairs
        if features.MTU and self.values["mtu"] > (most := self.net.MTU.read()):
            raise Usage(f"{self.name}: the device takes no MTU above {most}", "lower mtu=")

    def _size(self, option: str, numbers: range) -> int:
        """The descriptors of such rings: what was asked for, or all that the device has."""
        size = int(self.values[option])
        for number in numbers:
            self.regs.QUEUE_SELECT.write(number)
            if not (most := int(self.regs.QUEUE_SIZE.read())):
                raise DeviceFault(f"{self.name}: queue {number} does not exist")
            size = min(size, 2 ** (most.bit_length() - 1))
        if size < 2:
            raise NotSupported(f"{self.name}: a queue of {size} descriptor")
        return size

    # -- queues ---------------------------------------------------------------------------------

    def ring_bytes(self) -> int:
        """Both rings, and the control queue."""
        return PAGE + sum(pages_for(Layout(size, self.packed).bytes) for size in self.sizes)

    def ring_slots(self) -> int:
        """A packet to send takes two descriptors."""
        return max(self.sizes[0], self.sizes[1] // 2)

    def _ring(self, number: int, kind: type[Ring], size: int, **more: Any) -> Ring:
        """A ring of the device's queue `number`, with its doorbell (§4.1.4.4)."""
        assert self.notify  # noqa: S101 - since `open`
        bar, part, multiplier = self.notify
        self.regs.QUEUE_SELECT.write(number)
        offset = self.regs.QUEUE_NOTIFY_OFF.read() * multiplier
        width = 4 if self.features.NOTIFICATION_DATA else 2
        if offset + width > part.size or (part.offset + offset) % width:
            raise DeviceFault(f"{self.name}: the doorbell of queue {number} is out of bounds")
        layout = Layout(size, self.packed)
        ring = kind(layout, self.transport.alloc_dma(layout.bytes), **more)
        c = ring.c
        # The device waits by itself while QEMU's cable is full, so the ring need not look at it.
        c.bell = bar.doorbell(part.offset + offset, width)
        c.number, c.tells = number, self.features.NOTIFICATION_DATA
        c.in_order, c.dma_base = self.features.IN_ORDER, self.transport.dma_base
        self.rings[number] = ring
        return ring

    def make_rx(self, index: int) -> Any:
        """A receive ring: queue 0, 2, … (§5.1.2)."""
        queue = self._ring(2 * index, Ring, self.sizes[0], double=False).c
        queue.limit, queue.merges = self.pool.room, self.features.MRG_RXBUF
        return queue

    def make_tx(self, index: int) -> Any:
        """A transmit ring: queue 1, 3, … (§5.1.2)."""
        queue = self._ring(2 * index + 1, Ring, self.sizes[1], double=True).c
        queue.limit = self.limit
        return queue

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """§3.1.1, then §5.1.5."""
        self.reset_device()
        self.dma_enable()
        self.begin_init(self.needed)
        self.make_control()
        for number, ring in self.rings.items():
            self.start_queue(number, ring)
        self.finish_init()
        for queue in self.rx:
            self.rings[queue.number].call("kick")
        self.set_pairs()
        self.set_address()
        self.set_filter()

    def make_control(self) -> None:
        """The control queue comes after all pairs that the device has (§5.1.2)."""
        if self.features.CTRL_VQ and not self.control:
            number = 2 * self.most_pairs
            size = min(CONTROL_SLOTS, self._size("rx-ring", range(number, number + 1)))
            ring = self._ring(number, Control, size, name=self.name)
            assert isinstance(ring, Control)  # noqa: S101 - it was just made
            self.control = ring

    def start_queue(self, number: int, ring: Ring) -> None:
        """A ring with its buffers, then where it is (§4.1.5.1.3)."""
        if ring.call("fill", int(ring.c in self.rx)):
            raise NoMemory(f"{self.name}: too few buffers for its receive ring", "lower rx-ring=")
        address, layout = ring.memory.address, ring.layout
        self.regs.QUEUE_SELECT.write(number)
        self.regs.QUEUE_SIZE.write(layout.size)
        self.regs.QUEUE_DESC.write(address)
        self.regs.QUEUE_DRIVER.write(address + layout.driver)
        self.regs.QUEUE_DEVICE.write(address + layout.device)
        self.regs.QUEUE_ENABLE.write(1)

    def set_pairs(self) -> None:
        """How many pairs the device may use: one after a reset (§5.1.6.5.5)."""
        if self.control and self.features.MQ:
            self.control.ask(VQ_PAIRS_SET, struct.pack("<H", self.queues))

    def set_address(self) -> None:
        """Our address, if it is not the device's own (§5.1.6.5.2)."""
        if not self.values["mac"] or self.values["mac"] == self.mac:
            return
        if not self.control or not self.features.CTRL_MAC_ADDR:
            raise NotSupported(f"{self.name}: the device keeps its address", "drop mac=")
        self.control.ask(MAC_ADDR_SET, self.values["mac"])
        self.mac = self.values["mac"]

    def set_filter(self) -> None:
        """Which frames to receive (§5.1.6.5.1). A device that can't be told passes all on."""
        promisc, multicast = self.values["promisc"], self.values["multicast"]
        if self.control and self.features.CTRL_RX:
            self.control.ask(RX_PROMISC, bytes([promisc]))
            self.control.ask(RX_ALLMULTI, bytes([promisc or multicast]))
        elif not promisc:
            raise NotSupported(f"{self.name}: the device has no filter", "drop promisc=off")

    def stop(self) -> None:
        """After a reset the device uses no ring (§2.4.2)."""
        try:
            self.reset_device()
            self.dma_disable()
        finally:
            for queue in (*self.rx, *self.tx):
                lib.virtq_empty(queue)

    # -- state ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Does the device want to go on?"""
        self.check_status()

    def link(self) -> Link:
        """Without a status field the link is always up (§5.1.4.2)."""
        up = bool(self.net.STATUS.present().LINK_UP) if self.features.STATUS else True
        if not self.features.SPEED_DUPLEX:
            return Link(up)
        speed, duplex = self.stable(lambda: (self.net.SPEED.read(), self.net.DUPLEX.read()))
        return Link(up, int(speed) if speed < SPEED_UNKNOWN else None, duplex == 1)

    def counters(self) -> dict[str, int | None]:
        """The device has none: what it drops for want of buffers, nobody knows."""
        return dict.fromkeys(self.unknown)

    def pending(self) -> int:
        """What the device has not reported back."""
        return sum(self.rings[queue.number].call("clean") for queue in self.tx)
