# SPDX-License-Identifier: Apache-2.0
"""Intel 82540EM and 82574L: the gigabit NICs that every emulator has, with legacy descriptors.

Sections (§) are those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software
Developer's Manual", 317453, revision 4.0; "82574 §" those of the "82574 GbE Controller Family
Datasheet", 317694, revision 3.4.
Does not do: several queues, checksum insertion, segmentation offload, flow control, wake on LAN;
the 82540EM's check of checksums, which QEMU's model lacks.
"""

from __future__ import annotations

from typing import ClassVar

from uspnet.fastpath import c
from uspnet.nic.base import ClearOnReadCounters, Model
from uspnet.nic.intel import ChecksumOptions, Intel, IntelTable, Ring
from uspnet.register import RC, RO, RW, WO

RESET_S = 0.1  # a reset takes a few microseconds; the EEPROM is read in a few milliseconds
STANDARD_FRAME = 1522  # bytes: what passes without long packets, a VLAN tag included
VLAN_TAG = 0x8100  # the EtherType before a tag
COMMAND = RW(0, "Transmit descriptor, §3.3.3", width=64, EOP=24, IFCS=25, VLE=30, VLAN=(48, 63))
ERRORS = RO(13, "Receive errors, §3.2.3.2", width=8, CE=0, SE=1, SEQ=2, CXE=4, TCPE=5, IPE=6, RXE=7)
# RCTL's codes for bytes a descriptor: (BSEX, BSIZE).
BUFFER_SIZES = {16384: (1, 1), 8192: (1, 2), 4096: (1, 3), 2048: (0, 0), 1024: (0, 1)}


class Regs(IntelTable):
    """The 8254x's registers, as far as they are used here."""

    CTRL = RW(0x0000, "Device Control, §13.4.1", FD=0, ASDE=5, SLU=6, ILOS=7, RST=26, VME=30)
    STATUS = RO(0x0008, "Device Status, §13.4.2", FD=0, LU=1, TXOFF=4, SPEED=(6, 7))
    VET = RW(0x0038, "VLAN Ether Type, §13.4.11", VET=(0, 15))
    ICR = RC(0x00C0, "Interrupt Cause Read, §13.4.17", TXDW=0, LSC=2, RXDMT0=4, RXO=6, RXT0=7)
    IMS = RW(0x00D0, "Interrupt Mask Set, §13.4.20", RXT0=7)
    IMC = WO(0x00D8, "Interrupt Mask Clear, §13.4.21", ALL=(0, 31))
    RCTL = RW(
        0x0100, "Receive Control, §13.4.22",
        EN=1, SBP=2, UPE=3, MPE=4, LPE=5, BAM=15, BSIZE=(16, 17), VFE=18, BSEX=25, SECRC=26,
    )  # fmt: skip
    TCTL = RW(0x0400, "Transmit Control, §13.4.33", EN=1, PSP=3, CT=(4, 11), COLD=(12, 21))
    TIPG = RW(0x0410, "Transmit Gap, §13.4.34", IPGT=(0, 9), IPGR1=(10, 19), IPGR2=(20, 29))
    RDBA = RW(0x2800, "Receive Descriptor Base, §13.4.25 and §13.4.26", width=64)
    RDLEN = RW(0x2808, "Receive Descriptor Length, §13.4.27", LEN=(0, 19))
    RDH = RW(0x2810, "Receive Descriptor Head, §13.4.28", RDH=(0, 15))
    RDT = RW(0x2818, "Receive Descriptor Tail, §13.4.29", RDT=(0, 15))
    TDBA = RW(0x3800, "Transmit Descriptor Base, §13.4.36 and §13.4.37", width=64)
    TDLEN = RW(0x3808, "Transmit Descriptor Length, §13.4.38", LEN=(0, 19))
    TDH = RW(0x3810, "Transmit Descriptor Head, §13.4.39", TDH=(0, 15))
    TDT = RW(0x3818, "Transmit Descriptor Tail, §13.4.40", TDT=(0, 15))
    CRCERRS = RC(0x4000, "CRC Errors, §13.7.1")
    RXERRC = RC(0x400C, "Receive Errors, §13.7.4")
    MPC = RC(0x4010, "Missed Packets, §13.7.5")
    RLEC = RC(0x4040, "Receive Length Errors, §13.7.15")
    RUC = RC(0x40A4, "Receive Undersize, §13.7.34")
    ROC = RC(0x40AC, "Receive Oversize, §13.7.36")
    MTA = RW(0x5200, "Multicast Table, §13.5.1", count=128, stride=4)
    RAL = RW(0x5400, "Receive Address Low, §13.5.2", count=16, stride=8)
    RAH = RW(0x5404, "Receive Address High, §13.5.3", count=16, stride=8, ADDRESS=(0, 15), AV=31)


class E1000(Intel, ids={(0x8086, 0x100E): "82540EM"}, ring="intel_legacy"):
    """The 82540EM."""

    registers: ClassVar[type[Regs]] = Regs
    regs: Regs
    # QEMU's model takes no frames until a second after its receiver was enabled.
    models: ClassVar[dict[str, Model]] = {
        "e1000": Model("e1000", rx_delay_s=1.1, kernel_module="e1000")
    }
    frame_max = 9728  # the pool's limit; the device's is 16,110
    interrupts = "INTx"

    def open(self) -> None:
        """Map and reset the device, which loads its address from the EEPROM."""
        super().open()
        self.reset()
        self.learn_address()

    def reset(self) -> None:
        """Reset the device, with interrupts masked before and after (§14.3, §14.9)."""
        self.regs.IMC.write(ALL=0xFFFFFFFF)
        self.regs.CTRL.update(RST=1)
        self.regs.CTRL.wait(RST=0, timeout=RESET_S)
        self.regs.IMC.write(ALL=0xFFFFFFFF)
        self.regs.ICR.read()

    # -- queues ---------------------------------------------------------------------------------

    def tx_flags(self) -> int:
        """Return the command bits of a legacy descriptor (§3.3.3)."""
        tag = self.options.vlan_insert
        return COMMAND.put(
            0, {"EOP": 1, "IFCS": int(self.options.tx_fcs), "VLE": int(tag > 0), "VLAN": tag}
        )

    def rx_error_mask(self) -> int:
        """Return the error bits of a legacy descriptor (§3.2.3.2)."""
        fields = ["CE", "SE", "SEQ", "CXE", "RXE"]
        fields += ["TCPE", "IPE"] if self.options.rx_checksum else []
        return sum(ERRORS.mask(field) for field in fields)

    def vector(self, index: int) -> c.VectorFields:
        """Return the interrupt of received frames. Its cause and INTx stay set until ICR is read
        (§13.4.17).
        """
        regs = self.regs
        masks = self.mask_registers(regs.IMS, regs.IMC, regs.IMS.row.mask("RXT0"))
        cause = self.bar.doorbell(regs.ICR.offset)
        return {**masks, "cause": cause, "line_fd": self.transport.line_fd}

    def slot_bytes(self) -> int:
        """Return how much the device may write into one buffer. Without long packets that is at
        most a standard frame; with them, frames longer than a buffer arrive in pieces.
        """
        if self.frame <= STANDARD_FRAME:
            return 2048
        return max(size for size in BUFFER_SIZES if size <= self.pool.room)

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Start up in the order of §14.3 to §14.5."""
        self.counts = ClearOnReadCounters()
        self.reset()
        self.dma_enable()
        self.set_link_up()
        self.set_address()
        self.clear_multicast_table()
        for ring in self.rx_rings.values():
            self.start_rx(ring)
        for ring in self.tx_rings.values():
            self.start_tx(ring)

    def set_link_up(self) -> None:
        """Set link up with auto-negotiation, and VLAN stripping and insertion (§14.3, §9.4)."""
        tags = self.options.vlan_strip or self.options.vlan_insert
        self.regs.VET.write(VLAN_TAG)
        self.regs.CTRL.update(SLU=1, ASDE=1, ILOS=0, VME=int(bool(tags)))

    def start_rx(self, ring: Ring) -> None:
        """Fill the receive ring, then enable the receiver (§14.4)."""
        self.fill(ring.queue)
        self.regs.RDBA.write(ring.memory.address)
        self.regs.RDLEN.write(LEN=ring.memory.size)
        self.regs.RDH.write(0)
        self.regs.RDT.write(ring.queue.tail)
        self.regs.RCTL.write(
            EN=1, BAM=1, SECRC=1,
            UPE=int(self.options.promisc),
            MPE=int(self.options.promisc or self.options.multicast),
            LPE=int(self.frame > STANDARD_FRAME),
            **self.buffer_size(self.slot_bytes()),
        )  # fmt: skip

    def buffer_size(self, size: int) -> dict[str, int]:
        """Return RCTL's fields for that many bytes a buffer."""
        extended, code = BUFFER_SIZES[size]
        return {"BSEX": extended, "BSIZE": code}

    def start_tx(self, ring: Ring) -> None:
        """Set up the empty transmit ring and the gaps of IEEE 802.3, then enable the transmitter
        (§14.5).
        """
        self.regs.TDBA.write(ring.memory.address)
        self.regs.TDLEN.write(LEN=ring.memory.size)
        self.regs.TDH.write(0)
        self.regs.TDT.write(0)
        self.regs.TIPG.write(IPGT=10, IPGR1=8, IPGR2=6)
        self.regs.TCTL.write(EN=1, PSP=int(self.options.tx_pad), CT=0x0F, COLD=0x40)

    def stop(self) -> None:
        """Disable receiver, transmitter and DMA, reset the device, and take the buffers back."""
        try:
            self.regs.RCTL.write(0)
            self.regs.TCTL.write(0)
            self.dma_disable()
            self.reset()
        finally:
            self.empty()

    # -- state ----------------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Return what the device did not deliver (§13.7)."""
        missed, errors = self.lost()
        return {"rx_missed_errors": missed, "rx_errors": errors}


class RegsL(Regs):
    """The 82574L's registers where they differ."""

    RCTL = RW(
        0x0100, "Receive Control, 82574 §10.2.5.1",
        EN=1, SBP=2, UPE=3, MPE=4, LPE=5, BAM=15, BSIZE=(16, 17), VFE=18, BSEX=25, SECRC=26,
        FLXBUF=(27, 30),
    )  # fmt: skip
    CTRL_EXT = RW(0x0018, "Extended Device Control, 82574 §10.2.2", EIAME=24, PBA=31)
    IMS = RW(0x00D0, "Interrupt Mask Set, 82574 §10.2.4", RXQ0=20)
    EIAC = RW(0x00DC, "Interrupt Auto Clear, 82574 §10.2.4", RXQ0=20)
    IAM = RW(0x00E0, "Interrupt Auto Mask, 82574 §10.2.4", RXQ0=20)
    IVAR = RW(0x00E4, "Vector Allocation, 82574 §10.2.4", RXQ0=(0, 2), RXQ0_VALID=3)
    RXCSUM = RW(0x5000, "Receive Checksum Control, 82574 §10.2.5", IPOFLD=8, TUOFLD=9)
    RFCTL = RW(0x5008, "Receive Filter Control, 82574 §10.2.5", EXSTEN=15)
    MRQC = RW(0x5818, "Multiple Receive Queues Command, 82574 §10.2.5", QUEUES=(0, 1))
    TXDCTL = RW(0x3828, "Transmit Descriptor Control, 82574 §10.2.6", WTHRESH=(16, 21), ALWAYS=22)


class E1000e(E1000, ids={(0x8086, 0x10D3): "82574L"}, ring="intel_legacy"):
    """The 82574L: an 82540EM on PCI Express, in its legacy mode."""

    registers: ClassVar[type[Regs]] = RegsL
    regs: RegsL
    models: ClassVar[dict[str, Model]] = {"e1000e": Model("e1000e", kernel_module="e1000e")}
    options = ChecksumOptions()
    frame_max = 9216  # bytes, 82574 §1.2
    interrupts = "MSI-X"

    def vector(self, index: int) -> c.VectorFields:
        """Return the receive queue's own cause."""
        return self.mask_registers(self.regs.IMS, self.regs.IMC, self.regs.IMS.row.mask("RXQ0"))

    def start_rx(self, ring: Ring) -> None:
        """Route the receive interrupt to MSI-X vector 0, which clears and masks itself (82574
        §7.4).
        """
        self.set_rx_checksum(self.regs.RXCSUM)
        # Legacy descriptors, one queue. Both are what a reset leaves, but not that of QEMU before
        # 8.0: there a kernel driver's extended descriptors would stay.
        self.regs.RFCTL.write(0)
        self.regs.MRQC.write(0)
        if self.events:
            self.regs.IVAR.write(RXQ0=0, RXQ0_VALID=1)
            self.regs.EIAC.write(RXQ0=1)
            self.regs.IAM.write(RXQ0=1)
            self.regs.CTRL_EXT.update(EIAME=1, PBA=1)
        super().start_rx(ring)

    def slot_bytes(self) -> int:
        """Return the buffer size: any number of KiB up to 15."""
        if self.frame <= STANDARD_FRAME:
            return 2048
        return min(self.pool.room // 1024, 15) * 1024

    def buffer_size(self, size: int) -> dict[str, int]:
        """Return RCTL's field for the buffer size in KiB."""
        return {"FLXBUF": size // 1024}

    def start_tx(self, ring: Ring) -> None:
        """Set TXDCTL bit 22, which must be 1, then as the 82540EM (82574 §10.2.6)."""
        self.regs.TXDCTL.write(ALWAYS=1)
        super().start_tx(ring)
