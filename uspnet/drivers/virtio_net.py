# SPDX-License-Identifier: Apache-2.0
"""virtio-net on PCI: modern devices, and transitional ones in modern mode.

Sections (§) are those of "Virtual I/O Device (VIRTIO) Version 1.2".
Does not do: legacy devices; checksum and segmentation offload, so that every header is zeros and
every frame complete; hash reports; VLAN tags, which the device can only filter; event indexes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

from uspnet.errors import NoMemory, NotSupported, Usage
from uspnet.fastpath import c, lib
from uspnet.memory import PAGE, pages_for
from uspnet.nic.base import Link, Model, Nic, NicOptions, ring_size
from uspnet.nic.rss import ENTRIES, RSS_KEY, spread
from uspnet.nic.virtio import (
    MAC_ADDR_SET,
    NET_HEADER,
    RSS_CONFIG,
    RX_ALLMULTI,
    RX_PROMISC,
    VQ_PAIRS_SET,
    Control,
    Layout,
    Ring,
)
from uspnet.nic.virtio_pci import DEVICE, Common, VirtioPci
from uspnet.pool import FRAME_MAX
from uspnet.register import RO, Registers
from uspnet.spec import Values, integer, option, switch
from uspnet.transports import Dma, Transport

R = TypeVar("R", bound=Ring)
CONTROL_SLOTS = 64
PAIRS_MAX = 0x7FFF  # the control queue comes after them, and queues have 16-bit numbers
SPEED_UNKNOWN = 0x7FFFFFFF  # Mbit/s, and above
VARIANTS = (
    "rx-ring=1024",
    "mrg-rxbuf=on,rx-ring=64,tx-ring=64",
    "packed=on,rx-ring=64,tx-ring=64",
    "packed=on,mrg-rxbuf=on,rx-ring=1024",
)


class NetConfig(Registers, bytes=24):
    """The network device's configuration. What follows MAC depends on features."""

    MAC = RO(0x00, "Station address, §5.1.4", width=8, count=6, stride=1)
    STATUS = RO(0x06, "Link status, §5.1.4", width=16, LINK_UP=0, ANNOUNCE=1)
    MAX_PAIRS = RO(0x08, "max_virtqueue_pairs, §5.1.4", width=16)
    MTU = RO(0x0A, "Longest payload, §5.1.4", width=16)
    SPEED = RO(0x0C, "Mbit/s, §5.1.4")
    DUPLEX = RO(0x10, "1: full, §5.1.4", width=8)
    RSS_KEY_BYTES = RO(0x11, "rss_max_key_size, §5.1.4", width=8)
    RSS_ENTRIES = RO(0x12, "rss_max_indirection_table_length, §5.1.4", width=16)
    HASH_TYPES = RO(
        0x14, "supported_hash_types, §5.1.4 and §5.1.6.4.3.1",
        IP4=0, TCP4=1, UDP4=2, IP6=3, TCP6=4, UDP6=5, IP6EX=6, TCP6EX=7, UDP6EX=8,
    )  # fmt: skip


@dataclass(frozen=True)
class VirtioNetOptions(NicOptions):
    """Options of virtio-net."""

    rx_ring: int = ring_size(64, 4096)
    tx_ring: int = ring_size(64, 4096)
    packed: bool = option(switch, False, "packed rings instead of split ones: on or off")
    mrg_rxbuf: bool = option(
        switch, False, "let the device spread a frame over several buffers: on or off"
    )
    queues: int = option(integer(1, 64), 1, "queue pairs, 1 to 64")


class VirtioNet(
    Nic["c.VirtqQueue"],
    VirtioPci,
    ids={(0x1AF4, 0x1041): "virtio-net", (0x1AF4, 0x1000): "transitional virtio-net"},
    ring="virtq",
):
    """A virtio network device."""

    registers: ClassVar[type[Common]] = Common
    address_registers = tuple(f"MAC[{index}]" for index in range(6))
    # With the largest receive ring that QEMU has; both take smaller ones.
    models: ClassVar[dict[str, Model]] = {
        name: Model(
            f"virtio-net-pci-{kind},rx_queue_size=1024",
            arguments={"packed": "packed", "mrg_rxbuf": "mrg_rxbuf", "mtu": "host_mtu"},
            variants=variants,
            several="mq=on,rss=on",
            kernel_module=module,
            guest=f"virtio-net-pci-{kind},iommu_platform=on",
        )
        for name, kind, variants, module in (
            ("virtio-net", "non-transitional", VARIANTS, "virtio_net"),
            ("virtio-net-transitional", "transitional", (), ""),
        )
    }
    options = VirtioNetOptions()
    frame_max = FRAME_MAX - NET_HEADER  # both share a buffer
    interrupts = "MSI-X"
    unknown: ClassVar[frozenset[str]] = frozenset({"rx_missed_errors"})  # no register has it
    net: NetConfig
    sizes: tuple[int, int]  # descriptors of each receive and transmit ring
    most_pairs: int  # that the device has

    def __init__(self, transport: Transport, name: str, given: Values) -> None:
        super().__init__(transport, name, given)
        options = self.options
        self.packed = options.packed
        self.ring = "virtq_packed" if self.packed else "virtq"
        self.limit = self.frame  # bytes of the longest frame to send
        self.frame += NET_HEADER
        self.rings: dict[int, Ring] = {}  # by queue number
        self.control: Control | None = None
        self.was_up = True  # no packet is sent before `start`
        self.needed = {"VERSION_1"}
        self.needed |= {"RING_PACKED"} if self.packed else set()
        self.needed |= {"MRG_RXBUF"} if options.mrg_rxbuf else set()
        self.needed |= {"MQ", "CTRL_VQ"} if options.queues > 1 else set()
        # A device that keeps the order need not report a full buffer before the last one of a
        # frame (§2.7.9), whose length we would not know.
        self.wanted = set() if options.mrg_rxbuf else {"IN_ORDER"}
        self.wanted |= {"RSS"} if options.queues > 1 else set()

    # -- what the device says of itself ---------------------------------------------------------

    def open(self) -> None:
        """Find the structures, negotiate features, and read the configuration."""
        self.tables()
        self.reset_device()
        self.begin_init(self.needed, self.wanted)
        self.stable(self._read_config)
        rx, tx = range(0, 2 * self.queues, 2), range(1, 2 * self.queues, 2)
        self.sizes = self._size(self.options.rx_ring, rx), self._size(self.options.tx_ring, tx)

    def tables(self) -> tuple[Common, NetConfig]:
        """Map the common structure, and that of network devices."""
        self.find_structures(NetConfig.STATUS.offset + 2)
        self.net = NetConfig(self.parts[DEVICE], self.name)
        return self.regs, self.net

    def _read_config(self) -> None:
        """Read station address, queues and MTU, each where its feature is negotiated (§5.1.4)."""
        features, pairs = self.features, self.options.queues
        self.mac = bytes(self.net.MAC[i].read() for i in range(6))
        if not features.MAC:
            self.mac = b"\x02" + os.urandom(5)
        self.most_pairs = int(self.net.MAX_PAIRS.read()) if features.MQ else 1
        if self.most_pairs > PAIRS_MAX:
            raise self._broken(f"it says that it has {self.most_pairs} queue pairs")
        if pairs > self.most_pairs:
            raise Usage(
                f"{self.name}: the device has {self.most_pairs} queue pairs", "lower queues="
            )
        self.queues = pairs
        if features.MTU and self.options.mtu > (most := int(self.net.MTU.read())):
            raise Usage(f"{self.name}: the device takes no MTU above {most}", "lower mtu=")

    def _size(self, wanted: int, numbers: range) -> int:
        """Return the descriptors of such rings: as many as wanted, or the device's maximum."""
        size = min(wanted, *map(self.queue_size, numbers))
        if size < 2:
            raise NotSupported(f"{self.name}: a queue of {size} descriptor")
        return size

    # -- queues ---------------------------------------------------------------------------------

    def ring_bytes(self) -> int:
        """Return the bytes of a pair's rings, and of the control queue."""
        return PAGE + sum(pages_for(Layout(size, self.packed).bytes) for size in self.sizes)

    def ring_slots(self) -> int:
        """Return the larger ring in packets: one to send takes two descriptors."""
        return int(max(self.sizes[0], self.sizes[1] // 2))

    def _ring(self, number: int, size: int, make: Callable[[Layout, Dma], R]) -> R:
        """Make the ring of the device's queue `number`."""
        layout = Layout(size, self.packed)
        ring = make(layout, self.transport.alloc_dma(layout.bytes))
        queue = ring.c
        # The device waits by itself while QEMU's cable is full, so the ring need not look at it.
        queue.bell, queue.number = self.doorbell(number), number
        queue.notification_data = self.features.NOTIFICATION_DATA
        queue.in_order, queue.dma_base = self.features.IN_ORDER, self.transport.dma_base
        self.rings[number] = ring
        return ring

    def make_rx(self, index: int) -> c.VirtqQueue:
        """Make a receive ring: queue 0, 2, … (§5.1.2)."""
        queue = self._ring(2 * index, self.sizes[0], partial(Ring, double=False)).c
        queue.limit, queue.merges = self.pool.room, self.features.MRG_RXBUF
        return queue

    def make_tx(self, index: int) -> c.VirtqQueue:
        """Make a transmit ring: queue 1, 3, … (§5.1.2)."""
        queue = self._ring(2 * index + 1, self.sizes[1], partial(Ring, double=True)).c
        queue.limit = self.limit
        return queue

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Start up in the order of §3.1.1 and §5.1.5."""
        self.was_up = False
        self.reset_device()
        self.dma_enable()
        self.begin_init(self.needed, self.wanted)
        self.make_control()
        for number, ring in self.rings.items():
            self.start_queue(number, ring)
        self.finish_init()
        self.wake(self.rx)
        self.set_pairs()
        self.set_address()
        self.set_filter()

    def make_control(self) -> None:
        """Make the control queue, which follows the device's last pair (§5.1.2)."""
        if self.features.CTRL_VQ and not self.control:
            number = 2 * self.most_pairs
            size = min(CONTROL_SLOTS, self.queue_size(number))
            if size < 2:  # a command takes two
                raise NotSupported(f"{self.name}: a control queue of {size} descriptor")
            self.control = self._ring(number, size, partial(Control, name=self.name))

    def start_queue(self, number: int, ring: Ring) -> None:
        """Fill a ring, then enable its queue (§4.1.5.1.3). Raises NoMemory."""
        if ring.call("fill", int(ring.c in self.rx)):
            raise NoMemory(f"{self.name}: too few buffers for its receive ring", "lower rx-ring=")
        index, sends = divmod(number, 2)
        wakes = not sends and index < min(self.queues, len(self.events))
        self.enable_queue(number, ring, index if wakes else None)

    def set_pairs(self) -> None:
        """Set how many pairs are used: one after a reset (§5.1.6.5.5). With RSS, configure which
        flow goes to which; without, the device chooses.
        """
        if self.control and self.features.RSS:
            self.control.ask(RSS_CONFIG, self.rss())
        elif self.control and self.features.MQ:
            self.control.ask(VQ_PAIRS_SET, struct.pack("<H", self.queues))

    def rss(self) -> bytes:
        """Return the RSS command with our table and key (§5.1.6.5.7.1). Frames without IP go to the
        first queue; IPv6 extension headers are not hashed, as with other NICs.
        """
        types = self.net.HASH_TYPES.read()
        if len(RSS_KEY) > self.net.RSS_KEY_BYTES.read() or self.net.RSS_ENTRIES.read() < ENTRIES:
            raise NotSupported(f"{self.name}: the device's RSS is too small", "drop queues=")
        plain = {
            name: getattr(types, name) for name in ("IP4", "TCP4", "UDP4", "IP6", "TCP6", "UDP6")
        }
        table = struct.pack(f"<{ENTRIES}H", *spread(list(range(self.queues))))
        return b"".join(
            (
                struct.pack("<IHH", NetConfig.HASH_TYPES.put(0, plain), ENTRIES - 1, 0),
                table,
                struct.pack("<HB", self.queues, len(RSS_KEY)),
                RSS_KEY,
            )
        )

    def set_address(self) -> None:
        """Set the address of `mac=`: a reset restored the device's own (§5.1.6.5.2). Raises
        NotSupported.
        """
        if not self.options.mac:
            return
        if not self.control or not self.features.CTRL_MAC_ADDR:
            raise NotSupported(f"{self.name}: the device keeps its address", "drop mac=")
        self.control.ask(MAC_ADDR_SET, self.options.mac)
        self.mac = self.options.mac

    def set_filter(self) -> None:
        """Set which frames to receive (§5.1.6.5.1). A device without CTRL_RX passes all frames.
        Raises NotSupported.
        """
        promisc, multicast = self.options.promisc, self.options.multicast
        if self.control and self.features.CTRL_RX:
            self.control.ask(RX_PROMISC, bytes([promisc]))
            self.control.ask(RX_ALLMULTI, bytes([promisc or multicast]))
        elif not promisc:
            raise NotSupported(f"{self.name}: the device has no filter", "drop promisc=off")

    def stop(self) -> None:
        """Reset the device: then it uses no ring (§2.4.2). Take the buffers back."""
        try:
            self.reset_device()
            self.dma_disable()
        finally:
            for queue in (*self.rx, *self.tx):
                lib.virtq_empty(queue)

    # -- state ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise DeviceFault when the device needs a reset."""
        self.check_status()

    def was_reset(self) -> bool:
        """Return whether DRIVER_OK is clear (§2.1)."""
        return super().was_reset() or not self.is_live()

    def link(self) -> Link:
        """Return the state of the link; without the feature STATUS it is always up (§5.1.4.2)."""
        up = bool(self.net.STATUS.read_checked().LINK_UP) if self.features.STATUS else True
        # QEMU's model, started on packed rings without a link, says that it wants no doorbell on
        # the transmit queue, and means it even when the link has come up.
        if up and not self.was_up:
            self.wake(self.tx)
        self.was_up = up
        if not self.features.SPEED_DUPLEX:
            return Link(up)
        speed = int(self.stable(self.net.SPEED.read))
        return Link(up, speed if speed < SPEED_UNKNOWN else None)

    def wake(self, queues: list[c.VirtqQueue]) -> None:
        """Ring the doorbells, also where the device suppresses notifications. No worker runs."""
        for number, ring in self.rings.items():
            if ring.c in queues:
                self.ring_doorbell(number, ring.call("value"))

    def counters(self) -> dict[str, int | None]:
        """Return None for what the device drops for lack of buffers: it has no counters."""
        return dict.fromkeys(self.unknown)

    def in_flight(self, queue: c.VirtqQueue) -> list[int]:
        """Read the lengths from each chain's second descriptor; the first one is the header."""
        last, mask = queue.next - 1, queue.chains - 1
        count = next(ring for ring in self.rings.values() if ring.c == queue).call("clean")
        words = (queue.descriptors[2 * (last - i & mask) + 1].word for i in range(count))
        return [int(word & 0xFFFFFFFF) for word in words]
