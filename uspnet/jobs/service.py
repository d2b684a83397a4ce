# SPDX-License-Identifier: Apache-2.0
"""How the thread that waits for a job looks after its ports."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Sequence

from uspnet.port import Port


class Service:
    """Handles the ports' events. Another thread, or a signal handler, may wake it."""

    def __init__(self, ports: Sequence[Port], more: Callable[[], list[int]]) -> None:
        """`more` returns other descriptors that end a wait."""
        self.ports, self.more = ports, more
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
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        ports = (fd for port in self.ports for fd in port.control_fds())
        for fd in (*ports, *self.more()):
            poll.register(fd, select.POLLIN)
        if any(fd == self._wake_fd for fd, _ in poll.poll(timeout * 1000)):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
        for port in self.ports:
            port.control()
