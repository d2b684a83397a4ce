# SPDX-License-Identifier: Apache-2.0
"""`tap:NAME` - the kernel's own network stack: what is sent here arrives on interface NAME, and
what the kernel sends there is received. `tap:NETNS/NAME`: in another network namespace.

`uspnet/kernel/tun.py` says when the interface comes and goes. With `offload=on`, the kernel leaves
checksums and the segmentation of TCP and UDP to us, and TCP segments are joined for it; without it,
its frames are whole, checksummed and within the MTU.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import ClassVar

from uspnet.fastpath import c, ffi, lib
from uspnet.kernel import netns
from uspnet.kernel.interface import UP, Interface, check_name
from uspnet.kernel.tun import close_queues, name_of, open_queues
from uspnet.memory import new
from uspnet.packets.frames import mac_bytes
from uspnet.pool import FRAME_MAX
from uspnet.port import Direction
from uspnet.ports.kernel import KernelPort
from uspnet.spec import Options, Spec, integer, option, switch
from uspnet.system import kept

QUEUES_MAX = 64
_WENT = "went to another network namespace, where its state and MTU are not seen"
_CAME = "came back from another network namespace"
HEADER = 14 + 4 + 4  # bytes that Ethernet and two VLAN tags add to the MTU


@dataclass(frozen=True)
class TapOptions(Options):
    """Options of `tap:`."""

    queues: int = option(integer(1, QUEUES_MAX), 1, f"queue pairs, 1 to {QUEUES_MAX}")
    mtu: int | None = option(
        integer(68, FRAME_MAX - HEADER), None, f"bytes, 68 to {FRAME_MAX - HEADER}"
    )
    mac: bytes | None = option(mac_bytes, None, "the kernel's address on it, as 02:00:00:00:00:01")
    ip: ipaddress.IPv4Interface | None = option(
        ipaddress.IPv4Interface, None, "the kernel's address on it, as 10.0.0.1/24"
    )
    offload: bool = option(
        switch, False, "on: segment and checksum for the kernel, and join TCP segments: faster"
    )
    up: bool = option(switch, True, "off: do not bring the interface up")


class Tap(KernelPort, scheme="tap"):
    """One descriptor of /dev/net/tun a queue pair."""

    help = "the kernel's own network stack, through a TAP interface, NAME or NETNS/NAME"
    unknown: ClassVar[frozenset[str]] = frozenset({"rx_missed_errors"})
    header = HEADER
    mtu_limits = False
    exclusive = False  # the interface must not exist
    options = TapOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.queues = self.options.queues
        self.netns, name = netns.split(spec.target)
        self.ifname = check_name("tap", name)
        self.fds: list[int] = []
        self.away = False  # the interface is in another network namespace
        self.large: list[c.Pointer[int]] = []
        self.calls = frozenset({"readv", "writev"} if self.options.offload else {"write"})

    def open(self) -> None:
        """Create or find the interface, and configure it as the options say."""
        held = [kept.take(f"{self.kept_as} queue {index}") for index in range(self.queues)]
        self.fds = [fd for fd in held if fd >= 0]
        if self.fds:
            self.interface = Interface(name_of(self.fds[0]), self.netns)
        else:
            with netns.entered(self.netns):
                self.fds = open_queues(
                    self.name,
                    self.ifname,
                    self.queues,
                    exclusive=self.exclusive,
                    offload=self.options.offload,
                )
            self.interface = Interface(self.ifname, self.netns)
            self.configure(self.interface)
        self.begin_watch()
        self.frame = min(self.mtu + HEADER, FRAME_MAX)

    def configure(self, interface: Interface) -> None:
        """Do what the options say of an interface that was just opened. Raises as its setters."""
        if self.options.mtu:
            interface.set_mtu(self.options.mtu)
        if self.options.mac:
            interface.set_mac(self.options.mac)
        if self.options.ip:
            interface.set_ip(self.options.ip)
        if self.options.up:
            interface.set_up()

    def held(self) -> dict[str, int]:
        """Return the queues' descriptors: the interface stays, as it is. Raises NotSupported while
        it is in another network namespace.
        """
        self.check_home(self.netns or self.away)
        return {f"{self.kept_as} queue {index}": fd for index, fd in enumerate(self.fds)}

    def send_limit(self, tags: list[int]) -> tuple[int, str]:
        """Return the MTU plus header and tags."""
        return self.mtu + 14 + 4 * min(len(tags), 2), "set mtu="

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make a queue; both directions of a pair share a descriptor."""
        queue = new("struct tap_queue *", {"fd": self.fds[index]})
        kind = "tap_offload" if self.options.offload else "tap"
        queue.q.burst = ffi.addressof(lib, f"{kind}_{direction}")
        queue.q.wake_fd = self.fds[index]
        if self.options.offload and direction == "rx":
            self.large.append(new("uint8_t[]", lib.TAP_LARGE))
            queue.large = self.large[-1]
            queue.q.patient = 1  # a packet in the kernel's queue waits until all before have left
        return queue

    def revive(self) -> list[int]:
        """Count the rest of packets that were being segmented as lost. Queues hold no buffers."""
        self._give_up(lib.DROP_WORKER_LOST)
        return []

    def finish(self) -> None:
        """Count the rest of packets that were being segmented: the kernel has sent it."""
        self._give_up(lib.DROP_ENDED)

    def _give_up(self, reason: int) -> None:
        for queue in self.made:
            if queue.direction == "rx":
                lost = lib.tap_give_up(ffi.cast("struct tap_queue *", queue.c))
                queue.drop(lost, reason)

    def descriptors(self) -> list[int]:
        """Return the queues' descriptors."""
        return list(self.fds)

    def up(self) -> bool:
        """Return whether the interface is up. Of one that is away, only its queues know."""
        return self.away or self.kernel_side().is_up()

    def why_down(self) -> str:
        """Return what the port waits for."""
        return f"ip link set {self.ifname} up"

    def watch(self) -> None:
        """Report changes of state and MTU; and that it went to another network namespace, from
        where no changes are seen: then the queues stay open, and find out when it is down.
        """
        away = self._is_away()
        if away != self.away:
            self.away = away
            self.notice(f"{self.name}: the interface {_WENT if away else _CAME}")
        if not away:
            super().watch()
            return
        self.state = UP
        for queue in self.made:
            queue.base.closed = 0

    def _is_away(self) -> bool:
        """Raise DeviceFault if the interface was removed."""
        try:
            return not self.kernel_side().is_called(name_of(self.fds[0]))
        except OSError:
            raise self.kernel_side().gone_error() from None

    def control(self) -> None:
        """Check the interface and the queues."""
        self.watch()
        super().control()

    def close(self) -> None:
        """Close the descriptors; the kernel removes an interface that it made for us."""
        close_queues(self.fds, self.interface)
        self.interface = None
