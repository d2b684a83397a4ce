# SPDX-License-Identifier: Apache-2.0
"""What ports on a kernel interface have in common: it may go down and come up again, get another
MTU, or go away while a job runs.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Container
from typing import ClassVar

from uspnet.errors import DeviceFault, NotSupported
from uspnet.kernel.interface import DOWN, UP, Interface
from uspnet.packets import link_types
from uspnet.port import Port

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 1, 1


class KernelPort(Port):
    """A port with a kernel interface behind it. `open` sets `interface` and calls `begin_watch`."""

    header: ClassVar[int]  # bytes that the longest frame has beyond the MTU
    mtu_limits: ClassVar[bool] = True  # what we may send, too

    interface: Interface | None = None
    state, mtu = UP, 0

    def kernel_side(self) -> Interface:
        """Return the interface of an opened port."""
        if not self.interface:
            raise DeviceFault(f"{self.name}: the port is closed")
        return self.interface

    def begin_watch(self) -> None:
        """Record the interface's current state and MTU."""
        self.state, self.mtu = self.kernel_side().state(), self.kernel_side().mtu

    def watch(self) -> None:
        """Report changes of state and MTU. While the interface is down or has no carrier, the
        transmit queues are closed: packets are dropped, or wait.
        """
        interface = self.kernel_side()
        state, mtu = interface.state(), interface.mtu
        if state != self.state and state == DOWN and not self.reconnect:
            raise interface.down_error()
        if state != self.state:
            self.notice(f"{self.name}: interface {interface.name} {state}")
        if mtu != self.mtu:
            mtu = self.change_mtu(mtu)
        self.state, self.mtu = state, mtu
        for queue in self.made:
            if queue.direction == "tx":
                queue.base.closed = state != UP

    def change_mtu(self, mtu: int) -> int:
        """Report the MTU in bytes that the interface was given. Return the one that it has now."""
        self.notice(f"{self.name}: the MTU is {mtu} now, not {self.mtu}{self._effect(mtu)}")
        return mtu

    def _effect(self, mtu: int) -> str:
        if mtu + self.header > self.frame:
            return f": frames of more than {self.frame} bytes are dropped until the next start"
        most = mtu + self.header
        return f": frames of more than {most} bytes can't be sent" if self.mtu_limits else ""

    def check_home(self, elsewhere: object) -> None:
        """Raise NotSupported if the interface is elsewhere: in another network namespace, which
        another version of this process may not enter.
        """
        if elsewhere:
            text = f"{self.name}: its interface is in another network namespace"
            raise NotSupported(text, "upgrade its loops, without --cold")


class WirePort(KernelPort):
    """A port on an interface that is there already. It needs a carrier."""

    ifname: str

    @classmethod
    def targets(cls) -> list[str]:
        """Return the kernel's interfaces."""
        return [name for _, name in socket.if_nameindex()]

    def begin_watch(self) -> None:
        """Record the interface's current state, MTU and MAC address."""
        super().begin_watch()
        self.mac = self.kernel_side().mac

    def check_link_type(self, known: Container[int], hint: str = "") -> None:
        """Raise NotSupported for interfaces whose packets are of no known link type."""
        link_type = self.kernel_side().link_type
        if link_type not in known:
            kind = link_types.describe(link_type)
            hint = hint or f"see: dumpcap -i {self.ifname} -w FILE"
            raise NotSupported(f"{self.name}: the interface is not Ethernet but {kind}", hint)

    def join_promiscuous(self, sock: socket.socket) -> None:
        """Make the interface promiscuous until this AF_PACKET socket is closed."""
        # struct packet_mreq: index, type, and an address that this type has no use for
        member = struct.pack("=iHH8x", self.kernel_side().index, PACKET_MR_PROMISC, 0)
        sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, member)

    def up(self) -> bool:
        """Return whether the interface has a carrier."""
        return self.kernel_side().running()

    def link_bps(self) -> int | None:
        """Return the speed that the interface's driver names."""
        assert self.interface, "the port is not open"  # noqa: S101 - a caller's mistake
        return self.interface.link_bps()

    def why_down(self) -> str:
        """Return what the port waits for."""
        return f"interface {self.ifname} has no carrier"

    def close_interface(self) -> None:
        """Forget the interface, which stays as it is."""
        if self.interface:
            self.interface.close()
            self.interface = None
