# SPDX-License-Identifier: Apache-2.0
"""What others see of our command line: every user can list every process's."""

from __future__ import annotations

import re

SECRET = re.compile(rb"(secret=)((?:\\,|[^,\0])*)")
ARG_START = 48 - 3  # proc_pid_stat(5), counted from the state, which stands after the name


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
        seen[:] = SECRET.sub(lambda found: found[1] + b"*" * len(found[2]), bytes(seen))
