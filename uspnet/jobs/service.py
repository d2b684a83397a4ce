# SPDX-License-Identifier: Apache-2.0
"""How the thread that waits for a job looks after its ports."""

from __future__ import annotations

import select
import threading
from collections.abc import Sequence
from typing import Protocol

from uspnet.port import Port
from uspnet.system.bell import Bell


class Attendant(Protocol):
    """What else the thread that waits looks after, when one of its descriptors is readable."""

    def fds(self) -> list[int]:
        """Return the descriptors."""

    def check(self) -> None:
        """Have workers that ended replaced, before ports touch what they have left."""

    def serve(self) -> None:
        """Do what there is to do; called after every wait."""


class Service:
    """Handles the ports' events. Another thread, or a signal handler, may wake it."""

    def __init__(self, ports: Sequence[Port], attendant: Attendant) -> None:
        self.ports, self.attendant = ports, attendant
        self.thread = 0  # which waits
        self._bell: Bell | None = None

    def open(self) -> None:
        """Make what `wake` needs. Raises OSError."""
        self._bell = Bell()

    def close(self) -> None:
        """Close it."""
        if self._bell:
            self._bell.close()

    def wake(self) -> None:
        """End a `serve` that waits. Any thread or signal handler may."""
        if self._bell:
            self._bell.ring()

    def serve(self, timeout: float) -> None:
        """Wait for a control descriptor or the timeout in seconds, then handle events and faults of
        every port.
        """
        self.thread = threading.get_ident()
        poll = select.poll()
        assert self._bell, "the job is not open"  # noqa: S101 - a caller's mistake
        poll.register(self._bell.fd, select.POLLIN)
        ports = (fd for port in self.ports for fd in port.control_fds())
        for fd in (*ports, *self.attendant.fds()):
            poll.register(fd, select.POLLIN)
        if any(fd == self._bell.fd for fd, _ in poll.poll(timeout * 1000)):
            self._bell.silence()
        self.attendant.check()
        for port in self.ports:
            port.control()
        self.attendant.serve()
