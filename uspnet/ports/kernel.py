# SPDX-License-Identifier: Apache-2.0
"""What ports on a kernel interface have in common: it may go down and come up again, get another
MTU, or go away while a job runs.
"""

from __future__ import annotations

from typing import ClassVar

from uspnet.errors import DeviceFault
from uspnet.kernel.interface import DOWN, UP, Interface
from uspnet.port import Port


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
            self.notice(f"{self.name}: the MTU is {mtu} now, not {self.mtu}{self._effect(mtu)}")
        self.state, self.mtu = state, mtu
        for queue in self.made:
            if queue.direction == "tx":
                queue.base.closed = state != UP

    def _effect(self, mtu: int) -> str:
        if mtu + self.header > self.frame:
            return f": frames of more than {self.frame} bytes are dropped until the next start"
        most = mtu + self.header
        return f": frames of more than {most} bytes can't be sent" if self.mtu_limits else ""
