# SPDX-License-Identifier: Apache-2.0
"""Saving a run's latencies to a file that HdrHistogram's tools read."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Sequence

from uspnet.errors import Usage, UspnetError
from uspnet.jobs.histogram import percentiles
from uspnet.ports.pcap.format import file_error
from uspnet.system import kept
from uspnet.system.outfile import OutFile
from uspnet.telemetry.hdr import log_head, log_line


class HdrFile:
    """A log of histograms. A version of uspnet that goes on with a run appends to what the one
    before has written.
    """

    def __init__(self, path: str) -> None:
        """Raise Usage for stdout."""
        if path == "-":
            raise Usage("--save: latencies go to a file, not to stdout", "name one: --save run.hdr")
        self.path = path
        self._file: OutFile | None = None
        self._fd = -1
        self._size = 0  # of whole lines
        self._began = 0.0  # seconds since 1970

    def open(self) -> None:
        """Open or create the file, which keeps what it holds until `begin`. Raises Usage for what
        is no file, and as the system calls do.
        """
        try:
            self._file = OutFile(self.path)
            self._fd = self._file.open()
            if self._fd < 0 or not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise Usage(f"--save: {self.path} is not a file", "name one: --save run.hdr")
        except UspnetError:  # some are OSErrors, too
            self.close()
            raise
        except OSError as error:
            self.close()
            raise file_error(self.path, error) from None

    def begin(self) -> None:
        """Write the head; what the file held is gone, unless the version before has written it."""
        self._began = time.time()
        if kept.former():
            self._size = os.lseek(self._fd, 0, os.SEEK_END)
        self._write("" if self._size else log_head(self._began))

    def add(self, counts: Sequence[int], seconds: float) -> None:
        """Append what was counted by slot for so many seconds since `begin`."""
        longest = (percentiles(counts) or {"max": 0})["max"]
        self._write(log_line(self._began, seconds, longest, counts))

    def _write(self, text: str) -> None:
        """Append whole lines or nothing."""
        data, at = text.encode(), self._size
        try:
            os.ftruncate(self._fd, self._size)
            while at < self._size + len(data):
                at += os.pwrite(self._fd, data[at - self._size :], at)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise file_error(self.path, error) from None
        self._size = at

    def close(self) -> None:
        """Close the file; remove one that was created and holds nothing."""
        if self._file:
            if self._file.created and self._fd >= 0 and not self._size:
                self._file.remove(self._fd)
            self._file.close()
            self._file = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
