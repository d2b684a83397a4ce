# SPDX-License-Identifier: Apache-2.0
"""VMware's VMXNET3, revisions 1 to 3: the paravirtual NIC of ESXi, Workstation and QEMU.

It has no public datasheet. Names after § are the structures and constants of vmxnet3_defs.h and
upt1_defs.h, the headers that its open drivers share; fastpath/rings/nic/vmxnet3.h holds the
layouts. The order of start-up is that of those drivers.
Does not do: several queues (QEMU's model receives into one), LRO, checksum and segmentation
offload, data rings, multicast lists (all of it or none), wake on LAN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import DeviceFault, NoMemory, NotSupported
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import new, pages_for
from uspnet.nic import vmxnet3 as defs
from uspnet.nic.base import Link, Model, Nic, VlanOptions, ring_size
from uspnet.pool import Pool
from uspnet.spec import integer, option
from uspnet.transports import Dma

COMMAND_S = 0.5  # a command is done when its register can be read; ESXi takes some milliseconds
DESCRIPTOR = ffi.sizeof("struct vmxnet3_descriptor")
COMPLETION = ffi.sizeof("struct vmxnet3_completion")
AREA = ffi.sizeof("struct vmxnet3_area")
SHARED = ffi.offsetof("struct vmxnet3_area", "unused2")  # the part that is §Vmxnet3_DriverShared
BUFFER_MAX = 16383  # bytes, §VMXNET3_MAX_RX_BUF_SIZE
RING_MIN = 32  # slots, §VMXNET3_RING_SIZE_ALIGN
NOT_WRITTEN = 2**64 - 1  # a count that no device reaches
MAGIC = 0xBABEFEE1  # §VMXNET3_REV1_MAGIC


@dataclass(frozen=True)
class Vmxnet3Options(VlanOptions):
    """Options of VMXNET3."""

    # QEMU's model drops what finds no descriptor, at once: only a long ring outlasts a pause.
    rx_ring: int = ring_size(RING_MIN, 4096, default=4096)
    rx_buffer: int = option(
        integer(128, BUFFER_MAX),
        BUFFER_MAX,
        "bytes of a frame that one descriptor takes: longer frames use several descriptors",
    )


class Vmxnet3(Nic["c.Vmxnet3Queue"], ids={(0x15AD, 0x07B0): "VMXNET3"}, ring="vmxnet3"):
    """One queue pair."""

    registers: ClassVar[type[defs.Regs]] = defs.Regs
    address_registers = ("MACL", "MACH")
    models: ClassVar[dict[str, Model]] = {
        # It drops at once what finds no descriptor.
        "vmxnet3": Model("vmxnet3", window=30, kernel_module="vmxnet3")
    }
    options = Vmxnet3Options()
    interrupts = "MSI-X"
    frame_max = 9022  # an MTU of 9,000, §VMXNET3_MAX_MTU, and the header

    def open(self) -> None:
        """Negotiate a revision, reset the device, and read its address."""
        self.doorbell_bar = self.transport.map_bar(0)
        self.regs, self.doorbells = self.tables()
        self.active = False
        self.last = self.first = (0, 0, 0, 0)
        self.negotiate()
        self.reset()
        low, high = self.regs.MACL.read(), self.regs.MACH.read()
        self.mac = low.to_bytes(4, "little") + high.ADDRESS.to_bytes(2, "little")

    def tables(self) -> tuple[defs.Regs, defs.Doorbells]:
        """Map both BARs."""
        regs, doorbells = (self.transport.map_bar(number) for number in (1, 0))
        return self.registers(regs, self.name), defs.Doorbells(doorbells, self.name)

    def negotiate(self) -> None:
        """Select the newest revision that both know (§VMXNET3_REG_VRRS, §VMXNET3_REG_UVRS)."""
        for register in (self.regs.VRRS, self.regs.UVRS):
            offered = register.read_checked()
            known = [name for name, offer in offered.fields().items() if offer]
            if not known:
                raise NotSupported(f"{self.name}: {register.name} offers only {offered}")
            register.write(**{known[-1]: 1})

    def command(self, name: str) -> None:
        """Run a command; reading the register waits for its end. Raises DeviceFault."""
        self.regs.CMD.write(defs.COMMAND[name])
        self.regs.CMD.read_checked()

    def activate(self) -> None:
        """Run the one command that has a result. Raises DeviceTimeout when it is refused."""
        self.command("ACTIVATE_DEV")
        self.regs.CMD.wait(RESULT=0, timeout=COMMAND_S)

    def reset(self) -> None:
        """Reset the device, and clear the address of the shared area."""
        self.command("QUIESCE_DEV")
        self.command("RESET_DEV")
        self.set_shared_area(0)

    def set_shared_area(self, address: int) -> None:
        """Write the address of the shared area; writing its upper half latches it. 0: none."""
        high, low = divmod(address, 1 << 32)
        self.regs.DSAL.write(low)
        self.regs.DSAH.write(high)

    # -- queues ---------------------------------------------------------------------------------

    def body_slots(self) -> int:
        """Return the slots of the second receive ring, for all pieces of a frame but the first. It
        has some even where frames have one piece, as in every driver.
        """
        return self.options.rx_ring if self.options.rx_buffer < self.frame else RING_MIN

    def ring_bytes(self) -> int:
        """Return the bytes of the shared area, descriptors and completions, each rounded up to
        whole pages.
        """
        rx, tx, body = self.options.rx_ring, self.options.tx_ring, self.body_slots()
        sizes = [AREA, tx * DESCRIPTOR, tx * COMPLETION]
        sizes += [rx * DESCRIPTOR, body * DESCRIPTOR, 2 * rx * COMPLETION]
        return sum(pages_for(size) for size in sizes)

    def ring_slots(self) -> int:
        """Return the slots of the larger direction."""
        return max(self.options.rx_ring + self.body_slots(), self.options.tx_ring)

    def attach(self, pool: Pool) -> None:
        """Allocate the shared area."""
        super().attach(pool)
        self.area_memory = self.transport.alloc_dma(AREA)
        self.area = ffi.cast("struct vmxnet3_area *", self.area_memory.pointer)

    def _ring(self, ring: c.Vmxnet3Ring, size: int, limit: int, doorbell: c.DoorbellFields) -> Dma:
        memory = self.transport.alloc_dma(size * DESCRIPTOR)
        ring.slots = ffi.cast("struct vmxnet3_descriptor *", memory.pointer)
        ring.buffers = self.table(size)
        ring.size, ring.limit, ring.bell = size, limit, doorbell
        return memory

    def _completions(self, queue: c.Vmxnet3Queue, size: int) -> Dma:
        memory = self.transport.alloc_dma(size * COMPLETION)
        queue.completions = ffi.cast("struct vmxnet3_completion *", memory.pointer)
        queue.completions_size = size
        queue.dma_base = self.transport.dma_base
        return memory

    def make_rx(self, index: int) -> c.Vmxnet3Queue:
        """Make two rings, for a frame's first piece and for the rest, and their completions."""
        queue = new("struct vmxnet3_queue *")
        size, limit = self.options.rx_ring, self.piece_bytes()
        bells = [self.doorbells.RXPROD, self.doorbells.RXPROD2]
        self.rx_memory = [
            self._ring(ring, slots, limit, self.doorbell_bar.doorbell(bell.offset))
            for ring, slots, bell in zip(queue.rings, (size, self.body_slots()), bells, strict=True)
        ]
        self.rx_completions = self._completions(queue, 2 * size)
        mask = self.doorbell_bar.doorbell(self.doorbells.IMR[0].offset)
        queue.vector = {"unmask": mask, "unmask_value": 0, "mask": mask, "mask_value": 1}
        queue.wants_doorbell = ffi.addressof(self.area.rx, "wants_doorbell")
        return queue

    def make_tx(self, index: int) -> c.Vmxnet3Queue:
        """Make one ring, in which each descriptor is a whole packet (§Vmxnet3_TxDesc)."""
        queue = new("struct vmxnet3_queue *")
        size, tag = self.options.tx_ring, self.options.vlan_insert
        bell = self.doorbell_bar.doorbell(self.doorbells.TXPROD.offset, sends=True)
        self.tx_memory = self._ring(queue.rings[0], size, self.frame, bell)
        self.tx_completions = self._completions(queue, size)
        queue.tx_flags = defs.DESCRIPTOR_WORD.put(0, {"EOP": 1, "TI": int(tag > 0), "TCI": tag})
        return queue

    def piece_bytes(self) -> int:
        """Return how many bytes of a frame one receive descriptor takes."""
        return min(self.options.rx_buffer, self.pool.room)

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Start up as the open drivers do: rings, shared area, activation, then what needs an
        active device.
        """
        self.negotiate()
        self.reset()
        self.dma_enable()
        self.fill_rings()
        self.describe_device()
        self.describe_queues()
        self.set_shared_area(self.area_memory.address)
        self.activate()
        for vector in range(len(self.events) + 1):
            self.doorbells.IMR[vector].write(MASKED=1)
        self.set_address()
        self.set_filters()
        self.publish_buffers()
        self.first = self.last = (0, 0, 0, 0)
        self.active = True
        self.first = self.statistics()

    def fill_rings(self) -> None:
        """Fill the receive rings with buffers, and clear the others. Raises NoMemory."""
        for queue in self.tx:
            lib.vmxnet3_fill(queue, 0)
        for queue in self.rx:
            if lib.vmxnet3_fill(queue, 1):
                raise NoMemory(f"{self.name}: too few buffers for its rings", "lower rx-ring=")

    def describe_device(self) -> None:
        """Fill the shared area (§Vmxnet3_DriverShared). Only received frames interrupt."""
        area = self.area
        ffi.memmove(area, bytes(AREA), AREA)
        area.magic, area.size, area.version = MAGIC, SHARED, 1
        area.guest = defs.GUEST.put(0, {"BITS": 2, "TYPE": 1})  # 64 bits, the most usual of systems
        area.revisions = area.upt_versions = 1
        area.features = defs.FEATURES.put(0, {"RXVLAN": int(self.options.vlan_strip)})
        area.queues = self.area_memory.address + ffi.offsetof("struct vmxnet3_area", "tx")
        area.queues_size = ffi.sizeof(area.tx) + ffi.sizeof(area.rx)
        area.mtu = self.options.mtu
        area.pieces = -(-self.pool.room // self.piece_bytes())
        area.tx_queues = area.rx_queues = 1
        area.auto_mask, area.interrupts = 1, len(self.events) + 1
        area.event_interrupt = area.tx.interrupt = len(self.events)
        area.interrupt_control = defs.INTERRUPTS.put(0, {"DISABLE_ALL": int(not self.events)})
        area.rx_mode = self.rx_mode()
        area.vlans = [0xFFFFFFFF] * len(area.vlans)

    def rx_mode(self) -> int:
        """Return which frames are received (§Vmxnet3_RxFilterConf)."""
        promisc = int(self.options.promisc)
        fields = {"UCAST": 1, "BCAST": 1, "PROMISC": promisc}
        return defs.RX_MODE.put(0, {**fields, "ALL_MULTI": promisc | int(self.options.multicast)})

    def describe_queues(self) -> None:
        """Write the rings' addresses and sizes (§Vmxnet3_TxQueueDesc, §Vmxnet3_RxQueueDesc)."""
        tx, rx = self.area.tx, self.area.rx
        for queue in self.tx:
            tx.ring, tx.size = self.tx_memory.address, queue.rings[0].size
            tx.completions, tx.completions_size = self.tx_completions.address, tx.size
        for queue in self.rx:
            rx.rings = [memory.address for memory in self.rx_memory]
            rx.sizes = [ring.size for ring in queue.rings]
            rx.completions = self.rx_completions.address
            rx.completions_size = queue.completions_size
        tx.stopped = rx.stopped = 1

    def set_address(self) -> None:
        """Write the station address. MEASURED: QEMU's model restores its own when activated."""
        self.mac = self.options.mac or self.mac
        self.regs.MACL.write(int.from_bytes(self.mac[:4], "little"))
        self.regs.MACH.write(ADDRESS=int.from_bytes(self.mac[4:], "little"))

    def set_filters(self) -> None:
        """Have the device read the filters again: some take note only of these commands."""
        for name in ("UPDATE_RX_MODE", "UPDATE_VLAN_FILTERS", "UPDATE_MAC_FILTERS"):
            self.command(name)

    def publish_buffers(self) -> None:
        """Ring the first doorbells of the receive rings; later ones only when the device asks."""
        for queue in self.rx:
            self.doorbells.RXPROD.write(queue.rings[0].notified)
            self.doorbells.RXPROD2.write(queue.rings[1].notified)

    def stop(self) -> None:
        """Quiesce the device, after reading its counters; then end DMA, reset, and take the buffers
        back.
        """
        try:
            if self.active:
                self.last = self.statistics()
            self.active = False
            self.command("QUIESCE_DEV")
            self.dma_disable()
            self.reset()
        finally:
            for queue in (*self.rx, *self.tx):
                lib.vmxnet3_empty(queue)

    # -- state ----------------------------------------------------------------------------------

    def link(self) -> Link:
        """Return the state of the link. Raises DeviceFault when the device has stopped a queue."""
        self.check()
        self.regs.CMD.write(defs.COMMAND["GET_LINK"])
        link = self.regs.LINK.read_checked()
        return Link(bool(link.UP), int(link.SPEED))

    def check(self) -> None:
        """Raise DeviceFault when the device has stopped a queue for an invalid descriptor
        (§VMXNET3_ECR_RQERR, §Vmxnet3_QueueStatus).

        MEASURED: QEMU's model never does; it counts such packets as errors.
        """
        events = int(self.area.events) if self.active else 0
        if not defs.EVENTS.get(events, "RQERR") and not defs.EVENTS.get(events, "TQERR"):
            return
        self.command("GET_QUEUE_STATUS")
        raise DeviceFault(
            f"{self.name}: the device has stopped its queues: receive error "
            f"{self.area.rx.error:#x}, transmit error {self.area.tx.error:#x}",
            "run it once more",
        )

    def was_reset(self) -> bool:
        """Return whether the device is inactive.

        MEASURED: QEMU's model writes no statistics then.
        """
        if super().was_reset():
            return True
        errors, self.area.rx.errors = self.area.rx.errors, NOT_WRITTEN
        self.statistics()
        if is_silent := self.area.rx.errors == NOT_WRITTEN:
            self.area.rx.errors = errors
        return is_silent

    def statistics(self) -> tuple[int, int, int, int]:
        """Return the device's own counters as they are now (§UPT1_RxStats, §UPT1_TxStats)."""
        self.command("GET_STATS")
        rx, tx = self.area.rx, self.area.tx
        return rx.out_of_buffer, rx.errors, tx.errors, tx.discarded

    def counters(self) -> dict[str, int]:
        """Return what only the device counted. The frames that it delivers and marks as bad are
        among its errors, or its missed frames: the queues have counted them.
        """
        if self.active:
            self.last = self.statistics()
        missed, bad, unsent, discarded = (
            max(now - before, 0) for now, before in zip(self.last, self.first, strict=True)
        )
        marked = sum(queue.rx_bad for queue in self.rx)
        return {
            "rx_missed_errors": missed - min(missed, max(marked - bad, 0)),
            "rx_errors": max(bad - marked, 0),
            "tx_errors": unsent,
            "tx_dropped": discarded,
        }

    def in_flight(self, queue: c.Vmxnet3Queue) -> list[int]:
        """Read the lengths from the descriptors (§Vmxnet3_TxDesc: 14 bits; 0 is 16,384)."""
        ring, n = queue.rings[0], lib.vmxnet3_clean(queue)
        return [int(ring.slots[(ring.fill - 1 - i) % ring.size].word & 0x3FFF) for i in range(n)]
