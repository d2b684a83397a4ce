# SPDX-License-Identifier: Apache-2.0
"""Folders of sockets: the user's own, and checks of who else may change a folder.

Both ends of a cable must find the same folder, so it does not depend on environment variables.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from uspnet.errors import NoDevice, Refused

LOCK_S = 1.0  # how long another program may keep a folder locked
RUNTIME, FALLBACK = Path("/run"), Path("/tmp")  # noqa: S108 - what is made there is checked


def own_folder() -> Path:
    """Return the folder of this user's sockets, mode 0700; create it if it is missing. Raises
    Refused if something else has its name.
    """
    user = os.geteuid()
    folder = FALLBACK / f"uspnet-{user}"
    if user == 0 and os.access(RUNTIME, os.W_OK):
        folder = RUNTIME / "uspnet"
    elif user and _is_private(RUNTIME / "user" / str(user)):
        folder = RUNTIME / "user" / str(user) / "uspnet"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not _is_private(folder):
        raise Refused(f"{folder} is not a folder of this user alone", f"see: ls -ld {folder}")
    return folder


def _is_private(folder: Path) -> bool:
    """Return whether it is a folder of this user (not a link to one) that nobody else may read."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not stat.S_IMODE(status.st_mode) & 0o077
    )


def is_shared(folder: os.stat_result) -> bool:
    """Return whether others than its owner, root and our own group may create files in it."""
    group = folder.st_mode & 0o020 and folder.st_gid not in (0, os.getegid())
    return bool(folder.st_mode & 0o002 or group)


def check_folder(folder: Path) -> None:
    """Raise Refused if another user can replace files in the folder, or the folder itself; NoDevice
    if it does not exist.
    """
    whole = folder.resolve()
    for each in (whole, *whole.parents):
        try:
            status = each.stat()
        except FileNotFoundError:
            raise NoDevice(f"{folder}: no such folder", f"mkdir -p {folder}") from None
        stays = not is_shared(status) or status.st_mode & stat.S_ISVTX
        if status.st_uid not in (0, os.geteuid()) or not stays:
            raise Refused(
                f"{each}: another user may change what is in it", "choose a folder of your own"
            )


@contextlib.contextmanager
def folder_lock(address: str) -> Iterator[None]:
    """Lock the folder of a socket, so that no other uspnet takes a path in it meanwhile: between
    bind and listen, a socket looks like one that its owner has left behind.
    """
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):  # bind reports what is wrong with the folder
            if not address.startswith("\0"):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                folder = os.open(os.path.dirname(address) or ".", flags)
                undo.callback(os.close, folder)
                lock(folder)
        yield


def lock(fd: int) -> None:
    """Lock a file until it is closed; go on without the lock if another process holds it for
    LOCK_S.
    """
    end = time.monotonic() + LOCK_S
    while time.monotonic() < end:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.002)
        else:
            return
