# SPDX-License-Identifier: Apache-2.0
"""How much memory may be locked for DMA: RLIMIT_MEMLOCK, without CAP_IPC_LOCK."""

from __future__ import annotations

import contextlib
import errno
import resource

from uspnet.errors import NoMemory, NotSupported

RAISE = (
    "or raise it: ulimit -l unlimited (as root), memlock "
    "in /etc/security/limits.conf, LimitMEMLOCK=infinity in a systemd unit"
)
HINT = f"take smaller rings: rx-ring=256; {RAISE}"


def _limit() -> int:
    """Return the bytes that may be locked, or RLIM_INFINITY."""
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]


def raise_limit() -> None:
    """Raise the limit, where this process may, for versions that it executes: they have no
    CAP_IPC_LOCK.
    """
    with contextlib.suppress(OSError, ValueError):
        most = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def check_limit(name: str, size: int, hint: str = HINT) -> None:
    """Raise NotSupported when so many bytes can't be locked once more by another version."""
    if _limit() != resource.RLIM_INFINITY and _limit() < size:
        text = f"{name}: another version can't lock {size >> 10} KiB for DMA"
        raise NotSupported(f"{text}: the limit is {_limit() >> 10} KiB", hint)


def map_error(error: OSError, size: int) -> NoMemory:
    """Return the error for memory that could not be locked and mapped."""
    if error.errno == errno.ENOMEM and _limit() != resource.RLIM_INFINITY:
        text = f"{size >> 10} KiB can't be locked for DMA: the limit is {_limit() >> 10} KiB"
        return NoMemory(text, HINT)
    return NoMemory(f"{size >> 10} KiB can't be mapped for DMA: {error.strerror}")
