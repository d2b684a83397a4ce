# SPDX-License-Identifier: Apache-2.0
"""What Intel's NICs share: rings; and those with advanced descriptors: tags, and the PHY's bus.

A driver's table names its registers as the 82576's does: RDT, TDT and so on.
Sections (§) are those of Intel's "82576EB Gigabit Ethernet Controller Datasheet", 321027,
revision 2.63.
"""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import DeviceTimeout, NoMemory
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import new, pages_for
from uspnet.nic.base import Link, Nic, VlanOptions
from uspnet.register import RO, RW, Register, Registers, Row
from uspnet.spec import option, switch
from uspnet.transports import BarWindow, Dma

DESCRIPTOR = ffi.sizeof("struct intel_descriptor")
DATA, CONTEXT = 3, 2  # types of transmit descriptors
COMMAND = RW(
    0, "Advanced data, §7.2.2.3", width=64, DTYP=(20, 23), EOP=24, IFCS=25, DEXT=29, VLE=30
)
STATUS = RO(
    8, "Advanced receive, written back, §7.1.5", width=64, DD=0, EOP=1, VP=3, L4E=29, IPE=30, RXE=31
)
CONTEXT_LOW = RW(0, "Advanced context, first half, §7.2.2.2", width=64, VLAN=(16, 31))
CONTEXT_HIGH = RW(8, "Advanced context, second half, §7.2.2.2", width=64, DTYP=(20, 23), DEXT=29)
SPEEDS = {0: 10, 1: 100, 2: 1000, 3: 1000}  # Mbit/s
PHY_S = 0.1  # an MDIO transfer takes 64 µs
SEMAPHORE_S = 1.0  # firmware holds the PHY for milliseconds
RETRY_S = 0.001
BMCR, BMSR = 0, 1  # PHY registers, IEEE 802.3 §22.2.4
CONTROL = RW(BMCR, "PHY Control, IEEE 802.3 §22.2.4.1", width=16, RESTART=9, AUTONEG=12)
STATE = RO(BMSR, "PHY Status, IEEE 802.3 §22.2.4.2", width=16, NEGOTIATED=5)
MDIO_WRITE, MDIO_READ = 1, 2
FCS_BYTES = 4


def four(values: bytes) -> list[int]:
    """Return bytes as 32-bit words, the first byte lowest."""
    return [int.from_bytes(values[i : i + 4], "little") for i in range(0, len(values), 4)]


@dataclass(frozen=True)
class IntelOptions(VlanOptions):
    """Options of all Intel NICs."""

    rx_checksum: bool = False
    tx_fcs: bool = option(
        switch, True, "append the FCS to sent frames; off: they end with their own"
    )
    tx_pad: bool = option(switch, True, "pad short frames to 60 bytes: on or off")


@dataclass(frozen=True)
class ChecksumOptions(IntelOptions):
    """And those of NICs that check checksums."""

    rx_checksum: bool = option(
        switch, False, "refuse frames whose IPv4, TCP or UDP checksum is wrong: on or off"
    )


@dataclass(frozen=True)
class Ring:
    """One ring: the C struct of its queue, and the memory of its descriptors."""

    queue: c.IntelQueue
    memory: Dma


class IntelTable(Registers, bytes=0x20000):
    """The rows that every Intel NIC's table has; each table says where, and of what fields."""

    STATUS: Row
    RCTL: Row
    TCTL: Row
    RDT: Row
    TDT: Row
    CRCERRS: Row
    RXERRC: Row
    MPC: Row
    RLEC: Row
    ROC: Row
    MTA: Row
    RAL: Row
    RAH: Row


class PhyTable(IntelTable):
    """And what it takes to reach the PHY."""

    MDIC: Row
    SWSM: Row
    SW_FW_SYNC: Row


class Intel(Nic["c.IntelQueue"], ids={}, ring="intel_advanced"):
    """Rings of 16 bytes a descriptor, up to a tail register."""

    options = IntelOptions()
    address_registers = ("RAL[0]", "RAH[0]")
    registers: ClassVar[type[IntelTable]]
    regs: IntelTable
    bar: BarWindow

    def open(self) -> None:
        """Map the registers."""
        self.bar = self.transport.map_bar(0)
        self.regs = self.registers(self.bar, self.name)
        self.rx_rings: dict[int, Ring] = {}  # by queue; workers ask for them in any order
        self.tx_rings: dict[int, Ring] = {}

    def ring_bytes(self) -> int:
        """Return the bytes of both rings, each rounded up to whole pages."""
        return 2 * pages_for(DESCRIPTOR * self.ring_slots())

    def ring_slots(self) -> int:
        """Return the size of the larger ring."""
        return max(self.options.rx_ring, self.options.tx_ring)

    def slot_bytes(self) -> int:
        """Return how many bytes of a frame one receive descriptor takes."""
        return int(self.frame)

    def send_limit(self, tags: Sequence[int]) -> tuple[int, str]:
        """Return also the bytes of an FCS that the frame ends with."""
        most, hint = super().send_limit(tags)
        return most + self._fcs_bytes(), hint

    def _fcs_bytes(self) -> int:
        """Return how many bytes of FCS the frames have that are to be sent."""
        return 0 if self.options.tx_fcs else FCS_BYTES

    @abstractmethod
    def tx_flags(self) -> int:
        """Return the command bits of every transmit descriptor."""

    @abstractmethod
    def rx_error_mask(self) -> int:
        """Return the error bits of a receive descriptor for which the frame is dropped."""

    def set_rx_checksum(self, control: Register) -> None:
        """Program RXCSUM from the `rx-checksum` option (§8.10)."""
        on = int(self.options.rx_checksum)
        control.write(IPOFLD=on, TUOFLD=on)

    def vector(self, index: int) -> c.VectorFields:
        """Return the fields of a `struct vector`: a receive queue's interrupt, if there is one."""
        return {}

    def mask_registers(self, unmask: Register, mask: Register, bits: int) -> c.VectorFields:
        """Return the fields of a `struct vector` for a pair of registers that set and clear mask
        bits.
        """
        return {
            "unmask": self.bar.doorbell(unmask.offset),
            "mask": self.bar.doorbell(mask.offset),
            "unmask_value": bits,
            "mask_value": bits,
        }

    def _ring(self, size: int, limit: int, doorbell: c.DoorbellFields) -> Ring:
        memory = self.transport.alloc_dma(size * DESCRIPTOR)
        queue = new("struct intel_queue *")
        queue.ring = ffi.cast("struct intel_descriptor *", memory.pointer)
        queue.buffers, queue.last = self.table(size), self.table(size)
        queue.size, queue.limit, queue.bell = size, limit, doorbell
        queue.dma_base = self.transport.dma_base
        return Ring(queue, memory)

    def make_rx(self, index: int) -> c.IntelQueue:
        """Make a receive ring. What a device says to have written beyond a buffer is no frame."""
        bell = self.bar.doorbell(self.regs.RDT[index].offset)
        limit = min(self.slot_bytes(), self.pool.room)
        ring = self._ring(self.options.rx_ring, limit, bell)
        ring.queue.vector, ring.queue.rx_error_mask = self.vector(index), self.rx_error_mask()
        self.rx_rings[index] = ring
        return ring.queue

    def make_tx(self, index: int) -> c.IntelQueue:
        """Make a transmit ring, in which each data descriptor is a whole packet."""
        bell = self.bar.doorbell(self.regs.TDT[index].offset, sends=True)
        limit = self.frame + self._fcs_bytes()
        self.tx_rings[index] = ring = self._ring(self.options.tx_ring, limit, bell)
        ring.queue.tx_flags = self.tx_flags()
        return ring.queue

    def fill(self, queue: c.IntelQueue) -> None:
        """Fill a receive ring with buffers. Raises NoMemory."""
        if lib.intel_fill(queue):
            raise NoMemory(f"{self.name}: too few buffers for its receive ring", "lower rx-ring=")

    def empty(self) -> None:
        """Take all buffers back. The device has stopped."""
        for ring in self.rx_rings.values():
            lib.intel_empty(ring.queue, 1)
        for ring in self.tx_rings.values():
            lib.intel_empty(ring.queue, 0)

    def in_flight(self, queue: c.IntelQueue) -> list[int]:
        """Read the lengths from the descriptors, whose low 16 bits they are in both formats."""
        last, mask = queue.next - 1, queue.size - 1
        count = lib.intel_clean(queue)
        return [int(queue.ring[last - i & mask].word & 0xFFFF) for i in range(count)]

    def learn_address(self) -> None:
        """Read the station address, which a reset loads into the first entry of the address filter
        (§8.10).
        """
        low, high = self.regs.RAL[0].read(), self.regs.RAH[0].read()
        self.mac = low.to_bytes(4, "little") + high.ADDRESS.to_bytes(2, "little")

    def set_address(self) -> None:
        """Write the station address to the first entry of the address filter (§8.10)."""
        self.mac = self.options.mac or self.mac
        self.regs.RAL[0].write(int.from_bytes(self.mac[:4], "little"))
        self.regs.RAH[0].write(ADDRESS=int.from_bytes(self.mac[4:], "little"), AV=1)

    def clear_multicast_table(self) -> None:
        """Clear the multicast table, which a reset leaves undefined (§4.5.9)."""
        for index in range(self.regs.MTA.row.count):
            self.regs.MTA[index].write(0)

    def lost(self) -> tuple[int, int]:
        """Return the frames missed for lack of descriptors, and those received with errors (§8.19).
        RLEC counts both runts and giants; QEMU's models leave it at zero, and count as runts (RUC)
        frames that they pad and deliver.
        """
        regs, seen = self.regs, self.counts
        seen.add(regs.MPC, regs.CRCERRS, regs.RXERRC, regs.RLEC, regs.ROC)
        lengths = max(seen["RLEC"], seen["ROC"])
        return seen["MPC"], seen["CRCERRS"] + seen["RXERRC"] + lengths

    def was_reset(self) -> bool:
        """Return whether receiver or transmitter are off (§8.10.1, §8.12.1)."""
        regs = self.regs
        on = [regs.RCTL] * bool(self.rx_rings) + [regs.TCTL] * bool(self.tx_rings)
        return super().was_reset() or not all(each.read_checked().EN for each in on)

    def link(self) -> Link:
        """Return the state of the link from STATUS (§8.2.2)."""
        status = self.regs.STATUS.read_checked()
        return Link(bool(status.LU), SPEEDS[status.SPEED])


class Advanced(Intel, ids={}, ring="intel_advanced"):
    """Rings of advanced descriptors."""

    status: ClassVar[Row] = STATUS  # what a receive descriptor's second half becomes

    def rx_error_mask(self) -> int:
        """Return the error bits of the write-back format (§7.1.5)."""
        fields = ("RXE", "IPE", "L4E") if self.options.rx_checksum else ("RXE",)
        return sum(self.status.mask(field) for field in fields)

    def tx_flags(self) -> int:
        """Return the command bits of a data descriptor (§7.2.2.3)."""
        tag = int(self.options.vlan_insert > 0)
        return COMMAND.put(
            0, {"DTYP": DATA, "EOP": 1, "IFCS": int(self.options.tx_fcs), "DEXT": 1, "VLE": tag}
        )

    def set_tag(self, queue: c.IntelQueue) -> None:
        """Write a context descriptor with the VLAN tag to insert into an empty transmit ring: it
        applies until there is another (§7.2.2.2).
        """
        if tag := self.options.vlan_insert:
            queue.ring[0].address = CONTEXT_LOW.put(0, {"VLAN": tag})
            queue.ring[0].word = CONTEXT_HIGH.put(0, {"DTYP": CONTEXT, "DEXT": 1})
            queue.next = queue.clean = 1


class Phy:
    """The PHY of one function, behind the device's MDI register."""

    def __init__(self, regs: PhyTable) -> None:
        self.regs = regs

    def negotiate(self) -> None:
        """Start auto-negotiation unless it is complete: a restart takes the link down."""
        with self.owned():
            if not STATE.get(self.read(BMSR), "NEGOTIATED"):
                self.write(BMCR, CONTROL.put(0, {"AUTONEG": 1, "RESTART": 1}))

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the semaphores that keep firmware and other functions off the PHY (§4.6)."""
        deadline = time.monotonic() + SEMAPHORE_S
        while not self._mark(taken=True):
            if time.monotonic() > deadline:
                raise DeviceTimeout(
                    f"{self.regs.owner}: SW_FW_SYNC: others kept the PHY for {SEMAPHORE_S:g} s",
                    "run it once more; if it stays so, the device needs a power cycle",
                )
            time.sleep(RETRY_S)
        try:
            yield
        finally:
            self._mark(taken=False)

    def _mark(self, *, taken: bool) -> bool:
        """Set or clear our bit in SW_FW_SYNC. Return False when another holds the PHY. SWSM.SMBI is
        taken by reading it as 0.
        """
        regs = self.regs
        name = f"PHY{regs.STATUS.read().LAN}"
        regs.SWSM.wait(SMBI=0, timeout=SEMAPHORE_S)
        try:
            regs.SWSM.update(SWESMBI=1)
            regs.SWSM.wait(SWESMBI=1, timeout=SEMAPHORE_S)
            owners = regs.SW_FW_SYNC.read_checked()
            if taken and (getattr(owners, name) or getattr(owners, f"FW_{name}")):
                return False
            regs.SW_FW_SYNC.write(owners, **{name: int(taken)})
            return True
        finally:
            regs.SWSM.write(0)

    def _mdio(self, **fields: int) -> int:
        """Do one transfer on the PHY's management bus (§8.2.4)."""
        self.regs.MDIC.write(PHY=1, **fields)
        return int(self.regs.MDIC.wait(READY=1, ERROR=0, timeout=PHY_S).DATA)

    def read(self, register: int) -> int:
        """Return the value of a PHY register."""
        return self._mdio(OP=MDIO_READ, REG=register)

    def write(self, register: int, value: int) -> None:
        """Write a PHY register."""
        self._mdio(OP=MDIO_WRITE, REG=register, DATA=value)
