# SPDX-License-Identifier: Apache-2.0
"""How the thread that waits for a job looks after its ports."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Sequence
from typing import Protocol

from uspnet.port import Port


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
        self._wake_fd = -1

    def open(self) -> None:
        """Make what `wake` needs. Raises OSError."""
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def close(self) -> None:
        """Close it. Nobody may call `wake` from here on."""
        os.close(self._wake_fd)

    def wake(self) -> None:
        """End a `serve` that waits."""
        os.eventfd_write(self._wake_fd, 1)

    def serve(self, timeout: float) -> None:
        """Wait for a control descriptor or the timeout in seconds, then handle events and faults of
        every port.
        """
        self.thread = threading.get_ident()
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        ports = (fd for port in self.ports for fd in port.control_fds())
        for fd in (*ports, *self.attendant.fds()):
            poll.register(fd, select.POLLIN)
        if any(fd == self._wake_fd for fd, _ in poll.poll(timeout * 1000)):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
        self.attendant.check()
        for port in self.ports:
            port.control()
        self.attendant.serve()
