# SPDX-License-Identifier: Apache-2.0
"""What others see of our command line: every user can list every process's."""

from __future__ import annotations

import os
import re

SECRET = re.compile(rb"(secret=)((?:\\,|[^,\0])*)")
ARG_START = 48 - 3  # proc_pid_stat(5), counted from the state, which stands after the name


def hidden(word: str) -> str:
    """Return a word of a command line with what is secret in it replaced."""
    return os.fsdecode(SECRET.sub(_stars, os.fsencode(word)))


def _stars(found: re.Match[bytes]) -> bytes:
    return found[1] + b"*" * len(found[2])


def hide_secrets() -> None:
    """Overwrite secrets among our own arguments, where the kernel shows them to all users. They
    are visible until then; a secret in a file never is.
    """
    from uspnet.fastpath import ffi

    with open("/proc/self/stat", "rb") as file:
        words = file.read().rpartition(b")")[2].split()
    start, end = map(int, words[ARG_START : ARG_START + 2])
    if 0 < start < end:
        seen = ffi.buffer(ffi.cast("char *", start), end - start)
        seen[:] = SECRET.sub(_stars, bytes(seen))
