# SPDX-License-Identifier: Apache-2.0
"""Texts that one process gives to another in a memfd, which nobody can change or cut any more."""

from __future__ import annotations

import fcntl
import os

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(name: str, text: bytes) -> int:
    """Return the descriptor of a new memfd with this text. Raises OSError."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(text)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_sealed(fd: int, most: int) -> bytes:
    """Return the text in a memfd, of up to `most` bytes. Raises OSError, ValueError."""
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) != SEALS:
        raise ValueError("it can be changed")
    size = os.fstat(fd).st_size
    if size > most:
        raise ValueError("it is too long")
    return os.pread(fd, size, 0)
