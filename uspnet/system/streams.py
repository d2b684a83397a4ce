# SPDX-License-Identifier: Apache-2.0
"""The standard streams: always open, and errors on them never end a job."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

NULL_DEVICE = os.makedev(1, 3)


def null() -> int:
    """Open /dev/null. If it is missing, not accessible or another device, return a pipe's end whose
    other end is closed.
    """
    with contextlib.suppress(OSError):
        fd = os.open(os.devnull, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(fd)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == NULL_DEVICE:
            return fd
        os.close(fd)
    fd, other = os.pipe2(os.O_CLOEXEC)
    os.close(other)
    return fd


class _Nowhere(io.TextIOBase):
    """Replaces a stream that was closed at start."""

    def write(self, text: str, /) -> int:
        """Discard the text."""
        return len(text)


class _Lossy(io.FileIO):
    """Discards messages that can't be written, because a disk is full or a terminal is gone."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as much as possible. Returns the length of all of it."""
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


CLOSED: set[int] = set()  # standard streams that were closed at start


def prepare() -> None:
    """Open the standard streams that are closed, or the next file that is opened would get the
    stream's number and its output. Characters that an encoding lacks are escaped.
    """
    for fd in range(3):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            CLOSED.add(fd)
            opened = null()
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout = sys.stdout or _Nowhere()
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    encoding = sys.stderr.encoding if sys.stderr else None
    sys.stderr = io.TextIOWrapper(
        _Lossy(2, "w", closefd=False),  # as `python -u` does it
        encoding=encoding,
        errors="backslashreplace",
        write_through=True,
    )
