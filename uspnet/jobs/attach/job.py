# SPDX-License-Identifier: Apache-2.0
"""attach: packets of a port go to an interface of the kernel's, and the kernel's packets leave by
the port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from uspnet.answer import Json
from uspnet.binding.attached import Configuration
from uspnet.errors import Usage, UspnetError
from uspnet.jobs.attach.divert import Divert
from uspnet.jobs.attach.interface import Counterpart
from uspnet.jobs.attach.result import Attached, AttachResult
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.kernel.interface import Interface
from uspnet.packets.filter import Filter
from uspnet.port import Port
from uspnet.ports.kernel import KernelPort


@dataclass
class Attaching:
    """How a port is attached. `name`, `mtu` and `mac` are the interface's: None: as the port's;
    `configuration`: what else it gets. `only`: packets that go to the port `to` instead of the
    kernel; with `tee`, as well. `on_full`: what a full ring means; `offload`: whether the
    kernel leaves checksums and segmentation to us.
    """

    name: str
    mtu: int | None = None
    mac: bytes | None = None
    configuration: Configuration = field(default_factory=Configuration)
    only: Filter | None = None
    to: Port | None = None
    tee: bool = False
    on_full: str = "drop"
    offload: bool = True

    def __post_init__(self) -> None:
        """Raise Usage for a filter without a port, and the other way round."""
        if self.tee and not self.only:
            raise Usage("--tee needs --filter and --to", "say of which packets: --filter 'udp'")
        if self.only and not self.to:
            raise Usage("--filter needs a port", "say where they go: --to memif:/run/m.sock")
        if self.to and not self.only:
            raise Usage("--to needs --filter", "say which packets go there: --filter 'udp'")
        if self.to and not self.to.can_send:
            raise Usage(f"{self.to.name} sends nothing", "name another port, or pcap:out=FILE")

    def forwarding(self) -> Forwarding:
        """Return what this means for packets."""
        options: Mapping[str, object] = {"only": self.only, "tee": self.tee} if self.only else {}
        kind = Divert if self.only else None
        return Forwarding(on_full=self.on_full, options=options, kind=kind)


def check_other(port: Port, how: Attaching) -> None:
    """Raise Usage where packets would go round: `to` is the port's interface, or the kernel's."""
    if not isinstance(how.to, KernelPort):
        return
    ends = {how.name: "interface"}
    if isinstance(port, KernelPort):
        ends[port.spec.target] = "port"
    if end := ends.get(how.to.spec.target):
        text = f"--to {how.to.name}: that is the {end} itself"
        raise Usage(text, "name another port, or pcap:out=FILE")


class AttachJob(ForwardJob):
    """Makes the interface, and forwards between the port and that."""

    named: ClassVar[str] = "attach"
    answer: ClassVar[type[AttachResult]] = AttachResult

    def __init__(self, port: Port, limits: Limits, how: Attaching) -> None:
        """Raise Usage for a port of one direction, and as `check_other`."""
        if not (port.can_receive and port.can_send):
            lacks = "receive" if port.can_send else "send"
            raise Usage(f"{port.name} can't {lacks}", "attach a NIC, an interface or a peer")
        check_other(port, how)
        self.kernel = Counterpart(how.name, port, how.mtu, how.mac, offload=how.offload)
        self.kernel.set_up = self._set_up
        self.configuration = how.configuration
        self._not_restored: list[str] = []
        self._mac = b""
        ports = [port, self.kernel, *([how.to] if how.to else [])]
        super().__init__(ports, limits, how.forwarding())

    def _set_up(self, interface: Interface) -> None:
        self._not_restored = self.configuration.apply(interface)

    def linked(self) -> None:
        """Tell what could not be restored."""
        super().linked()
        for text in self._not_restored:
            self.on_notice(f"{self.kernel.name}: not restored: {text}")

    def told(self) -> Json:
        """Return what became of the interface."""
        return {"interface": self._interface()}

    def _interface(self) -> Attached | None:
        interface = self.kernel.interface
        if not interface:
            return None
        try:
            self._mac = self._mac or interface.mac or bytes(6)
        except UspnetError:  # it was removed
            self._mac = self._mac or bytes(6)
        return Attached(
            name=self.kernel.ifname,
            mac=self._mac.hex(":"),
            mtu=self.kernel.mtu,
            not_restored=tuple(self._not_restored),
        )
