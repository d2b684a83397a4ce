# SPDX-License-Identifier: Apache-2.0
"""Intel 82576, 82580, I350, I210 and I211: gigabit NICs with advanced descriptors and RSS.

Sections (§) are those of Intel's "82576EB Gigabit Ethernet Controller Datasheet", 321027,
revision 2.63; the later chips are the same where their own tables here don't say otherwise
("I210 §": 333016, revision 3.4).

`Igb.start` is the start-up, step by step, in the order of §4.5.3. Where each step is:

    nic/base.py     Nic        dma_enable, dma_disable, table: what every NIC needs
    nic/intel.py    Intel      make_rx, make_tx, fill, empty, set_address, learn_address,
                               clear_multicast_table, set_rx_checksum, lost, link
                    Advanced   tx_flags, rx_error_mask, set_tag: advanced descriptors
                    Phy        negotiate
    here            Igb        reset, mask_interrupts, take_over, set_link_up, set_receive_rules,
                               spread_flows, route_interrupts, start_rx, start_tx, stop
                    I82580 …   route: one IVAR register for two queues; I210: its drop counters

Does not do: checksum insertion, segmentation offload, virtual functions, flow control, time stamps,
wake on LAN, fibre and SERDES ports.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import DeviceTimeout, Usage
from uspnet.fastpath import c
from uspnet.nic.base import ClearOnReadCounters, Model
from uspnet.nic.intel import Advanced, ChecksumOptions, Phy, PhyTable, Ring, four
from uspnet.nic.rss import RSS_KEY, spread
from uspnet.register import RC, RO, RS, RW, WO
from uspnet.spec import integer, option

MASTER_S = 0.1  # for transfers under way when DMA is to end
RESET_S = 0.1  # a reset takes a millisecond, and so does loading the NVM
RESET_DELAY_S = 0.001  # after a reset before the first access
QUEUE_S = 0.1
FCS = 4
VLAN_TAG = 0x8100  # the EtherType before a tag
ONE_BUFFER = 1  # SRRCTL's code for advanced descriptors without header splitting
RSS = 2  # MRQC's code for RSS without virtual machines


class Regs(PhyTable):
    """The 82576's registers, as far as they are used here."""

    CTRL = RW(
        0x0000, "Device Control, §8.2.1", FD=0, MASTER_DISABLE=2, SLU=6, FRCSPD=11, FRCDPX=12,
        RST=26, RFCE=27, TFCE=28, VME=30,
    )  # fmt: skip
    STATUS = RO(0x0008, "Device Status, §8.2.2", FD=0, LU=1, LAN=(2, 3), SPEED=(6, 7), MASTER=19)
    EEC = RW(0x0010, "NVM Control, §8.4.1", AUTO_RD=9)
    CTRL_EXT = RW(0x0018, "Extended Device Control, §8.2.3", LINK_MODE=(22, 23), DRV_LOAD=28)
    MDIC = RW(
        0x0020, "MDI Control, §8.2.4",
        DATA=(0, 15), REG=(16, 20), PHY=(21, 25), OP=(26, 27), READY=28, ERROR=30,
    )  # fmt: skip
    VET = RW(0x0038, "VLAN Ether Type, §8.2.7", VET=(0, 15), OUTER=(16, 31))
    # MEASURED: QEMU's model has these two at their alias offsets only.
    ICR = RC(0x00C0, "Interrupt Cause Read, §8.8", TXDW=0, LSC=2, RXDMT0=4, RXO=6, RXDW=7)
    IMC = WO(0x00D8, "Interrupt Mask Clear, §8.8", ALL=(0, 31))
    RCTL = RW(
        0x0100, "Receive Control, §8.10.1",
        EN=1, SBP=2, UPE=3, MPE=4, LPE=5, BAM=15, VFE=18, SECRC=26,
    )  # fmt: skip
    TCTL = RW(0x0400, "Transmit Control, §8.12.1", EN=1, PSP=3, CT=(4, 11), COLD=(12, 21))
    GPIE = RW(0x1514, "General Purpose Interrupts, §8.8", NSICR=0, MSIX=4, EIAME=30, PBA=31)
    EIMS = RW(0x1524, "Extended Interrupt Mask Set, a bit a vector, §8.8")
    EIMC = WO(0x1528, "Extended Interrupt Mask Clear, §8.8", ALL=(0, 31))
    EIAC = RW(0x152C, "Extended Interrupt Auto Clear, a bit a vector, §8.8")
    EIAM = RW(0x1530, "Extended Interrupt Auto Mask, a bit a vector, §8.8")
    IVAR = RW(
        0x1700, "Interrupt Vector Allocation, by queue, §8.8", count=8, stride=4,
        RX=(0, 4), RX_VALID=7,
    )  # fmt: skip
    CRCERRS = RC(0x4000, "CRC Errors, §8.19")
    RXERRC = RC(0x400C, "Receive Errors, §8.19")
    MPC = RC(0x4010, "Missed Packets, §8.19")
    RLEC = RC(0x4040, "Receive Length Errors, §8.19")
    RUC = RC(0x40A4, "Receive Undersize, §8.19")
    ROC = RC(0x40AC, "Receive Oversize, §8.19")
    RXCSUM = RW(0x5000, "Receive Checksum Control, §8.10", IPOFLD=8, TUOFLD=9, PCSD=13)
    RLPML = RW(0x5004, "Receive Long Packet Maximal Length, §8.10", LENGTH=(0, 13))
    MTA = RW(0x5200, "Multicast Table, §8.10", count=128, stride=4)
    RAL = RW(0x5400, "Receive Address Low, §8.10", count=16, stride=8)
    RAH = RW(0x5404, "Receive Address High, §8.10", count=16, stride=8, ADDRESS=(0, 15), AV=31)
    MRQC = RW(
        0x5818, "Multiple Receive Queues Command, §8.10",
        ENABLE=(0, 2), TCP4=16, IP4=17, TCP6EX=18, IP6EX=19, IP6=20, TCP6=21, UDP4=22, UDP6=23,
    )  # fmt: skip
    SWSM = RS(0x5B50, "Software Semaphore, §8.7", SMBI=0, SWESMBI=1)
    SW_FW_SYNC = RW(
        0x5B5C, "Software-Firmware Synchronization, §8.7",
        PHY0=1, PHY1=2, PHY2=5, PHY3=6, FW_PHY0=17, FW_PHY1=18, FW_PHY2=21, FW_PHY3=22,
    )  # fmt: skip
    RETA = RW(0x5C00, "Redirection Table, §8.10", count=32, stride=4)
    RSSRK = RW(0x5C80, "RSS Random Key, §8.10", count=10, stride=4)
    RDBA = RW(0xC000, "Receive Descriptor Base, §8.10.5", width=64, count=16, stride=64)
    RDLEN = RW(0xC008, "Receive Descriptor Length, §8.10.7", count=16, stride=64, LEN=(0, 19))
    SRRCTL = RW(
        0xC00C, "Split and Replication Receive Control, §8.10.2", count=16, stride=64,
        BSIZEPACKET=(0, 6), DESCTYPE=(25, 27), DROP_EN=31,
    )  # fmt: skip
    RDH = RW(0xC010, "Receive Descriptor Head, §8.10.8", count=16, stride=64, RDH=(0, 15))
    RDT = RW(0xC018, "Receive Descriptor Tail, §8.10.9", count=16, stride=64, RDT=(0, 15))
    RXDCTL = RW(
        0xC028, "Receive Descriptor Control, §8.10.10", count=16, stride=64,
        PTHRESH=(0, 4), HTHRESH=(8, 12), WTHRESH=(16, 20), ENABLE=25,
    )  # fmt: skip
    RQDPC = RC(0xC030, "Receive Queue Drop Packet Count, §8.10", count=16, stride=64)
    TDBA = RW(0xE000, "Transmit Descriptor Base, §8.12", width=64, count=16, stride=64)
    TDLEN = RW(0xE008, "Transmit Descriptor Length, §8.12", count=16, stride=64, LEN=(0, 19))
    TDH = RW(0xE010, "Transmit Descriptor Head, §8.12", count=16, stride=64, TDH=(0, 15))
    TDT = RW(0xE018, "Transmit Descriptor Tail, §8.12", count=16, stride=64, TDT=(0, 15))
    TXDCTL = RW(
        0xE028, "Transmit Descriptor Control, §8.12", count=16, stride=64,
        PTHRESH=(0, 4), HTHRESH=(8, 12), WTHRESH=(16, 20), ENABLE=25,
    )  # fmt: skip


@dataclass(frozen=True)
class IgbOptions(ChecksumOptions):
    """Options of the 82576, 82580 and I350."""

    queues: int = option(integer(1, 8), 1, "queue pairs, 1 to 8")


@dataclass(frozen=True)
class I210Options(IgbOptions):
    """Options of the I210."""

    queues: int = option(integer(1, 4), 1, "queue pairs, 1 to 4")


@dataclass(frozen=True)
class I211Options(I210Options):
    """Options of the I211."""

    queues: int = option(integer(1, 2), 1, "queue pairs, 1 to 2")


class Igb(
    Advanced,
    ids={(0x8086, device): "82576" for device in (0x10C9, 0x10E8, 0x1526)},
    ring="intel_advanced",
):
    """The 82576."""

    registers: ClassVar[type[Regs]] = Regs
    regs: Regs
    models: ClassVar[dict[str, Model]] = {
        "igb": Model("igb", since="8.0", kernel_module="igb", virtual_functions=True)
    }
    options = IgbOptions()
    frame_max = 9728 - FCS  # bytes, §1
    overrun = False  # frames found no room, since the start
    queues_max: ClassVar[int] = 8  # of the device's 16: RSS gives no queue to more
    interrupts = "MSI-X"

    def open(self) -> None:
        """Map and reset the device, which loads its address from the NVM. Raises Usage."""
        self.queues = self.options.queues
        if self.queues > self.queues_max:
            raise Usage(f"{self.name}: {self.title} has {self.queues_max} queues", "lower queues=")
        super().open()
        self.reset()
        self.learn_address()

    def reset(self) -> None:
        """Reset the device, with interrupts masked before and after (§4.5.4, §4.5.5). Disable DMA
        first (§5.2); a device that does not confirm that is reset all the same.
        """
        self.mask_interrupts()
        self.regs.CTRL.update(MASTER_DISABLE=1)
        with contextlib.suppress(DeviceTimeout):
            self.regs.STATUS.wait(MASTER=0, timeout=MASTER_S)
        self.regs.CTRL.update(RST=1)
        time.sleep(RESET_DELAY_S)
        self.regs.CTRL.wait(RST=0, timeout=RESET_S)
        self.mask_interrupts()

    def mask_interrupts(self) -> None:
        """Mask all interrupts and clear pending causes."""
        self.regs.IMC.write(ALL=0xFFFFFFFF)
        self.regs.EIMC.write(ALL=0xFFFFFFFF)
        self.regs.ICR.read()

    def vector(self, index: int) -> c.VectorFields:
        """Return the receive queue's vector, of the same number."""
        return self.mask_registers(self.regs.EIMS, self.regs.EIMC, 1 << index)

    # -- start and stop -------------------------------------------------------------------------

    def start(self) -> None:
        """Start up in the order of §4.5.3."""
        self.counts, self.overrun = ClearOnReadCounters(), False
        self.reset()
        self.dma_enable()
        self.take_over()
        self.set_link_up()
        self.set_address()
        self.clear_multicast_table()
        self.set_receive_rules()
        self.spread_flows()
        self.route_interrupts()
        for index, ring in self.rx_rings.items():
            self.start_rx(index, ring)
        self.regs.RCTL.update(EN=1)
        self.regs.TCTL.write(EN=1, PSP=int(self.options.tx_pad), CT=0x0F, COLD=0x40)
        for index, ring in self.tx_rings.items():
            self.start_tx(index, ring)

    def take_over(self) -> None:
        """Tell firmware that a driver is loaded, and wait until the NVM has been read (§4.5.5). A
        flashless chip never sets AUTO_RD, and works all the same.
        """
        with contextlib.suppress(DeviceTimeout):
            self.regs.EEC.wait(AUTO_RD=1, timeout=RESET_S)
        self.regs.CTRL_EXT.update(DRV_LOAD=1, LINK_MODE=0)

    def set_link_up(self) -> None:
        """Set link up with the speed and duplex of the PHY, and VLAN stripping (§4.5.7.1, §7.4)."""
        self.regs.VET.write(VET=VLAN_TAG, OUTER=VLAN_TAG)
        strip = int(self.options.vlan_strip)
        self.regs.CTRL.update(SLU=1, FRCSPD=0, FRCDPX=0, RFCE=0, TFCE=0, VME=strip)
        Phy(self.regs).negotiate()

    def set_receive_rules(self) -> None:
        """Set which frames are received, and their maximum length: that of a buffer (§8.10)."""
        promisc, multicast = self.options.promisc, self.options.multicast
        self.set_rx_checksum(self.regs.RXCSUM)
        self.regs.RLPML.write(LENGTH=self.frame + FCS)
        self.regs.RCTL.write(
            BAM=1, SECRC=1, LPE=1, UPE=int(promisc), MPE=int(promisc or multicast)
        )  # fmt: skip

    def spread_flows(self) -> None:
        """Enable RSS over the receive queues that were made; frames without IP go to the first
        (§7.1.1). The hash takes the place of the packet checksum in descriptors.
        """
        if len(self.rx_rings) < 2:
            self.regs.MRQC.write(0)
            return
        for index, word in enumerate(four(RSS_KEY)):
            self.regs.RSSRK[index].write(word)
        for index, word in enumerate(four(bytes(spread(sorted(self.rx_rings))))):
            self.regs.RETA[index].write(word)
        self.regs.RXCSUM.update(PCSD=1)
        self.regs.MRQC.write(ENABLE=RSS, TCP4=1, IP4=1, TCP6EX=1, IP6=1, TCP6=1, UDP4=1, UDP6=1)

    def route_interrupts(self) -> None:
        """Set up a vector for each receive queue, which clears and masks itself (§7.3, §8.8)."""
        if not self.events:
            return
        vectors = (1 << len(self.events)) - 1
        self.regs.GPIE.write(NSICR=1, MSIX=1, EIAME=1, PBA=1)
        self.regs.EIAC.write(vectors)
        self.regs.EIAM.write(vectors)
        for index in range(len(self.events)):
            self.route(index)

    def route(self, index: int) -> None:
        """Route a receive queue's interrupt to the vector of its number."""
        self.regs.IVAR[index].write(RX=index, RX_VALID=1)

    def start_rx(self, index: int, ring: Ring) -> None:
        """Fill and enable a receive ring (§4.5.9). With several queues, a full one drops frames
        (DROP_EN) instead of blocking the others.
        """
        self.fill(ring.queue)
        regs, memory = self.regs, ring.memory
        regs.RXDCTL[index].write(0)
        regs.RDBA[index].write(memory.address)
        regs.RDLEN[index].write(LEN=memory.size)
        regs.SRRCTL[index].write(
            BSIZEPACKET=-(-self.frame // 1024),
            DESCTYPE=ONE_BUFFER,
            DROP_EN=int(len(self.rx_rings) > 1),
        )
        regs.RDH[index].write(0)
        regs.RDT[index].write(0)
        regs.RXDCTL[index].write(PTHRESH=8, HTHRESH=8, WTHRESH=1, ENABLE=1)
        regs.RXDCTL[index].wait(ENABLE=1, timeout=QUEUE_S)
        regs.RDT[index].write(ring.queue.tail)

    def start_tx(self, index: int, ring: Ring) -> None:
        """Enable an empty transmit ring (§4.5.10)."""
        self.set_tag(ring.queue)
        regs, memory = self.regs, ring.memory
        regs.TXDCTL[index].write(0)
        regs.TDBA[index].write(memory.address)
        regs.TDLEN[index].write(LEN=memory.size)
        regs.TDH[index].write(0)
        regs.TDT[index].write(0)
        regs.TXDCTL[index].write(PTHRESH=8, HTHRESH=1, WTHRESH=0, ENABLE=1)
        regs.TXDCTL[index].wait(ENABLE=1, timeout=QUEUE_S)
        regs.TDT[index].write(ring.queue.next)

    def stop(self) -> None:
        """Disable receiver and transmitter, reset the device, and take the buffers back."""
        try:
            self.regs.RCTL.write(0)
            self.regs.TCTL.write(0)
            self.reset()
            self.dma_disable()
            self.regs.CTRL_EXT.update(DRV_LOAD=0)
        finally:
            self.empty()

    # -- state ----------------------------------------------------------------------------------

    def count_queue_drops(self) -> int:
        """Return the frames dropped because their queue was full."""
        registers = [self.regs.RQDPC[index] for index in self.rx_rings]
        self.counts.add(*registers)
        return sum(self.counts[register.name] for register in registers)

    def counters(self) -> dict[str, int | None]:
        """Return what the device did not deliver (§8.19).

        MEASURED: with several queues, QEMU's model drops frames for a full one and counts them
        nowhere, but sets the interrupt cause RXO. Then the number is unknown: None.
        """
        self.overrun = self.overrun or bool(self.regs.ICR.read_checked().RXO)
        missed, errors = self.lost()
        missed += self.count_queue_drops()
        unknown = self.overrun and not missed
        return {"rx_missed_errors": None if unknown else missed, "rx_errors": errors}


class Regs82580(Regs):
    """The registers of the 82580 and all later ones where they differ."""

    IVAR = RW(
        0x1700, "Interrupt Vector Allocation, by pairs of queues, I210 §8.8", count=4, stride=4,
        EVEN=(0, 4), EVEN_VALID=7, ODD=(16, 20), ODD_VALID=23,
    )  # fmt: skip


class I82580(
    Igb, ids={(0x8086, 0x150E): "82580", (0x8086, 0x1516): "82580"}, ring="intel_advanced"
):
    """The 82580: up to four ports, 8 queues each."""

    registers: ClassVar[type[Regs]] = Regs82580
    models: ClassVar[dict[str, Model]] = {}

    def route(self, index: int) -> None:
        """Route by IVAR, where two queues share a register."""
        register, half = self.regs.IVAR[index // 2], ("EVEN", "ODD")[index % 2]
        register.update(**{half: index, f"{half}_VALID": 1})


class I350(I82580, ids={(0x8086, 0x1521): "I350"}, ring="intel_advanced"):
    """The I350: up to four ports, 8 queues each."""


class RegsI210(Regs82580):
    """The I210's registers where they differ."""

    RQDPC = RW(0xC030, "Receive Queue Drop Packet Count, I210 §8.10", count=4, stride=64)


class I210(I82580, ids={(0x8086, 0x1533): "I210", (0x8086, 0x157B): "I210"}, ring="intel_advanced"):
    """The I210: one port, 4 queues. Its drop counters run on until they are written."""

    registers: ClassVar[type[Regs]] = RegsI210
    queues_max = 4
    options = I210Options()

    def count_queue_drops(self) -> int:
        """Return the drops since the reset, which clears the counters."""
        return sum(int(self.regs.RQDPC[index].read_checked()) for index in self.rx_rings)


class I211(I210, ids={(0x8086, 0x1539): "I211"}, ring="intel_advanced"):
    """The I211: an I210 with 2 queues."""

    queues_max = 2
    options = I211Options()
