# SPDX-License-Identifier: Apache-2.0
"""Which files this process reads. Its jobs may run in several threads."""

from __future__ import annotations

import os
import threading
from collections import Counter


class Readers:
    """Counts the readers of each file, by device and inode."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[int, int]] = Counter()

    def claim(self, status: os.stat_result, *, alone: bool) -> bool:
        """Count one more reader. False, and nothing is counted, if it must be the only one, and is
        not.
        """
        with self._lock:
            if alone and self._counts[_key(status)]:
                return False
            self._counts[_key(status)] += 1
        return True

    def release(self, status: os.stat_result) -> None:
        """Count one reader less."""
        with self._lock:
            self._counts[_key(status)] -= 1

    def __contains__(self, status: os.stat_result) -> bool:
        with self._lock:
            return self._counts[_key(status)] > 0


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


READERS = Readers()
