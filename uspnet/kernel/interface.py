# SPDX-License-Identifier: Apache-2.0
"""Kernel network interfaces by ioctl(2): quick to import, and enough for what ports need.

Reference: netdevice(7). An interface is addressed by its index, so it may be renamed meanwhile.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
import time
from array import array

from uspnet.errors import DeviceFault, DeviceTimeout, NoDevice, NotPermitted, Usage, UspnetError
from uspnet.kernel import netns
from uspnet.text import printable

SIOCGIFNAME = 0x8910  # if_indextoname(3) would take a descriptor for it, each time
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
SIOCGIFMTU, SIOCSIFMTU = 0x8921, 0x8922
SIOCSIFHWADDR, SIOCGIFHWADDR = 0x8924, 0x8927
IFF_UP, IFF_RUNNING, IFF_MASTER = 0x1, 0x40, 0x400
SIOCETHTOOL, ETHTOOL_GSET, ETHTOOL_GLINK, ETHTOOL_GCHANNELS = 0x8946, 0x01, 0x0A, 0x3C
ETHTOOL_GFLAGS, ETH_FLAG_RXVLAN = 0x25, 1 << 8
ETHTOOL_CMD = struct.Struct("=I8xH14xH14x")  # struct ethtool_cmd: command, speed, its upper half
SPEED_UNKNOWN = 0xFFFFFFFF  # Mbit/s
ARPHRD_ETHER = 1
UP, DOWN, NO_CARRIER = "is up", "is down", "has no carrier"  # as in "interface eth0 is down"
NAME_MAX = 15  # bytes
RESERVED = {".", "..", "all", "default"}  # folders in /sys/class/net and /proc/sys/net/ipv4/conf
CARRIER_S = 5.0  # longer than any link takes to come up


def check_name(scheme: str, name: str) -> str:
    """Return the name if an interface can have it. Raises Usage."""
    if not name:
        raise Usage(f"{scheme}: names no interface", f"write {scheme}:NAME; {existing()}")
    if len(os.fsencode(name)) > NAME_MAX:
        raise Usage(f"{name!r} is no interface name", f"names have 1 to {NAME_MAX} characters")
    if name in RESERVED:
        raise Usage(f"{name!r} is no interface name", "the kernel has it for something else")
    if any(character in "/:%" or character.isspace() or character == "\0" for character in name):
        raise Usage(f"{name!r} is no interface name", "leave out spaces, and / : %")
    return name


def existing() -> str:
    """Return a hint: the names of all interfaces."""
    names = ", ".join(name for _, name in socket.if_nameindex())
    return f"interfaces are: {names}"


class Interface:
    """An existing interface, in a network namespace; "" is our own. Raises NoDevice if there is
    none of that name, and as `netns.entered`.
    """

    def __init__(self, name: str, namespace: str = "") -> None:
        with netns.entered(namespace):
            try:
                self.index = socket.if_nametoindex(name)
            except OSError:
                where = f" in {printable(namespace)}" if namespace else ""
                raise NoDevice(f"there is no interface {name}{where}", existing()) from None
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.name = name
        self.ip = f"ip -n {printable(namespace)}" if namespace else "ip"  # the command
        self.place = f"{namespace}/{name}" if namespace else name  # as ports name it
        self._waiting_since = 0.0

    def is_called(self, name: str) -> bool:
        """Return whether an interface of its index and this name is in its network namespace."""
        try:
            return self._ioctl(SIOCGIFFLAGS) is not None and self.name == name
        except OSError:
            return False

    def close(self) -> None:
        """Close the socket that the ioctls use; the interface stays as it is."""
        self._socket.close()

    def _ioctl(self, request: int, value: bytes = b"") -> bytes:
        """Do one ioctl on `struct ifreq`. `value` and the result: its bytes after the name."""
        found = fcntl.ioctl(self._socket, SIOCGIFNAME, struct.pack("16si20x", b"", self.index))
        self.name = os.fsdecode(found[:16].partition(b"\0")[0])
        argument = struct.pack("16s24s", os.fsencode(self.name), value)
        return fcntl.ioctl(self._socket, request, argument)[16:]

    def _change(self, what: str, request: int, value: bytes, command: str = "") -> None:
        """Do an ioctl that sets `what`. `command`: the same for `ip link set NAME`, for the hint.

        Raises NotPermitted, or Usage for a value that the interface does not accept.
        """
        try:
            self._ioctl(request, value)
        except PermissionError:
            hint = "run as root, or with CAP_NET_ADMIN"
            if command:
                hint += f"; or have root do it: {self.ip} link set {self.name} {command}"
            raise NotPermitted(f"{self.name}: {what}: not permitted", hint) from None
        except OSError as error:
            raise Usage(
                f"{self.name}: {what}: {error.strerror}", f"see: {self.ip} link show {self.name}"
            ) from None

    def _number(self, request: int, form: str) -> int:
        try:
            return int(struct.unpack_from(form, self._ioctl(request))[0])
        except OSError:
            raise self.gone_error() from None

    @property
    def flags(self) -> int:
        """Flags of netdevice(7): IFF_UP, IFF_RUNNING. Raises DeviceFault if it was removed."""
        return self._number(SIOCGIFFLAGS, "=H")

    @property
    def mtu(self) -> int:
        """Bytes of payload in its longest frame. Raises DeviceFault if it was removed."""
        return self._number(SIOCGIFMTU, "=i")

    @property
    def link_type(self) -> int:
        """Link layer of its packets: ARPHRD_… of linux/if_arp.h. Raises DeviceFault."""
        return self._number(SIOCGIFHWADDR, "=H")

    @property
    def mac(self) -> bytes | None:
        """Its MAC address; None: it is not Ethernet. Raises DeviceFault."""
        if self.link_type != ARPHRD_ETHER:
            return None
        return self._ioctl(SIOCGIFHWADDR)[2:8]

    def set_mtu(self, mtu: int) -> None:
        """Set the MTU in bytes if it differs, with CAP_NET_ADMIN. Raises as `_change`."""
        if mtu != self.mtu:
            self._change(f"MTU {mtu}", SIOCSIFMTU, struct.pack("=i", mtu), f"mtu {mtu}")

    def set_mac(self, mac: bytes) -> None:
        """Set the MAC address. Raises as `_change`."""
        self._change("address", SIOCSIFHWADDR, struct.pack("=H6s", ARPHRD_ETHER, mac))

    def set_ip(self, address: ipaddress.IPv4Interface) -> None:
        """Set the IPv4 address and prefix. Raises as `_change`."""
        for request, part in ((SIOCSIFADDR, address.ip), (SIOCSIFNETMASK, address.netmask)):
            self._change(
                f"address {address}", request, struct.pack("=HH4s", socket.AF_INET, 0, part.packed)
            )

    def set_up(self) -> None:
        """Set IFF_UP if it is not set. Raises as `_change`."""
        if not self.is_up():
            self._change("up", SIOCSIFFLAGS, struct.pack("=H", self.flags | IFF_UP), "up")

    def is_up(self) -> bool:
        """Test IFF_UP. Raises DeviceFault if the interface was removed."""
        return bool(self.flags & IFF_UP)

    def gone_error(self) -> UspnetError:
        """Return the error for an interface that was removed."""
        text = f"interface {self.name} was removed, or went to another network namespace"
        return DeviceFault(text, f"see: {self.ip} link")

    def state(self) -> str:
        """Return UP, DOWN or NO_CARRIER. Raises DeviceFault if the interface was removed."""
        flags = self.flags
        if not flags & IFF_UP:
            return DOWN
        return UP if self._carrier(flags) else NO_CARRIER

    def _carrier(self, flags: int) -> bool:
        """Ask the driver for the carrier; IFF_RUNNING follows up to a second later."""
        link = self._ethtool_value(ETHTOOL_GLINK)
        return bool(flags & IFF_RUNNING) if link is None else bool(link)

    def takes_tags_out(self) -> bool:
        """Return whether VLAN tags of received frames are beside them, as `rxvlan` of ethtool(8)
        says.
        """
        return bool((self._ethtool_value(ETHTOOL_GFLAGS) or 0) & ETH_FLAG_RXVLAN)

    def _ethtool_value(self, command: int) -> int | None:
        """Return what is read with a struct ethtool_value; None: the driver can't say."""
        value = array("I", [command, 0])
        try:
            self._ioctl(SIOCETHTOOL, struct.pack("P", value.buffer_info()[0]))
        except OSError:
            return None
        return value[1]

    def link_bps(self) -> int | None:
        """Return the link's speed in bits a second, as its driver has it; None if unknown."""
        settings = bytearray(ETHTOOL_CMD.pack(ETHTOOL_GSET, 0, 0))
        memory = (ctypes.c_char * len(settings)).from_buffer(settings)
        try:
            self._ioctl(SIOCETHTOOL, struct.pack("P", ctypes.addressof(memory)))
        except OSError:
            return None
        _, low, high = ETHTOOL_CMD.unpack(settings)
        speed = high << 16 | low
        return speed * 1_000_000 if 0 < speed < SPEED_UNKNOWN else None

    def channels(self) -> tuple[int, int] | None:
        """Return how many receive and transmit queues it has; None: its driver can't say."""
        told = array("I", [ETHTOOL_GCHANNELS, *[0] * 8])  # struct ethtool_channels
        try:
            self._ioctl(SIOCETHTOOL, struct.pack("P", told.buffer_info()[0]))
        except OSError:
            return None
        rx, tx, _, combined = told[5:]
        return max(rx + combined, 1), max(tx + combined, 1)

    def down_error(self) -> UspnetError:
        """Return the error for an interface that is down."""
        return DeviceFault(f"interface {self.name} is down", f"{self.ip} link set {self.name} up")

    def check_up(self) -> None:
        """Raise DeviceFault if the interface is down or was removed."""
        if not self.is_up():
            raise self.down_error()

    def running(self, patience_s: float = CARRIER_S) -> bool:
        """Test IFF_RUNNING. Raises DeviceTimeout after so many seconds without a carrier."""
        now = time.monotonic()
        if self.flags & IFF_RUNNING:
            self._waiting_since = 0.0
            return True
        self._waiting_since = self._waiting_since or now
        if now - self._waiting_since > patience_s:
            raise DeviceTimeout(
                f"interface {self.name} has had no carrier for {patience_s:g} s",
                "plug its cable in, or bring up what is at its other end",
            )
        return False
