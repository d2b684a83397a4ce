# SPDX-License-Identifier: Apache-2.0
"""TAP interfaces: the kernel's side is an interface, ours one file descriptor for each queue.

An interface of that name is created if there is none, and the kernel removes it when the last
descriptor is closed. A persistent one (`ip tuntap add NAME mode tap`) is used, and stays.

Reference: Linux Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from uspnet.errors import Busy, DeviceFault, NotPermitted, NotSupported, UspnetError
from uspnet.kernel.interface import Interface

DEVICE = "/dev/net/tun"
TUNSETIFF, TUNSETOFFLOAD, TUNGETIFF = 0x400454CA, 0x400454D0, 0x800454D2
TUNSETVNETHDRSZ, TUNSETCARRIER = 0x400454D8, 0x400454E2
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TUN_EXCL = 0x0002, 0x0100, 0x1000, 0x8000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_ECN, TUN_F_USO4, TUN_F_USO6 = 1, 2, 4, 8, 0x20, 0x40
OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_ECN
HEADER_BYTES = 10  # of struct virtio_net_hdr


def open_queues(
    owner: str, name: str, count: int, *, exclusive: bool = False, offload: bool = False
) -> list[int]:
    """Open `count` queues of the interface; return their descriptors, which do not block.

    `owner`: the port that errors name; `exclusive`: the interface must not exist; `offload`: a
    virtio header is in front of each packet, and the kernel leaves checksums and segmentation to
    us. Raises NotPermitted, NotSupported, Busy, DeviceFault.
    """
    flags = IFF_TAP | IFF_NO_PI | (IFF_MULTI_QUEUE if count > 1 else 0)
    flags |= IFF_VNET_HDR if offload else 0
    fds: list[int] = []
    try:
        for number in range(count):
            new = IFF_TUN_EXCL if exclusive and not number else 0
            fds.append(os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            fcntl.ioctl(fds[-1], TUNSETIFF, struct.pack("16sH22x", os.fsencode(name), flags | new))
            _set_offloads(fds[-1], offload=offload)
    except OSError as error:
        for fd in fds:
            os.close(fd)
        raise _error(owner, name, count, error.errno or 0, exclusive=exclusive) from None
    return fds


def _set_offloads(fd: int, *, offload: bool) -> None:
    """Say what the kernel may leave to us. A persistent interface keeps what its last user said.
    Raises OSError.
    """
    if not offload:
        fcntl.ioctl(fd, TUNSETOFFLOAD, 0)
        return
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("=i", HEADER_BYTES))
    try:
        fcntl.ioctl(fd, TUNSETOFFLOAD, OFFLOADS | TUN_F_USO4 | TUN_F_USO6)
    except OSError:  # before Linux 6.2
        fcntl.ioctl(fd, TUNSETOFFLOAD, OFFLOADS)


def set_carrier(fd: int, *, up: bool) -> None:
    """Give the interface of a queue a carrier, or take it away. Raises OSError."""
    fcntl.ioctl(fd, TUNSETCARRIER, struct.pack("=I", up))


def name_of(fd: int) -> str:
    """Return the name that the interface of a queue has now. Raises OSError."""
    return os.fsdecode(fcntl.ioctl(fd, TUNGETIFF, bytes(40))[:16].partition(b"\0")[0])


def close_queues(fds: list[int], interface: Interface | None) -> None:
    """Close the descriptors, which leaves the list empty, and what watches the interface; the
    kernel removes an interface that it made for us.
    """
    while fds:
        os.close(fds.pop())
    if interface:
        interface.close()


def _error(owner: str, name: str, count: int, number: int, *, exclusive: bool) -> UspnetError:
    match number:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return NotSupported(f"{DEVICE} is not there", "load the module: modprobe tun")
        case errno.EPERM | errno.EACCES:
            several = " multi_queue" if count > 1 else ""
            own = f"ip tuntap add {name} mode tap user $USER{several} && ip link set {name} up"
            return NotPermitted(
                f"{owner}: TAP interfaces are not permitted",
                "run as root, or with CAP_NET_ADMIN"
                + ("" if exclusive else f"; or have root make one for you: {own}"),
            )
        case errno.EBUSY if exclusive:
            return Busy(
                f"there is an interface {name} already",
                f"take another name; see: ip link show {name}",
            )
        case errno.EBUSY:
            return Busy(
                f"{owner}: another process holds {name}",
                f"take another name, or end that process: grep {name} /proc/*/fdinfo/*",
            )
        case errno.EINVAL:
            return Busy(
                f"{owner}: {name} exists and is no TAP interface with "
                f"{'several queues' if count > 1 else 'one queue'}",
                f"take another name; see: ip -details link show {name}",
            )
        case _:
            return DeviceFault(f"{owner}: {DEVICE}: {os.strerror(number)}")
