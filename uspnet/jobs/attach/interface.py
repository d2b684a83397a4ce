# SPDX-License-Identifier: Apache-2.0
"""The kernel's interface that stands for a port: a TAP with the port's MAC address and MTU, which
has a carrier while the port has one. The MTU of either follows the other's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from uspnet.errors import NotPermitted, Usage
from uspnet.kernel.interface import UP, check_name
from uspnet.kernel.tun import set_carrier
from uspnet.pool import FRAME_MAX
from uspnet.ports.kernel import KernelPort
from uspnet.ports.tap import HEADER, QUEUES_MAX, Tap
from uspnet.spec import Spec
from uspnet.system.privileges import Capabilities, Capability

if TYPE_CHECKING:
    from uspnet.kernel.interface import Interface
    from uspnet.port import Port

MTU, MTU_LEAST = 1500, 68  # bytes
ETHERNET = 14  # bytes of a header without tags


class Counterpart(Tap):
    """The interface. `behind`: the port, which is opened before it; `offload`: as for `tap:`;
    `set_up`: called with the interface once that is up.
    """

    exclusive = True

    def __init__(
        self, name: str, behind: Port, mtu: int | None, mac: bytes | None, *, offload: bool
    ) -> None:
        # In our own network namespace, where its addresses and routes are set.
        super().__init__(Spec.of("tap", check_name("tap", name), {"offload": offload}))
        self.name = f"tap:{name}"
        self.behind, self._mtu, self._mac = behind, mtu, mac
        self.set_up: Callable[[Interface], None] = lambda _interface: None
        self._carrier: bool | None = None
        self._followed = 0  # the port's MTU, as it was last seen
        self._made_with = 0  # the MTU in bytes that we gave it; 0: it was there

    @property
    def keeps(self) -> Capabilities:
        """Return what it takes to set MTUs."""
        return frozenset({Capability.NET_ADMIN})

    def open(self) -> None:
        """Create the interface as the port is, which is open. Raises Usage for an MTU that the port
        can't do, Busy for a name that is taken.
        """
        self.queues = min(self.behind.queues, QUEUES_MAX)
        self.options = replace(self.options, mtu=self._fitting(), mac=self._mac or self.behind.mac)
        super().open()
        self._follow()
        self.begin_watch()

    def configure(self, interface: Interface) -> None:
        """Give it MTU and MAC address, bring it up, and do what the job has to."""
        self._follow()  # before it is up, so that nobody sees a carrier that the port lacks
        super().configure(interface)
        self._made_with = self.options.mtu or 0
        self.set_up(interface)
        interface.set_up()  # also where that of a NIC was down when it was bound

    def begin_watch(self) -> None:
        """Record its state, and the MTU that it was made with: another that it has by now was given
        by somebody, and is the port's, too.
        """
        super().begin_watch()
        self.mtu = self._made_with or self.mtu

    def control(self) -> None:
        """Do as the port does, and check the interface and the queues."""
        self._follow()  # first: with its carrier, the interface takes packets at once
        super().control()

    def _fitting(self) -> int:
        """Return the MTU in bytes. Raises Usage for one that the port can't do."""
        most, hint = self._limit()
        usual = self.behind.mtu if isinstance(self.behind, KernelPort) else MTU
        mtu = self._mtu or min(usual, most, FRAME_MAX - HEADER)
        if MTU_LEAST <= mtu <= most:
            return mtu
        if (least := min(mtu, most)) < MTU_LEAST:
            text = f"{self.behind.name}: takes frames of up to {most + ETHERNET} bytes"
            raise Usage(
                f"{text}, an MTU of {least}, and an interface has at least {MTU_LEAST}", hint
            )
        text = f"an MTU of {mtu} bytes is more than the {most} of {self.behind.name}"
        raise Usage(text, hint or f"--mtu {most}")

    def _limit(self) -> tuple[int, str]:
        """Return the largest MTU in bytes that the port can do, and a hint how to raise that."""
        limit, hint = self.behind.send_limit([])
        return limit - ETHERNET, hint

    def change_mtu(self, mtu: int) -> int:
        """Have the port do an MTU that somebody gave the interface; else give that its own again.
        Return the one that it has now.
        """
        behind = self.behind
        if why := self._refused(mtu):
            self.kernel_side().set_mtu(self.mtu)
            self.notice(f"{self.name}: the MTU is {self.mtu} again: {behind.name} {why}")
            return self.mtu
        return super().change_mtu(mtu)

    def _refused(self, mtu: int) -> str:
        """Have the port do this MTU in bytes. Return why it can't; empty: it does."""
        behind = self.behind
        if not isinstance(behind, KernelPort):
            most, hint = self._limit()
            return "" if mtu <= most else f"can't do {mtu}, but {most} at most ({hint})"
        if mtu > self._kept():
            return f"can't do {mtu} until the next start: packet memory is for {self._kept()}"
        try:
            behind.kernel_side().set_mtu(mtu)
        except (NotPermitted, Usage) as error:
            return f"can't do {mtu} ({error.message})"
        behind.watch()
        self._followed = behind.mtu
        return ""

    def _kept(self) -> int:
        """Return the largest MTU in bytes that the memory of the port's queues is for."""
        behind = self.behind
        assert isinstance(behind, KernelPort)  # noqa: S101 - others have none of their own
        return behind.frame - behind.header

    def _follow(self) -> None:
        """Have a carrier if the port has one, and its new MTU if that changed."""
        behind = self.behind
        carrier = behind.state == UP if isinstance(behind, KernelPort) else behind.up()
        if carrier != self._carrier:
            with contextlib.suppress(OSError):  # it was removed: `watch` says so
                set_carrier(self.fds[0], up=carrier)
            self._carrier = carrier
        if isinstance(behind, KernelPort) and not self.away:
            if self._followed and behind.mtu != self._followed:
                self._mirror(behind)
            self._followed = behind.mtu

    def _mirror(self, behind: KernelPort) -> None:
        """Have the port's MTU, as far as the kernel lets a TAP have it and packet memory goes."""
        mtu = max(MTU_LEAST, min(behind.mtu, self._kept()))
        self.kernel_side().set_mtu(mtu)
        if mtu != self.mtu:
            self.mtu = super().change_mtu(mtu)  # which nobody has given it
