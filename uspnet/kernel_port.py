# SPDX-License-Identifier: Apache-2.0
"""What ports on a kernel interface have in common: it may go down and come up again, get another
MTU, or go away while a job runs.
"""

from __future__ import annotations

from typing import ClassVar

from uspnet.errors import DeviceFault
from uspnet.interface import Interface
from uspnet.port import Driver


class KernelPort(Driver):
    """A port with a kernel interface behind it. `open` sets `interface` and calls `begin_watch`."""

    fixed_frame = True
    header: ClassVar[int]  # bytes that the longest frame has beyond the MTU

    interface: Interface | None = None
    was_up, mtu = True, 0

    def kernel_side(self) -> Interface:
        """The interface of an opened port."""
        if not self.interface:
            raise DeviceFault(f"{self.name}: the port is closed")
        return self.interface

    def begin_watch(self) -> None:
        """Remembers what the interface is like now."""
        self.was_up, self.mtu = self.kernel_side().is_up(), self.kernel_side().mtu

    def watch(self) -> None:
        """Tells what has changed. While the interface is down nothing is received, and a transmit
        queue that noticed has closed its gate; now it may try again.
        """
        interface = self.kernel_side()
        up, mtu = interface.is_up(), interface.mtu
        if self.was_up and not up and not self.reconnect:
            raise interface.down_error()
        if up != self.was_up:
            self.notice(f"{self.name}: interface {interface.name} is {'up' if up else 'down'}")
        if mtu != self.mtu:
            self.notice(f"{self.name}: the MTU is {mtu} now, not {self.mtu}: {self._effect(mtu)}")
        self.was_up, self.mtu = up, mtu
        if up:
            for queue in self.made:
                queue.base.gate = 0

    def _effect(self, mtu: int) -> str:
        if mtu + self.header > self.frame:
            return f"frames of more than {self.frame} bytes are dropped until the next start"
        return f"frames of more than {mtu + self.header} bytes can't be sent"
