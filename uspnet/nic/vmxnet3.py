# SPDX-License-Identifier: Apache-2.0
"""VMXNET3's registers and commands, and the flags of its shared area.

Names after § are those of vmxnet3_defs.h and upt1_defs.h, the headers that its open drivers share.
"""

from __future__ import annotations

from uspnet.register import RO, RW, WO, Registers

COMMAND = {  # §Vmxnet3_Cmd
    "ACTIVATE_DEV": 0xCAFE0000, "QUIESCE_DEV": 0xCAFE0001, "RESET_DEV": 0xCAFE0002,
    "UPDATE_RX_MODE": 0xCAFE0003, "UPDATE_MAC_FILTERS": 0xCAFE0004,
    "UPDATE_VLAN_FILTERS": 0xCAFE0005,
    "GET_QUEUE_STATUS": 0xF00D0000, "GET_STATS": 0xF00D0001, "GET_LINK": 0xF00D0002,
}  # fmt: skip
GUEST = RW(0, "§Vmxnet3_GOSInfo", BITS=(0, 1), TYPE=(2, 5))
FEATURES = RW(0, "§UPT1_F_RXCSUM", RXCSUM=0, RSS=1, RXVLAN=2, LRO=3)
INTERRUPTS = RW(0, "§VMXNET3_IC_DISABLE_ALL", DISABLE_ALL=0)
RX_MODE = RW(0, "§Vmxnet3_RxFilterConf", UCAST=0, MCAST=1, BCAST=2, ALL_MULTI=3, PROMISC=4)
EVENTS = RW(0, "§VMXNET3_ECR_RQERR", RQERR=0, TQERR=1, LINK=2, DIC=3, DEBUG=4)
DESCRIPTOR_WORD = RW(0, "§Vmxnet3_TxDesc", width=64, EOP=44, TI=47, TCI=(48, 63))


class Regs(Registers, bytes=0x1000):
    """BAR 1: the device as a whole."""

    VRRS = RW(0x00, "Revision Report and Selection, §VMXNET3_REG_VRRS", V1=0, V2=1, V3=2)
    UVRS = RW(0x08, "UPT Version Report and Selection, §VMXNET3_REG_UVRS", V1=0)
    DSAL = RW(0x10, "Driver Shared Address Low, §VMXNET3_REG_DSAL")
    DSAH = RW(0x18, "Driver Shared Address High, §VMXNET3_REG_DSAH")
    CMD = RW(0x20, "Command, then its result, §Vmxnet3_Cmd", RESULT=(0, 31))
    LINK = RO(0x20, "Result of §VMXNET3_CMD_GET_LINK", alias=True, UP=0, SPEED=(16, 31))
    MACL = RW(0x28, "MAC Address Low, §VMXNET3_REG_MACL")
    MACH = RW(0x30, "MAC Address High, §VMXNET3_REG_MACH", ADDRESS=(0, 15))


class Doorbells(Registers, bytes=0x1000):
    """BAR 0: interrupt masks and doorbells."""

    IMR = WO(0x000, "Interrupt Mask, §VMXNET3_REG_IMR", count=25, stride=8, MASKED=0)
    TXPROD = WO(0x600, "Transmit Producer, §VMXNET3_REG_TXPROD", count=8, stride=8)
    RXPROD = WO(0x800, "Receive Producer, first ring, §VMXNET3_REG_RXPROD", count=16, stride=8)
    RXPROD2 = WO(0xA00, "Receive Producer, second ring, §VMXNET3_REG_RXPROD2", count=16, stride=8)
