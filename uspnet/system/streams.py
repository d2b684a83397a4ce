# SPDX-License-Identifier: Apache-2.0
"""The standard streams: always open, and never a reason for a job to end."""

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
    """A descriptor that gives nothing and keeps nothing: /dev/null. Where that is missing, closed
    to us or something else, it is the end of a pipe that nobody holds the other end of.
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
    """Takes what is written to a stream that was closed when we came."""

    def write(self, text: str, /) -> int:
        """Forgets it."""
        return len(text)


class _Lossy(io.FileIO):
    """Messages that can't be written are lost, on a full disk or a terminal that is gone."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Writes what there is room for."""
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


CLOSED: set[int] = set()  # standard streams that were closed when we came


def prepare() -> None:
    """Opens the standard streams that are closed: such a one would be the next file that is
    opened, and get what was meant for the stream. What an encoding lacks is escaped.
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
    encoding = sys.stderr.encoding if sys.stderr else None
    sys.stderr = io.TextIOWrapper(
        _Lossy(2, "w", closefd=False),  # as `python -u` does it
        encoding=encoding,
        errors="backslashreplace",
        write_through=True,
    )
