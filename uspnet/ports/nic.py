# SPDX-License-Identifier: Apache-2.0
"""The port that carries a NIC: what a PCI slot and a private QEMU have in common."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod

from uspnet import registry
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, DeviceTimeout, NotSupported
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import pages_for
from uspnet.nic.base import HEADER, AnyNic
from uspnet.pci.config import config_of
from uspnet.pool import Pool
from uspnet.port import Direction, Port
from uspnet.telemetry import UNKNOWN
from uspnet.transports import Transport

LOOK_S = 0.5  # seconds between two looks at what a device has missed


class NicPort(Port):
    """Adapter: presents a NIC driver (`Nic`) as a port. A subclass says how to reach the device.

    A job knows ports alone, and a driver knows its registers alone; so most methods here pass a
    call on to `device`, and add what drivers don't see: how the device was reached, interrupts,
    and that a device which is gone can still be stopped and closed.
    """

    reports_sent = True
    nic: AnyNic | None = None
    transport: Transport | None = None
    _unsent_counted = False
    _look_at = 0.0  # when to ask the device again what it has missed

    @abstractmethod
    def connect(self) -> Transport:
        """Return the transport to the device. Raises NoDevice, Busy, NotPermitted."""

    def find(self) -> AnyNic:
        """Connect, and find the driver by the function's ids. Does not change the device."""
        self.transport = self.connect()
        config = config_of(self.transport)
        ids = (int(config.VENDOR.read_checked()), int(config.DEVICE.read()))
        if ids not in nics():
            raise NotSupported(
                f"{self.name}: no driver for {ids[0]:04x}:{ids[1]:04x}",
                f"{registry.failures('uspnet.drivers')}see: uspnet devices",
            )
        self.nic = nics()[ids](self.transport, self.name, self.given)
        return self.nic

    def poll_health(self) -> None:
        """Check the process or cable between us and the device. Raises what ended it."""

    def open(self) -> None:
        """Find the driver, and have it reset and configure the device."""
        nic = self.find()
        nic.open()
        self.queues, self.frame = nic.queues, nic.frame
        self._take_interrupts(nic)

    def _take_interrupts(self, nic: AnyNic) -> None:
        """Enable one interrupt per receive queue. Transmit rings have none: a full ring has room
        again before a worker could fall asleep.
        """
        how = "none, idle workers nap 50 µs"
        if nic.interrupts and self.transport:
            nic.events = self.transport.irq(nic.interrupts, nic.queues)
        if nic.events:
            how = f"{nic.interrupts}, {len(nic.events)} of {nic.queues} receive queues"
        self.how = "; ".join(filter(None, [self.how, f"interrupts: {how}"]))

    @property
    def device(self) -> AnyNic:
        """Return the NIC of an opened port."""
        assert self.nic, "the port is not open"  # noqa: S101 - a caller's mistake
        return self.nic

    @property
    def unknown(self) -> frozenset[str]:  # type: ignore[override]
        """Return the counters that the NIC can't know."""
        return self.nic.unknown if self.nic else frozenset()

    @property
    def kind(self) -> str:
        """Return the NIC driver's name."""
        return type(self.nic).__name__.lower() if self.nic else self.scheme

    def dma_bytes(self) -> int:
        """Return the bytes of all descriptor rings."""
        return self.queues * pages_for(self.device.ring_bytes())

    def send_limit(self, tags: list[int]) -> tuple[int, str]:
        """Return the MTU plus header and tags."""
        nic = self.device
        most = nic.frame_max - HEADER
        return nic.options.mtu + 14 + 4 * min(len(tags), 2), f"set mtu=, which goes up to {most}"

    def attach(self, pool: Pool) -> None:
        """Map the job's packet memory for the device."""
        super().attach(pool)
        self.device.attach(pool)

    def holds(self, direction: Direction) -> int:
        """Return the slots of a ring: each may hold a buffer."""
        return self.device.ring_slots()

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make the driver's queue, and set what all rings share."""
        nic = self.device
        queue: c.AnyQueue
        if direction == "rx":
            queue = nic.make_rx(index)
            nic.rx.append(queue)
        else:
            queue = nic.make_tx(index)
            nic.tx.append(queue)
        queue.q.burst = ffi.addressof(lib, f"{nic.ring}_{direction}")
        queue.q.wake_fd = -1
        if direction == "rx" and index < len(nic.events):
            queue.q.wake_fd = nic.events[index]
            queue.q.arm = ffi.addressof(lib, f"{nic.ring}_arm")
        return queue

    def start(self) -> None:
        """Start the device. May be called again after `stop`."""
        self._unsent_counted = False
        self.device.start()

    def control(self) -> None:
        """Check transport and device; update the missed counter every LOOK_S."""
        super().control()
        self.device.transport.check()
        self.device.check()
        if time.monotonic() >= self._look_at:
            self._show_missed()

    def finish(self) -> None:
        """Count what the device missed until now, and what it has not sent."""
        self._show_missed()
        self._count_unsent()

    def _count_unsent(self) -> None:
        """Count packets as dropped that the device has not taken from its rings; once."""
        if self._unsent_counted or not self.nic:
            return
        self._unsent_counted = True
        for queue in self.made:
            if queue.direction == "tx" and (lengths := self.nic.in_flight(queue.c)):
                queue.take_back(len(lengths), sum(lengths), lib.DROP_PEER_LEFT)

    def _show_missed(self) -> None:
        """Publish what only the device counted in the queue's counters, for other processes and
        capture files.
        """
        self._look_at = time.monotonic() + LOOK_S
        receiver = next((queue for queue in self.made if queue.direction == "rx"), None)
        missed = self.extra_counters().get("rx_missed_errors", 0)
        if receiver and missed != 0:
            receiver.base.counters.missed = UNKNOWN if missed is None else missed

    def stop(self) -> None:
        """Stop the device, if it is still there."""
        if self.nic:
            self._count_unsent()
            with contextlib.suppress(DeviceFault, DeviceTimeout):
                self.nic.stop()

    def up(self) -> bool:
        """Return whether the link is up."""
        return self.device.link().up

    def link_bps(self) -> int | None:
        """Return the speed that the device's link has come up with."""
        speed = self.device.link().speed
        return speed * 1_000_000 if speed else None

    def pending(self) -> int:
        """Return how many packets the device has not sent yet."""
        return self.device.pending()

    def extra_counters(self) -> dict[str, int | None]:
        """Return the device's own counters. What a device that is gone has missed is unknown."""
        if not self.nic:
            return {}
        try:
            return {**self.nic.counters()}
        except (DeviceFault, DeviceTimeout):
            return {"rx_missed_errors": None}

    def close(self) -> None:
        """Close the transport."""
        if self.transport:
            self.transport.close()
            self.transport = None
