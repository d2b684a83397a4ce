# SPDX-License-Identifier: Apache-2.0
"""The port that carries a NIC: what a PCI slot and a private QEMU have in common."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod

from uspnet import registry
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, DeviceTimeout, NotSupported, UspnetError
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import pages_for
from uspnet.nic.base import AnyNic
from uspnet.pci.config import Snapshot, config_of
from uspnet.pool import Pool
from uspnet.port import Direction, Port
from uspnet.ports.outage import Counts, Outage, add, later
from uspnet.telemetry import UNKNOWN
from uspnet.transports import Transport

LOOK_S = 0.5  # seconds between two looks at what a device has missed


class NicPort(Port):
    """Adapter: presents a NIC driver (`Nic`) as a port. A subclass says how to reach the device.

    A job knows ports alone, and a driver knows its registers alone; so most methods here pass a
    call on to `device`, and add what drivers don't see: how the device was reached, interrupts,
    that a device which is gone can still be stopped and closed, and that one which was reset or
    comes back is started again.
    """

    reports_sent = True
    nic: AnyNic | None = None
    transport: Transport | None = None
    _running = False  # between `start` and `stop`
    _starts = 0  # times that the device was started
    _unsent_counted = False
    _kept: Counts  # what the device counted before it was reset
    _latest: Counts  # and since, as last read
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
            text = f"{self.name}: no driver for {ids[0]:04x}:{ids[1]:04x}"
            raise NotSupported(text, f"{registry.failures('uspnet.drivers')}see: uspnet devices")
        self.nic = nics()[ids](self.transport, self.name, self.given)
        self.outage = Outage(self.name, self.nic.options.outage)
        self._kept, self._latest = {}, {}
        return self.nic

    def poll_health(self) -> None:
        """Check the process or cable between us and the device. Raises what ended it."""

    def ended(self) -> UspnetError | None:
        """Return why the device can't come back; None: perhaps it can."""
        return None

    def open(self) -> None:
        """Find the driver, and have it reset and configure the device."""
        nic = self.find()
        nic.open()
        self.snapshot = Snapshot.of(nic.transport)
        self.queues, self.frame, self.mac = nic.queues, nic.frame, nic.mac
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
        return self.device.send_limit(tags)

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

    def descriptors(self) -> list[int]:
        """Return the interrupts', and what the transport's doorbells need."""
        return [*self.device.events, *self.device.transport.descriptors()]

    def held(self) -> dict[str, int]:
        """Return what the transport holds. Raises NotSupported."""
        return self.device.transport.held()

    def start(self) -> None:
        """Start the device. May be called again after `stop`."""
        self._unsent_counted = False
        self._latest = {}
        self.device.start()
        self._starts, self._running = self._starts + 1, True

    def control_fds(self) -> list[int]:
        """Return those by which the kernel reports errors of the device."""
        return self.transport.alert_fds() if self.transport else []

    def control(self) -> None:
        """Check transport and device, and start a device again that was reset or is back; update
        the missed counter every LOOK_S. Raises when it stays away.
        """
        self.device.transport.check()
        if not self.outage.fault:
            try:
                self._look()
            except (DeviceFault, DeviceTimeout) as fault:
                self._interrupt(fault)
        if self.outage.fault:
            self._try_to_return()

    def _look(self) -> None:
        """Look for faults of rings and device. Raises what it finds."""
        self.device.transport.look()
        if self._running and self.device.was_reset():
            raise DeviceFault(f"{self.name}: the device was reset", "run it once more")
        super().control()
        self.poll_health()
        self.device.check()
        if time.monotonic() >= self._look_at:
            self._show_missed()

    # -- when the device fails ------------------------------------------------------------------

    def _interrupt(self, fault: UspnetError) -> None:
        """Take the queues from the workers until the device works again. Raises the fault if that
        is not to be waited for.
        """
        starts = self._starts
        with self.quiesce():
            if self._starts != starts:
                return  # made quiet since its worker process had died, which is replaced now
            if (error := self.ended()) or not (self._running and self.outage.patience_s):
                raise (error or fault) from None
            self.quiet()
            self._begin_outage(fault, self._count_unsent(lib.DROP_DEVICE_RESET))
            self._keep_counters()
            self.stop()
            self.device.transport.release()

    def _begin_outage(self, fault: UspnetError, lost: int) -> None:
        moved = sum(int(queue.counters.packets) for queue in self.made)
        self.outage.begin(fault, lost, moved)
        self._set_closed(closed=True)

    def _try_to_return(self) -> None:
        """Start the device again if it is there. Raises when it was away for too long."""
        if self.device.transport.is_wanted():
            with self.quiesce():
                self.device.transport.release()
        try:
            self.device.transport.reconnect()
            self.snapshot.restore(self.device.transport)
            with self.quiesce():
                self._start_again()
        except (DeviceFault, DeviceTimeout) as fault:
            if error := self.ended():
                raise error from None
            if self.outage.is_too_long():
                self.outage.publish(self.made)
                raise self.outage.error(fault) from None
        else:
            self.notice(self.outage.end())
        self.outage.publish(self.made)

    def _start_again(self) -> None:
        """Reset and start the device. No worker runs. Raises DeviceFault, DeviceTimeout."""
        try:
            self.device.transport.reset()
            self._set_closed(closed=False)
            self.start()
        except BaseException:
            self._set_closed(closed=True)
            self._unsent_counted = True  # there are none
            self.stop()
            raise

    def _set_closed(self, *, closed: bool) -> None:
        for queue in self.made:
            queue.base.closed, queue.base.fault = int(closed), lib.FAULT_NONE

    def _keep_counters(self) -> None:
        """Keep what the device has counted so far: it starts again at 0."""
        with contextlib.suppress(DeviceFault, DeviceTimeout):
            self._latest = later(self._latest, self.device.counters())
        self._kept, self._latest = add(self._kept, self._latest), {}

    def quiet(self) -> None:
        """Clear Bus Master Enable."""
        if self.transport:
            self.transport.quiet()

    def revive(self) -> list[int]:
        """Stop the device, whose state can't be known: its rings give all buffers back."""
        if not self.outage.fault:
            self._count_unsent(lib.DROP_WORKER_LOST)
            self._keep_counters()
            self.stop()
        return []

    def restart(self) -> None:
        """Start the device with empty rings. If it is gone too, `control` waits for it; raises
        DeviceFault or DeviceTimeout if that is not to be waited for.
        """
        if self.outage.fault:
            return
        try:
            self.device.transport.reconnect()
            self.snapshot.restore(self.device.transport)
            self._start_again()
        except (DeviceFault, DeviceTimeout) as fault:
            if (error := self.ended()) or not self.outage.patience_s:
                raise (error or fault) from None
            self._begin_outage(fault, 0)

    # -- how it ends ----------------------------------------------------------------------------

    def finish(self) -> None:
        """Count what the device missed until now, and what it has not sent."""
        self._show_missed()
        self._count_unsent(lib.DROP_PEER_LEFT)

    def _count_unsent(self, reason: int) -> int:
        """Count packets as dropped that the device has not taken from its rings, once. Return how
        many.
        """
        if self._unsent_counted or not self.nic:
            return 0
        self._unsent_counted, lost = True, 0
        for queue in self.made:
            if queue.direction == "tx" and (lengths := self.nic.in_flight(queue.c)):
                queue.take_back(len(lengths), sum(lengths), reason)
                lost += len(lengths)
        return lost

    def _show_missed(self) -> None:
        """Publish what only the device counted in the queue's counters, for other processes and
        capture files.
        """
        self._look_at = time.monotonic() + LOOK_S
        receiver = next((queue for queue in self.made if queue.direction == "rx"), None)
        missed = self.extra_counters().get("rx_missed_errors", 0)
        if receiver and missed != 0:
            receiver.counters.missed = UNKNOWN if missed is None else missed % UNKNOWN

    def stop(self) -> None:
        """Stop the device, if it is still there; at least it writes to no memory any more."""
        self._running = False
        if self.nic:
            self._count_unsent(lib.DROP_PEER_LEFT)
            try:
                self.nic.stop()
            except (DeviceFault, DeviceTimeout):
                self.quiet()

    def up(self) -> bool:
        """Return whether the link is up."""
        return not self.outage.fault and self.device.link().up

    def why_down(self) -> str:
        """Return what the port waits for."""
        return str(self.outage.fault or super().why_down())

    def link_bps(self) -> int | None:
        """Return the speed that the device's link has come up with; None while it is away."""
        with contextlib.suppress(DeviceFault, DeviceTimeout):  # which `control` finds, too
            if not self.outage.fault and (speed := self.device.link().speed):
                return speed * 1_000_000
        return None

    def pending(self) -> int:
        """Return how many packets the device has not sent yet."""
        return 0 if self.outage.fault else self.device.pending()

    def extra_counters(self) -> dict[str, int | None]:
        """Return the device's own counters, over all its resets. What a device that is gone has
        missed is unknown.
        """
        if not self.nic:
            return {}
        own: Counts = {"rx_missed_errors": None}
        if not self.outage.fault:
            with contextlib.suppress(DeviceFault, DeviceTimeout):
                own = self._latest = {**self.device.counters()}
        return add(self._kept, own)

    def close(self) -> None:
        """Close the transport."""
        if self.transport:
            self.transport.close()
            self.transport = None
