# SPDX-License-Identifier: Apache-2.0
"""What an open file is that came from another process: a memfd of ordinary pages, or anything."""

from __future__ import annotations

import functools
import os


def is_memfd(fd: int) -> bool:
    """Return whether an open file is a memfd of ordinary pages: nothing on a file server, and no
    huge pages, of which a hole kills who reads there when none are left.
    """
    return _mount(fd) == _memory_mount()


@functools.cache
def _memory_mount() -> str:
    sample = os.memfd_create("uspnet-sample", os.MFD_CLOEXEC)
    try:
        return _mount(sample)  # of all of them
    finally:
        os.close(sample)


def _mount(fd: int) -> str:
    """Return the line with the mount id of an open file."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        return next(line for line in lines if line.startswith("mnt_id:"))
