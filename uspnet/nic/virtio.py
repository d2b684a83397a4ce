# SPDX-License-Identifier: Apache-2.0
"""Virtio network devices, whatever carries them: features, the handshake, rings and commands.

Sections (§) are those of "Virtual I/O Device (VIRTIO) Version 1.2". A transport of virtio (a PCI
function, a vhost-user socket) subclasses `Virtio` and gives it four accessors.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from uspnet.errors import DeviceFault, DeviceTimeout, NotSupported
from uspnet.fastpath import ffi, lib
from uspnet.memory import new
from uspnet.register import POLL_S, RW, Value
from uspnet.transports import Dma

RESET_S = 1.0
ANSWER_S = 1.0  # to a command
LINE: int = lib.CACHE_LINE
NET_HEADER: int = lib.VIRTQ_NET_HEADER
FEATURES = RW(
    0, "Feature bits, §5.1.3 and §6", width=64,
    MTU=3, MAC=5, MRG_RXBUF=15, STATUS=16, CTRL_VQ=17, CTRL_RX=18, MQ=22, CTRL_MAC_ADDR=23,
    VERSION_1=32, ACCESS_PLATFORM=33, RING_PACKED=34, IN_ORDER=35, ORDER_PLATFORM=36,
    NOTIFICATION_DATA=38, RSS=60, SPEED_DUPLEX=63,
)  # fmt: skip
# Accepted whenever they are offered. EVENT_IDX is not negotiated: we poll, and one doorbell a burst
# needs only the notification flags.
ALWAYS = (
    "MTU", "MAC", "STATUS", "CTRL_VQ", "CTRL_RX", "CTRL_MAC_ADDR", "VERSION_1", "ACCESS_PLATFORM",
    "ORDER_PLATFORM", "NOTIFICATION_DATA", "SPEED_DUPLEX",
)  # fmt: skip
STATUS = RW(
    0, "Device Status, §2.1", width=8,
    ACKNOWLEDGE=0, DRIVER=1, DRIVER_OK=2, FEATURES_OK=3, NEEDS_RESET=6, FAILED=7,
)  # fmt: skip
RX_PROMISC, RX_ALLMULTI = (0, 0), (0, 1)  # commands: class and number, §5.1.6.5
MAC_ADDR_SET = (1, 1)
VQ_PAIRS_SET, RSS_CONFIG = (4, 0), (4, 1)
COMMAND_BYTES = 512  # room for a command with its answer
ACK_OK = 0


class Virtio(ABC):
    """A device and its status handshake (§3.1.1)."""

    name: str
    features = Value(0, FEATURES)  # what both sides have agreed on

    @abstractmethod
    def get_status(self) -> int:
        """Return the device status byte. Raises DeviceFault when the device is gone."""

    @abstractmethod
    def set_status(self, status: int) -> None:
        """Write the device status byte."""

    @abstractmethod
    def device_features(self) -> int:
        """Return the feature bits that the device offers."""

    @abstractmethod
    def driver_features(self, features: int) -> None:
        """Write the feature bits that we accept."""

    def reset_device(self) -> None:
        """Write 0 to the status and wait for the end of the reset (§2.4). Raises DeviceTimeout."""
        self.set_status(0)
        deadline = time.monotonic() + RESET_S
        while status := self.get_status():
            if time.monotonic() > deadline:
                raise DeviceTimeout(
                    f"{self.name}: reset timed out, status still {Value(status, STATUS)}",
                    "run it once more; if it stays so, restart what provides the device",
                )
            time.sleep(POLL_S)

    def begin_init(self, needed: Iterable[str], wanted: Iterable[str] = ()) -> None:
        """Do steps 2 to 6 of initialization, after a reset; then queues can be set up. Raises
        NotSupported when a feature in `needed` is not offered; those in `wanted` are accepted in
        addition to ALWAYS.
        """
        status = STATUS.put(0, {"ACKNOWLEDGE": 1})
        self.set_status(status)
        status = STATUS.put(status, {"DRIVER": 1})
        self.set_status(status)
        offered = Value(self.device_features(), FEATURES).fields()
        if missing := sorted(name for name in needed if not offered[name]):
            self._fail(f"does not offer {' '.join(missing)}")
        taken = {name: offered[name] for name in {*ALWAYS, *needed, *wanted}}
        self.features = Value(FEATURES.put(0, taken), FEATURES)
        self.driver_features(self.features)
        self.set_status(STATUS.put(status, {"FEATURES_OK": 1}))
        if not Value(self.get_status(), STATUS).FEATURES_OK:
            self._fail(f"refuses the features that it offers: {self.features}")

    def finish_init(self) -> None:
        """Do step 8: set DRIVER_OK."""
        self.set_status(STATUS.put(self.get_status(), {"DRIVER_OK": 1}))

    def is_live(self) -> bool:
        """Return whether DRIVER_OK is set."""
        return bool(Value(self.get_status(), STATUS).DRIVER_OK)

    def _fail(self, why: str) -> None:
        self.set_status(STATUS.put(self.get_status(), {"FAILED": 1}))
        raise NotSupported(f"{self.name}: the device {why}", "change the port's options")

    def check_status(self) -> None:
        """Raise DeviceFault when the device has set NEEDS_RESET (§2.1.2)."""
        if Value(self.get_status(), STATUS).NEEDS_RESET:
            raise DeviceFault(
                f"{self.name}: the device has given up and asks for a reset (NEEDS_RESET)",
                "run it once more",
            )


# -- rings ---------------------------------------------------------------------------------------


def whole_lines(size: int) -> int:
    """Round `size` up to whole cache lines, in bytes."""
    return -(-size // LINE) * LINE


@dataclass(frozen=True)
class Layout:
    """Where the parts of a ring of `size` descriptors lie in its memory (§2.7 and §2.8.10), what
    each end writes on cache lines of its own. Offsets in bytes.
    """

    size: int
    packed: bool

    @property
    def driver(self) -> int:
        """Return the offset of the driver area: the available ring, or our event suppression."""
        return 16 * self.size

    @property
    def device(self) -> int:
        """Return the offset of the device area: used ring, or the device's event suppression."""
        return self.driver + whole_lines(4 if self.packed else 6 + 2 * self.size)

    @property
    def header(self) -> int:
        """Return the offset of the net header that all transmitted packets share."""
        return self.device + whole_lines(4 if self.packed else 6 + 8 * self.size)

    @property
    def bytes(self) -> int:
        """Return the size of ring, header and command in bytes."""
        return self.header + LINE + COMMAND_BYTES


class Ring:
    """One virtqueue: its C struct, `c`, and the memory that it shares with the device.

    `double`: a chain is two descriptors, as on a transmit or control queue. `shared`: loops use it.
    """

    def __init__(self, layout: Layout, memory: Dma, *, double: bool, shared: bool = True) -> None:
        make = new if shared else ffi.new
        self.layout, self.memory = layout, memory
        self.c = c = make("struct virtq_queue *")
        ffi.memmove(memory.pointer, bytes(layout.bytes), layout.bytes)
        c.descriptors = ffi.cast("struct virtq_descriptor *", memory.pointer)
        driver, device = memory.pointer + layout.driver, memory.pointer + layout.device
        if layout.packed:
            c.ours = ffi.cast("struct virtq_events *", driver)
            c.theirs = ffi.cast("struct virtq_events *", device)
        else:
            c.available = ffi.cast("struct virtq_available *", driver)
            c.used = ffi.cast("struct virtq_used *", device)
        c.header = memory.address + layout.header
        c.descs_per_chain = 2 if double else 1
        c.chains = layout.size // c.descs_per_chain
        nothing = [lib.VIRTQ_NONE] * c.chains  # until `fill`, which may never come
        c.buffers = self._buffers = make("uint32_t[]", nothing)

    def call(self, name: str, *arguments: int) -> int:
        """Call the C function of that name for this ring's format."""
        prefix = "virtq_packed_" if self.layout.packed else "virtq_"
        return int(getattr(lib, prefix + name)(self.c, *arguments) or 0)


class Control(Ring):
    """The control queue (§5.1.6.5): one command after another, each awaited."""

    def __init__(self, layout: Layout, memory: Dma, name: str) -> None:
        super().__init__(layout, memory, double=True, shared=False)
        self.name = name
        self._counters = ffi.new("struct counters *")
        self.c.q.counters = self._counters

    def ask(self, command: tuple[int, int], data: bytes) -> None:
        """Send a command and wait for its answer. Raises DeviceFault when the device refuses it,
        DeviceTimeout when it does not answer.
        """
        text = bytes(command) + data
        at = self.layout.header + LINE
        memory = self.memory.pointer
        ffi.memmove(memory + at, text + b"\xff", len(text) + 1)
        self.call("ask", self.memory.address + at, len(text), 1)
        deadline = time.monotonic() + ANSWER_S
        while not self.call("answered"):
            if time.monotonic() > deadline:
                raise DeviceTimeout(
                    f"{self.name}: no answer to command {command} in {ANSWER_S:g} s",
                    "run it once more",
                )
            time.sleep(POLL_S)
        if (answer := memory[at + len(text)]) != ACK_OK:
            raise DeviceFault(f"{self.name}: the device refuses command {command}: {answer}")
