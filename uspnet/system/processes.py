# SPDX-License-Identifier: Apache-2.0
"""Other processes: their names, and which of them have a device open.

Anybody can forge a process's name and the text of a descriptor's link, so the text only selects
candidates; what counts is the device's number, or the inode of the file. A process is signalled by
a pidfd that was opened before the check, because its id may be reused after it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from uspnet.fastpath import ffi, lib
from uspnet.text import printable

CANDIDATE = re.compile(r"/vfio/|/uio\d|/resource\d|/config$")
ENDED, STOPPED = frozenset("ZX"), frozenset("Tt")  # states of threads
CREDENTIALS = struct.Struct("=iII")  # struct ucred of unix(7): process, user, group
NAME_MAX = 64  # characters of a process's name; the kernel's own tasks have longer ones


@dataclass(frozen=True)
class Process:
    """A running process."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{printable(self.name, NAME_MAX)} (process {self.pid})"


@dataclass(frozen=True)
class _File:
    """A device, or a file on a device."""

    device: int
    inode: int


def process(pid: int, root: str = "/") -> Process:
    """Return the process with this id. `root`: the folder that has /proc."""
    try:
        with open(os.path.join(root, f"proc/{pid}/comm"), "rb") as file:
            name = os.fsdecode(file.read()).removesuffix("\n")
    except OSError:
        name = ""
    return Process(pid, name or "?")


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return process id and user of the other end of a Unix socket; 65534, the overflow user, if it
    has no id in our user namespace. Raises OSError.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, user, _ = CREDENTIALS.unpack(data)
    return pid, user


def user_of(pid: int) -> int | None:
    """Return the real user id of a process, also of one that is setuid; None if it has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(b"Uid:"))
    except OSError:
        return None


def thread_states(pid: int) -> set[str]:
    """Return the states of a process's threads, a letter each as in proc_pid_stat(5); none if it
    has ended.
    """
    states: set[str] = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{pid}/task/{thread}/stat", "rb") as file,
            ):
                states.add(chr(file.read().rpartition(b") ")[2][0]))
    return states


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children; none if it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{pid}/task/{thread}/children", "rb") as file,
            ):
                found += map(int, file.read().split())
    return found


def is_stuck(pid: int) -> bool:
    """Return whether a thread of a process that runs has ended or is stopped, or one of its
    children is stopped. One that has ended may just not have been waited for yet.
    """
    if thread_states(pid) & (ENDED | STOPPED):
        return True
    return any(thread_states(child) & STOPPED for child in children_of(pid))


def pids(root: str = "/") -> list[int]:
    """Return the ids of the running processes."""
    return sorted(int(name) for name in os.listdir(os.path.join(root, "proc")) if name.isdigit())


def links(pid: int, root: str = "/") -> Iterator[tuple[str, str]]:
    """Yield the path of each of its descriptors in /proc, and the kernel's name for it."""
    folder = os.path.join(root, f"proc/{pid}/fd")
    with (
        contextlib.suppress(OSError),
        os.scandir(folder) as entries,
    ):  # it has ended, or is another user's
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.path, os.readlink(entry.path)


def users_of(paths: Iterable[str], root: str = "/") -> list[Process]:
    """Return the processes that have one of these device nodes or files open, as far as this user
    may see.
    """
    wanted = _wanted(paths)
    return [process(pid, root) for pid in pids(root) if wanted and _uses(pid, wanted, root)]


def signal_users(paths: Iterable[str], number: signal.Signals, root: str = "/") -> list[Process]:
    """Send a signal to the processes that have one of these files open. Returns who got it."""
    wanted, reached = _wanted(paths), []
    for pid in pids(root) if wanted else ():
        with contextlib.suppress(OSError):  # it has ended
            handle = os.pidfd_open(pid)
            try:
                if _uses(pid, wanted, root):
                    signal.pidfd_send_signal(handle, number)
                    reached.append(process(pid, root))
            finally:
                os.close(handle)
    return reached


def _identify(path: str) -> tuple[_File, str] | None:
    """Return the file behind a path, and the number of its file system as /proc writes it; None if
    it can't be read.
    """
    seen = ffi.new("struct file_identity *")
    if lib.identify_file(os.fsencode(path), seen):
        return None
    return _File(int(seen.device), int(seen.inode)), f"{seen.major}:{seen.minor}"


def _wanted(paths: Iterable[str]) -> set[_File]:
    return {found[0] for path in paths if (found := _identify(path))}


def _uses(pid: int, wanted: set[_File], root: str) -> bool:
    """Return whether the process has one of these files open."""
    inodes = {file.inode for file in wanted} - {0}
    for path, name in links(pid, root):
        if not CANDIDATE.search(name) or not (found := _identify(path)):
            continue
        file, device = found
        if file in wanted or (file.inode in inodes and _is_sysfs(pid, device, root)):
            return True
    return False


def _is_sysfs(pid: int, device: str, root: str) -> bool:
    """Return whether this number is a sysfs in the process's mounts. Each network namespace has a
    sysfs of its own, in which a file has the same inode.
    """
    with contextlib.suppress(OSError), open(os.path.join(root, f"proc/{pid}/mountinfo"), "rb") as f:
        for line in f:
            words = line.split()
            if len(words) > 2 and words[2] == device.encode() and b" - sysfs " in line:
                return True
    return False
