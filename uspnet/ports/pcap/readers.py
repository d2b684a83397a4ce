# SPDX-License-Identifier: Apache-2.0
"""Which files this process reads and writes. Its jobs may run in several threads."""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from uspnet.errors import Refused


class Claims:
    """Counts those who read, or write, each file, by device and inode."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[int, int]] = Counter()

    def claim(self, status: os.stat_result, *, alone: bool) -> bool:
        """Count one more. False, and nothing is counted, if it must be the only one, and is not."""
        with self._lock:
            if alone and self._counts[_key(status)]:
                return False
            self._counts[_key(status)] += 1
        return True

    def release(self, status: os.stat_result) -> None:
        """Count one less."""
        with self._lock:
            self._counts[_key(status)] -= 1

    def __contains__(self, status: os.stat_result) -> bool:
        with self._lock:
            return self._counts[_key(status)] > 0


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


READERS, WRITERS = Claims(), Claims()


@contextmanager
def written_alone(path: str, fd: int) -> Iterator[None]:
    """Claim a file for writing. What is no regular file may have several writers. Raises Refused
    for one that another port writes.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        yield
        return
    if not WRITERS.claim(status, alone=True):
        raise Refused(f"{path} is written by another port", "give each port a file of its own")
    try:
        yield
    finally:
        WRITERS.release(status)
