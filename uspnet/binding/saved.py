# SPDX-License-Identifier: Apache-2.0
"""The state of each NIC before it was bound: a JSON file in /var/lib/uspnet, for `unbind`.

A file is written before anything is changed, and removed when all is restored. It is replaced
by renaming, so that a crash or a power cut leaves the old or the new one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

from uspnet.binding.netstate import Message
from uspnet.errors import Busy, Malformed, NotSupported, Refused
from uspnet.pci.address import is_full
from uspnet.pci.sysfs import Tree

FOLDER = "var/lib/uspnet"
VERSION = 1
BYTES_MAX = 64 << 20  # of a file: a few KiB are usual, 400 bytes for each route
LOCK_S = 10.0  # how long to wait for another bind or unbind


@dataclass
class Saved:
    """One function's state before it was bound, and what bind did to it."""

    address: str
    driver: str | None  # None: it had none
    override: str | None
    target: str  # the driver that it was bound to
    boot: str  # the kernel's boot id
    saved_at: float  # UNIX time in seconds
    network: Message = field(default_factory=dict)  # see collect.py
    persisted: bool = False
    persisted_before: str | None = None  # what driverctl's file held before
    deadline: float | None = None  # CLOCK_BOOTTIME in seconds: given back then unless confirmed
    guardian: int | None = None  # the process that will do that


def boot_id(tree: Tree) -> str:
    """Return the id of this boot of the machine."""
    return tree.text("proc/sys/kernel/random/boot_id") or ""


def _open_ours(path: str) -> int:
    """Open a file of root or of this user for reading; others could have us act on what they wrote.
    Raises Refused.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{path} is a link", f"see: ls -l {path}") from None
        raise
    status = os.fstat(fd)
    ours = stat.S_ISREG(status.st_mode) and status.st_uid in (0, os.geteuid())
    if not ours or status.st_mode & 0o022:
        os.close(fd)
        raise Refused(f"{path} can be written by another user", f"see: ls -l {path}")
    return fd


class Store:
    """The folder of saved states."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.folder = tree.path(FOLDER)

    def _path(self, address: str) -> str:
        return os.path.join(self.folder, f"{address}.json")

    def load(self, address: str) -> Saved | None:
        """Return the saved state; None if there is none. Raises Malformed, Refused."""
        path = self._path(address)
        try:
            with os.fdopen(_open_ours(path), encoding="utf-8") as file:
                data = json.loads(file.read(BYTES_MAX))
            if data.pop("version") != VERSION or data["address"] != address:
                raise ValueError("another version, or another address")
            return Saved(**data)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            hint = f"let the kernel choose a driver: uspnet unbind {address} --allow unsaved"
            raise Malformed(f"{path} is damaged ({error})", hint) from None

    def addresses(self) -> list[str]:
        """Return the addresses of functions that have a saved state."""
        names = self.tree.names(FOLDER)
        found = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return [address for address in found if is_full(address)]

    def put(self, saved: Saved) -> None:
        """Write a state, and wait until it is on disk. Raises NotSupported if it could not be read
        again.
        """
        text = json.dumps({"version": VERSION, **asdict(saved)}, indent=1)  # ASCII only
        if len(text) > BYTES_MAX:
            raise NotSupported(
                f"the configuration of {saved.address} takes {len(text)} bytes to save, and at "
                f"most {BYTES_MAX} can be given back",
                "remove routes or interfaces on top of it first",
            )
        self._make_folder()
        path = self._path(saved.address)
        with suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.new", path)
        self._sync()

    def drop(self, address: str) -> None:
        """Remove a state, and a partly written one of a process that was killed."""
        for path in (self._path(address), f"{self._path(address)}.new"):
            with suppress(FileNotFoundError):
                os.unlink(path)
        with suppress(OSError):  # it is removed, but perhaps not yet on disk
            self._sync()

    def _make_folder(self) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        status = os.lstat(self.folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise Refused(f"{self.folder} is another user's", f"see: ls -ld {self.folder}")
        os.chmod(self.folder, 0o700)

    def _sync(self) -> None:
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock that bind, unbind and the guardian share. Raises Busy after LOCK_S."""
        self._make_folder()
        path = os.path.join(self.folder, "lock")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + LOCK_S
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Busy(
                            "another uspnet bind or unbind is running", f"see: fuser {path}"
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(fd)
