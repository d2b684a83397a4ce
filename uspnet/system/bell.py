# SPDX-License-Identifier: Apache-2.0
"""How one thread wakes another, whatever that does just then."""

from __future__ import annotations

import contextlib
import os
import threading


class Bell:
    """An eventfd, which is readable while it rings. Any thread and any signal handler may ring it,
    also after it was closed. `lock`: while it is held, the bell is not closed. Raises OSError.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler may come while this thread has it
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # -1: closed

    def ring(self) -> None:
        """Ring until it is read."""
        with self.lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def silence(self) -> None:
        """Have it ring no more."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Close it."""
        with self.lock:
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)
