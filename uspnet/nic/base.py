# SPDX-License-Identifier: Apache-2.0
"""NICs: what a register-level driver implements.

A driver (`Nic`) knows one family of devices and reaches it through a transport. A port (`NicPort`,
in ports/nic.py) knows how to get at the device: in a PCI slot, or in a private QEMU. Each is
unaware of the other's kind, so a driver proven on QEMU's model is, line by line, the one that runs
on hardware.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from uspnet.errors import Usage
from uspnet.fastpath import c, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import new
from uspnet.pci.config import config_of
from uspnet.pool import FRAME_MAX, Pool
from uspnet.register import Register, Registers
from uspnet.spec import Options, Values, check_options, integer, number, option, switch
from uspnet.text import read_mac
from uspnet.transports import Transport

Q = TypeVar("Q", bound="c.AnyQueue")  # the C struct of a NIC's queues
HEADER = 22  # bytes of an Ethernet header with two VLAN tags
NICS: dict[tuple[int, int], type[AnyNic]] = {}


def mac_address(text: str) -> bytes:
    """Read a station address such as `02:00:00:00:00:01`. Raises ValueError."""
    mac = read_mac(text)
    if mac[0] % 2 or not any(mac):
        raise ValueError("must be the address of one station")
    return mac


def ring_size(low: int, high: int, default: int = 512) -> int:
    """Declare the option for the size of a ring: a power of two of descriptors."""

    def read(text: str) -> int:
        value = integer(low, high)(text)
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value

    return option(read, default, f"descriptors in each ring, a power of two from {low} to {high}")


@dataclass(frozen=True)
class NicOptions(Options):
    """Options that every NIC takes. A driver's own go into a subclass, which may also declare
    `queues` an option, and the rings' limits anew.
    """

    mac: bytes | None = option(mac_address, None, "the address to take instead of the device's own")
    mtu: int = option(integer(68, FRAME_MAX - HEADER), 1500, "MTU in bytes")
    promisc: bool = option(switch, True, "receive frames for other stations: on or off")
    multicast: bool = option(switch, True, "receive every multicast frame: on or off")
    outage: float = option(
        number(0, 86400), 10.0, "seconds that the device may be away after a reset; 0: fail at once"
    )
    queues: int = 1  # pairs
    rx_ring: int = ring_size(32, 4096)
    tx_ring: int = ring_size(32, 4096)


@dataclass(frozen=True)
class VlanOptions(NicOptions):
    """And those of a NIC that handles VLAN tags."""

    vlan_strip: bool = option(switch, False, "take the VLAN tag off received frames: on or off")
    vlan_insert: int = option(integer(1, 4094), 0, "put this VLAN's tag into every sent frame")


@dataclass(frozen=True)
class Model:
    """An emulated device that a driver runs on: QEMU's `-device` argument.

    `arguments` makes words for `-device` of the driver's options.
    `rx_delay_s`: how long after `start` the model holds received frames back; `since`: the first
    QEMU that has it, of those that were tried. `several`: what `-device` needs for more than one
    queue pair, each of which is a queue of the cable, too; without it, only the NIC has several.

    The rest is for tests. `variants`: options that make another device of it. `window`: frames
    that may be under way before it drops any; 0: any number. `kernel_module`: the Linux
    module that drives it in a guest; empty: it is in no guest. `guest`: its `-device` argument
    there, if not `device`. `virtual_functions`: its function can have some.
    """

    device: str
    arguments: Mapping[str, str] = field(default_factory=dict)  # field → property of -device
    rx_delay_s: float = 0.0
    since: str = "7.2"
    several: str = ""
    variants: tuple[str, ...] = ()
    window: int = 0
    kernel_module: str = ""
    guest: str = ""
    virtual_functions: bool = False


@dataclass(frozen=True)
class Link:
    """The state of the cable. `speed` in Mbit/s, None when the device doesn't say."""

    up: bool
    speed: int | None = None


class ClearOnReadCounters:
    """Sum up a device's counters since its start: they clear when they are read.

    Some of QEMU's models forget to clear some of them. MEASURED: read twice, such a counter has the
    same value both times; one that was cleared has not, microseconds later.
    """

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self.seen.get(name, 0)

    def add(self, *registers: Register) -> None:
        """Read the counters and add them. Raises DeviceFault when the device is gone."""
        for register in registers:
            first = int(register.read_checked())
            if not first:
                continue
            again = int(register.read_checked())
            total = again if again >= first else self[register.name] + first + again
            self.seen[register.name] = max(total, self[register.name])


class Nic(ABC, Generic[Q]):
    """One family of NICs. A subclass names the functions it drives, and its descriptor format:

    `class E1000(Nic, ids={(0x8086, 0x100E): "82540EM"}, ring="intel_legacy"): …`
    """

    ids: ClassVar[Mapping[tuple[int, int], str]] = {}
    ring: str = (
        ""  # fastpath/rings/nic/<ring>.c: <ring>_rx, <ring>_tx; an object may choose another
    )
    models: ClassVar[Mapping[str, Model]] = {}  # QEMU's, as `qemu:NAME`
    options: NicOptions = NicOptions()  # as a port's: the class has the defaults
    registers: ClassVar[type[Registers]]
    frame_max: ClassVar[int] = 1522  # bytes that the device sends and receives, without FCS
    unknown: ClassVar[frozenset[str]] = frozenset()  # counters that the device can't know
    # The registers that hold the station address, its first byte lowest in the first.
    address_registers: ClassVar[tuple[str, ...]] = ()
    # "MSI-X", a vector for each receive queue, or "INTx", for the only one: what `start` sets up.
    interrupts: ClassVar[str] = ""

    def __init_subclass__(
        cls, ids: Mapping[tuple[int, int], str], ring: str, **more: object
    ) -> None:
        super().__init_subclass__(**more)
        check_options(cls.options)
        cls.ids, cls.ring = ids, ring
        for each in ids:
            if each in NICS:
                other = NICS[each].__name__
                raise TypeError(
                    f"two drivers for {each[0]:04x}:{each[1]:04x}: {other}, {cls.__name__}"
                )
            NICS[each] = cls
        for part in ("rx", "tx", *(["arm"] if cls.interrupts else [])):
            if not hasattr(lib, f"{ring}_{part}"):
                raise TypeError(f"{cls.__name__}: no {ring}_{part} in the fast path")

    def __init__(self, transport: Transport, name: str, given: Values) -> None:
        self.transport, self.name = transport, name
        self.options = self.options.changed(given)
        self.config = config_of(transport)
        self.frame = self.options.mtu + HEADER
        self.queues = 1  # pairs
        self.counts = ClearOnReadCounters()
        self.mac = bytes(6)
        self.events: list[int] = []  # descriptors of interrupts, by receive queue
        self.rx: list[Q] = []  # the C structs of its queues, by index
        self.tx: list[Q] = []
        self.owned = Owned()
        if self.frame > self.frame_max:
            raise Usage(
                f"{name}: {self.title} takes no MTU above {self.frame_max - HEADER}", "lower mtu="
            )

    @property
    def title(self) -> str:
        """Return the device's name."""
        return next(iter(self.ids.values()))

    # -- what a driver implements ---------------------------------------------------------------

    @abstractmethod
    def open(self) -> None:
        """Map the BARs, reset the device, and read `mac` and `queues`."""

    @abstractmethod
    def ring_bytes(self) -> int:
        """Return the bytes of memory that one queue pair shares with the device."""

    @abstractmethod
    def ring_slots(self) -> int:
        """Return the most buffers that one ring holds."""

    @abstractmethod
    def make_rx(self, index: int) -> Q:
        """Make the C struct of a receive queue: its ring's memory, size and doorbell."""

    @abstractmethod
    def make_tx(self, index: int) -> Q:
        """Make the C struct of a transmit queue: its ring's memory, size and doorbell."""

    @abstractmethod
    def start(self) -> None:
        """Bring the device up from reset, in its manual's order. Every queue is made."""

    @abstractmethod
    def stop(self) -> None:
        """End all DMA and take the buffers back. Also called after a failed `start`."""

    @abstractmethod
    def link(self) -> Link:
        """Return the state of the link."""

    @abstractmethod
    def counters(self) -> Mapping[str, int | None]:
        """Return what only the device counted since `start`, under the kernel's names. None for
        counters that it does not have.
        """

    @abstractmethod
    def in_flight(self, queue: Q) -> list[int]:
        """Return the lengths in bytes of the frames in a transmit queue that the device has not
        reported as sent. No worker may run.
        """

    def send_limit(self, tags: Sequence[int]) -> tuple[int, str]:
        """Return the bytes of the longest frame with VLAN tags of these EtherTypes that it is to
        send, and a hint how to raise that.
        """
        hint = f"set mtu=, which goes up to {self.frame_max - HEADER}"
        return self.options.mtu + 14 + 4 * min(len(tags), 2), hint

    def pending(self) -> int:
        """Return how many packets are in flight in all transmit queues. No worker may run."""
        return sum(len(self.in_flight(queue)) for queue in self.tx)

    def check(self) -> None:
        """Raise DeviceFault when the running device reports a fatal error."""

    def was_reset(self) -> bool:
        """Return whether the device has lost what `start` set up. Every reset of the function
        clears Bus Master Enable (PCI 3.0 §6.2.2); a driver adds what only its device shows. Raises
        DeviceFault when the device is gone.
        """
        return not self.config.COMMAND.read_checked().BUS_MASTER

    def tables(self) -> Sequence[Registers]:
        """Return the register tables that `uspnet regs` shows. Map them, and change nothing in the
        device.
        """
        return [self.registers(self.transport.map_bar(0), self.name)]

    # -- shared by all --------------------------------------------------------------------------

    def attach(self, pool: Pool) -> None:
        """Give the device access to the job's packet memory."""
        self.pool = pool
        self.transport.attach(pool)

    def table(self, count: int) -> c.Pointer[int]:
        """Return a `uint32_t *` to that many zeros, for a C struct of one of our queues."""
        return self.owned.keep(new("uint32_t[]", count))

    def dma_enable(self) -> None:
        """Set Bus Master Enable: the device may read and write memory."""
        self.config.COMMAND.update(MEMORY=1, BUS_MASTER=1)

    def dma_disable(self) -> None:
        """Clear Bus Master Enable: no DMA from here on, even if the device still runs."""
        self.config.COMMAND.update(BUS_MASTER=0)


AnyNic = Nic[Any]  # whatever its rings are
