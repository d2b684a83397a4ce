# SPDX-License-Identifier: Apache-2.0
"""`tap:NAME` - the kernel's own network stack: what is sent here arrives on interface NAME, and
what the kernel sends there is received.

The interface is made when there is none of that name, and goes when the port is closed, however
the process ends. One that exists already (`ip tuntap add NAME mode tap`) is used as it is, and
stays. Nothing is offloaded: the kernel's frames are whole, checksummed and within the MTU.

Reference: Linux Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import struct
from typing import Any, ClassVar

from uspnet.errors import Busy, DeviceFault, NotPermitted, NotSupported, UspnetError
from uspnet.fastpath import ffi, lib
from uspnet.frames import mac_bytes
from uspnet.interface import Interface, check_name
from uspnet.pool import FRAME_MAX
from uspnet.port import Direction, Driver
from uspnet.spec import Option, Spec, integer, switch

DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI = 0x0002, 0x0100, 0x1000
HEADER = 14 + 4 + 4  # bytes that Ethernet and two VLAN tags add to the MTU


class Tap(Driver, scheme="tap"):
    """One descriptor of /dev/net/tun a queue pair."""

    help = "the kernel's own network stack, through a TAP interface"
    unknown: ClassVar[frozenset[str]] = frozenset({"rx_missed_errors"})
    fixed_frame = True
    options: ClassVar[dict[str, Option]] = {
        "queues": Option(integer(1, 64), 1, "queue pairs, 1 to 64"),
        "mtu": Option(integer(68, FRAME_MAX - HEADER), None, f"bytes, 68 to {FRAME_MAX - HEADER}"),
        "mac": Option(mac_bytes, None, "the kernel's address on it, as 02:00:00:00:00:01"),
        "ip": Option(ipaddress.IPv4Interface, None, "the kernel's address on it, as 10.0.0.1/24"),
        "up": Option(switch, True, "off: somebody else brings the interface up"),
    }

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.queues = self.values["queues"]
        self.ifname = check_name("tap", spec.target)
        self.interface: Interface | None = None
        self.fds: list[int] = []

    def open(self) -> None:
        """Makes or finds the interface, and sets it up as the options say."""
        for _ in range(self.queues):
            self._attach_queue()
        self.interface = Interface(self.ifname)
        if self.values["mtu"]:
            self.interface.set_mtu(self.values["mtu"])
        if self.values["mac"]:
            self.interface.set_mac(self.values["mac"])
        if self.values["ip"]:
            self.interface.set_ip(self.values["ip"])
        if self.values["up"]:
            self.interface.set_up()
        self.frame = min(self.interface.mtu + HEADER, FRAME_MAX)

    def _attach_queue(self) -> None:
        flags = IFF_TAP | IFF_NO_PI | (IFF_MULTI_QUEUE if self.queues > 1 else 0)
        try:
            self.fds.append(os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            request = struct.pack("16sH22x", os.fsencode(self.ifname), flags)
            fcntl.ioctl(self.fds[-1], TUNSETIFF, request)
        except OSError as error:
            raise self._open_error(error.errno or 0) from None

    def _open_error(self, number: int) -> UspnetError:
        name = self.ifname
        match number:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                return NotSupported(f"{DEVICE} is not there", "load the module: modprobe tun")
            case errno.EPERM | errno.EACCES:
                return NotPermitted(
                    f"{self.name}: TAP interfaces are not permitted",
                    "run as root, or with CAP_NET_ADMIN; or have root make one for you: "
                    f"ip tuntap add {name} mode tap user $USER",
                )
            case errno.EBUSY:
                return Busy(
                    f"{self.name}: another process holds {name}",
                    f"take another name, or end that process: grep {name} /proc/*/fdinfo/*",
                )
            case errno.EINVAL:
                return Busy(
                    f"{self.name}: {name} exists and is no TAP interface with "
                    f"{'several queues' if self.queues > 1 else 'one queue'}",
                    f"take another name; see: ip -details link show {name}",
                )
            case _:
                return DeviceFault(f"{self.name}: {DEVICE}: {os.strerror(number)}")

    def make_queue(self, direction: Direction, index: int) -> Any:
        """Both directions of a pair share a descriptor."""
        queue = ffi.new("struct tap_queue *", {"fd": self.fds[index]})
        queue.q.burst = ffi.addressof(lib, f"tap_{direction}")
        queue.q.wake_fd = self.fds[index]
        return queue

    def _kernel_side(self) -> Interface:
        if not self.interface:
            raise DeviceFault(f"{self.name}: the port is closed")
        return self.interface

    def up(self) -> bool:
        """Is the interface up?"""
        return self._kernel_side().is_up()

    def why_down(self) -> str:
        """What the port waits for."""
        return f"ip link set {self.ifname} up"

    def control(self) -> None:
        """Notices when the interface goes down or away."""
        if self.values["up"]:
            self._kernel_side().check_up()
        super().control()

    def io_error(self, number: int) -> UspnetError:
        """The interface is down under a transmit queue, or something rarer."""
        if number == errno.EIO:
            return self._kernel_side().down_error()
        return super().io_error(number)

    def close(self) -> None:
        """Closes the descriptors; the kernel removes an interface that it made for us."""
        while self.fds:
            os.close(self.fds.pop())
        if self.interface:
            self.interface.close()
            self.interface = None
