# SPDX-License-Identifier: Apache-2.0
"""`qemu:MODEL` - an emulated NIC in a private QEMU: the same driver, the device's own model.

`wire=NAME` is a cable between two of them, in one process or in two; `loop=on` returns what is
sent; `tap=NAME` leads into the kernel's network stack, and is the only cable with several queues.
Without any of them the NIC is unplugged: its registers can be read, but no job can use it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from uspnet import registry
from uspnet.drivers import nics
from uspnet.errors import Usage, UspnetError
from uspnet.kernel.interface import check_name
from uspnet.nic.base import AnyNic, Model
from uspnet.pool import Pool
from uspnet.ports.nic import NicPort
from uspnet.spec import Option, Options, Spec, option, string, switch
from uspnet.system.privileges import NONE, Capabilities, to_end
from uspnet.transports import Transport
from uspnet.transports.qemu.cable import End, Loop, Tap, WireEnd, has_unread
from uspnet.transports.qemu.machine import Machine
from uspnet.transports.qemu.qtest import Qtest


def models() -> dict[str, type[AnyNic]]:
    """Return every emulated NIC that some driver runs on, with that driver."""
    return {name: nic for nic in nics().values() for name in nic.models}


def interface_name(text: str) -> str:
    """Read an interface's name."""
    if not text:
        raise ValueError("names no interface")
    return check_name("tap", text)


@dataclass(frozen=True)
class QemuOptions(Options):
    """The cable's options."""

    wire: str = option(
        string(100), "", "the cable: a name, or a path of two sockets, PATH.a and .b"
    )
    loop: bool = option(switch, False, "return what is sent: on or off")
    tap: str = option(
        interface_name, "", "the cable ends in the kernel: a TAP interface, 1 to 15 characters"
    )


class Qemu(NicPort, scheme="qemu"):
    """Starts QEMU, and ends it on close."""

    patience_s = 4.0  # REPLY_MS in rings/nic/qtest.c
    help = "emulated NIC in a private QEMU"
    calls = frozenset({"sendto", "recvfrom", "sched_yield", "gettid"})  # of qtest.c
    options = QemuOptions()
    machine: Machine | None = None
    end: End | None = None

    def __init__(self, spec: Spec) -> None:
        known = models()
        if spec.target not in known:
            names = ", ".join(f"qemu:{name}" for name in sorted(known))
            hint = f"{registry.failures('uspnet.drivers')}models are: {names}"
            raise Usage(f"{spec}: no driver for {spec.target or 'nothing'}", hint)
        self.model: Model = known[spec.target].models[spec.target]
        self.driver = known[spec.target]
        super().__init__(spec)
        self.nic_options = self.driver.options.changed(self.given)
        if sum(map(bool, (self.options.wire, self.options.loop, self.options.tap))) > 1:
            raise Usage(f"{spec}: a cable has one other end", "give wire=, loop=on or tap=")
        self.several = bool(self.model.several) and self.nic_options.queues > 1
        if self.several and not self.options.tap:
            raise Usage(
                f"{spec}: only a cable into the kernel has several queues",
                "give tap=NAME, or drop queues=",
            )
        self.plugged = False  # the link state last set at the NIC
        self.joined = False  # both ends are ready
        self.ready_at = float("inf")  # when the model takes frames, if its link is up by then

    @classmethod
    def targets(cls) -> list[str]:
        """Return the models that some driver runs on."""
        return list(models())

    def known_options(self) -> dict[str, Option]:
        """Return the options of the cable and the driver."""
        return self.options.known() | self.driver.options.known()

    @property
    def keeps(self) -> Capabilities:
        """Return what it takes to end QEMU, which may be another user, and to remove the wire's
        file.
        """
        ends = to_end(self.machine.user) if self.machine else NONE
        return ends | (self.end.keeps if self.end else NONE)

    def connect(self) -> Transport:
        """Start a machine with the model in it."""
        if self.options.wire:
            self.end = WireEnd(self.options.wire)
        elif self.options.loop:
            self.end = Loop()
        elif self.options.tap:
            queues = self.nic_options.queues if self.several else 1
            self.end = Tap(self.name, self.options.tap, queues, self.nic_options.mtu)
        words = [self.model.device, f"mac={fresh_mac()}"]
        words += [self.model.several] if self.several else []
        words += [
            f"{name}={_word(getattr(self.nic_options, field))}"
            for field, name in self.model.arguments.items()
        ]
        self.machine = Machine(self.name, ",".join(words), self.model.since, self.end)
        self.how = self.machine.how
        self.plugged = True  # as QEMU starts
        self._look_at_cable()
        return Qtest(self.name, self.machine)

    def attach(self, pool: Pool) -> None:
        """Map the job's packet memory for the device. Raises Usage without a cable: its link would
        never come up.
        """
        if not self.end:
            raise Usage(
                f"{self.name}: the NIC has no cable, so no packet can pass",
                f"give loop=on, tap=NAME, or wire=NAME to two ports: {self.name},loop=on",
            )
        super().attach(pool)

    def _look_at_cable(self) -> None:
        """Set the NIC's link to the state of the far end, and tell the far end whether we are
        ready. While it is not, the transmit queues are closed.
        """
        there = bool(self.end and self.end.present())
        if there != self.plugged and self.machine:
            self.machine.plug_cable(on=there)
            self.plugged = there
        if self.end and there and (self.joined or self._ready()):
            self.joined = self.end.join()
        elif self.end:
            self.joined = False
            self.end.part()
        for queue in self.made:
            if queue.direction == "tx":
                queue.base.closed = not self.joined

    def start(self) -> None:
        """Start the device. Some models deliver received frames only after a delay."""
        super().start()
        if self.outage.fault and self.machine:  # it may be another NIC, whose link is up
            self.machine.plug_cable(on=self.plugged)
        self.ready_at = time.monotonic() + self.model.rx_delay_s
        self._look_at_cable()

    def stop(self) -> None:
        """Leave the cable, then stop the device."""
        self.ready_at = float("inf")
        self.joined = False
        if self.end:
            self.end.part()
        super().stop()

    def poll_health(self) -> None:
        """Check QEMU and the cable. Raises what ended them."""
        if error := self.ended():
            raise error
        self._look_at_cable()

    def ended(self) -> UspnetError | None:
        """Return why QEMU has ended. If it does not answer, it has perhaps ended just now."""
        if not self.machine:
            return None
        is_silent = isinstance(self.transport, Qtest) and self.transport.link.c.gone
        return self.machine.ended(0.5 if is_silent else 0.0)

    def in_transit(self) -> bool:
        """Return whether QEMU has yet to read a doorbell, or the far end a frame."""
        sockets = [self.machine.qtest.fileno()] if self.machine else []
        return any(map(has_unread, sockets + (self.end.sockets() if self.end else [])))

    def up(self) -> bool:
        """Return whether there is a link and the model uses it."""
        return self.joined and super().up()

    def _ready(self) -> bool:
        return time.monotonic() >= self.ready_at and super().up()

    def why_down(self) -> str:
        """Return what is missing."""
        wire = self.options.wire
        if self.outage.fault:
            return super().why_down()
        if self.options.tap and not self.plugged:
            return f"ip link set {self.options.tap} up"
        if self.plugged:
            return f"the other end of wire {wire} is not ready" if self._ready() else "link is down"
        return f"there is no peer on wire {wire} yet, such as a second port with wire={wire}"

    def close(self) -> None:
        """End QEMU and close the cable."""
        super().close()
        if self.machine:
            self.machine.close()
            self.machine = None
        if self.end:
            self.end.close()
            self.end = None


def fresh_mac() -> str:
    """Return a random address of QEMU's own range."""
    return "52:54:00:" + os.urandom(3).hex(":")


def _word(value: object) -> str:
    """Return an option's value as QEMU writes it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
