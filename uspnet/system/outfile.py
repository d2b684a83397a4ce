# SPDX-License-Identifier: Apache-2.0
"""Output files in folders to which other users may write, too.

The rules are those of the kernel's fs.protected_symlinks, _hardlinks, _fifos and _regular, whatever
the machine's setting, and stricter: a link is followed only when it is root's or this user's,
in any folder. Every check is made on an open descriptor; no name is looked up twice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque

from uspnet.errors import Refused
from uspnet.system.folders import is_shared

LINKS_MAX = 40  # on one path, as in the kernel
MODE = 0o600  # packets are private
FLAGS = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK


class OutFile:
    """A path, resolved to the folder of its last name. `created`: `open` has created the file."""

    def __init__(self, path: str) -> None:
        self.path, self.name, self.created = path, "", False
        self.by_kernel = False  # the last name is a link of /proc, which has no text to follow
        self.folder = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_CLOEXEC)
        try:
            self._walk(_names(path))
        except BaseException:
            self.close()
            raise

    def _walk(self, names: deque[str]) -> None:
        links = 0
        while True:
            self.name = names.popleft()
            try:
                here = os.open(self.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.folder)
            except FileNotFoundError:
                if names:
                    raise
                return
            status = os.fstat(here)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                self._follow(here, status, names, links)
            elif names:
                self._go(here)
            else:
                os.close(here)
            if not names:
                return

    def _go(self, folder: int) -> None:
        self.close()
        self.folder = folder

    def _follow(self, link: int, status: os.stat_result, names: deque[str], links: int) -> None:
        """Put the link's text in front of the other names."""
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, link)
            if links > LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if status.st_dev == os.stat("/proc").st_dev:
                self.by_kernel = not names
                if names:
                    self._go(os.open(self.name, os.O_PATH | os.O_CLOEXEC, dir_fd=self.folder))
                return
            self._check_link(status)
            text = os.readlink("", dir_fd=link)
        if text.startswith("/"):
            self._go(os.open("/", os.O_PATH | os.O_CLOEXEC))
        names.extendleft(reversed(_names(text)))

    def _check_link(self, status: os.stat_result) -> None:
        if status.st_uid not in (0, os.geteuid()):
            raise Refused(
                f"{self.path}: {self.name} is another user's link",
                "name what it leads to, if that is where the packets should go",
            )

    def open(self) -> int:
        """Open the file for writing. Returns a descriptor; -1 for a FIFO without a reader. Raises
        Refused, OSError.
        """
        if not self.by_kernel:
            with contextlib.suppress(FileExistsError):
                fd = os.open(self.name, FLAGS | os.O_CREAT | os.O_EXCL, MODE, dir_fd=self.folder)
                self.created = True
                return fd
        follow = 0 if self.by_kernel else os.O_NOFOLLOW
        try:
            fd = os.open(self.name, FLAGS | follow, dir_fd=self.folder)
        except OSError as error:
            if error.errno == errno.ENXIO and self._is_fifo():
                return -1
            raise
        try:
            self._check(os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _is_fifo(self) -> bool:
        """Return whether it is a FIFO; a socket gives the same error."""
        status = os.stat(self.name, dir_fd=self.folder, follow_symlinks=self.by_kernel)
        return stat.S_ISFIFO(status.st_mode)

    def _check(self, status: os.stat_result) -> None:
        """Raise Refused for a file of a wrong owner. In a folder where anybody may create files,
        only our own are accepted; in another user's folder, also that user's own.
        """
        if stat.S_ISBLK(status.st_mode):
            raise Refused(f"{self.path} is a disk", "name a file")
        if self.by_kernel:
            return
        folder, us = os.fstat(self.folder), {0, os.geteuid()}
        if not is_shared(folder):
            if folder.st_uid in us:
                return
            us.add(folder.st_uid)
        if status.st_uid not in us:
            raise Refused(f"{self.path} is another user's", "choose another name for the file")
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            raise Refused(
                f"{self.path} has other names: it may be a file that is needed",
                "choose another name for the file",
            )

    def remove(self, fd: int) -> None:
        """Remove the file that `open` created, if its name still refers to it."""
        with contextlib.suppress(OSError):
            if self.is_named(fd):
                os.unlink(self.name, dir_fd=self.folder)

    def is_named(self, fd: int) -> bool:
        """Return whether the name still refers to this open file; true if that can't be told."""
        ours = os.fstat(fd)
        try:
            status = os.stat(self.name, dir_fd=self.folder, follow_symlinks=self.by_kernel)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return (status.st_dev, status.st_ino) == (ours.st_dev, ours.st_ino)

    def close(self) -> None:
        """Close the folder; the descriptor that `open` returned belongs to the caller."""
        if self.folder >= 0:
            os.close(self.folder)
            self.folder = -1


def _names(path: str) -> deque[str]:
    """Return the parts of a path; the last one is `.` if the path names a folder."""
    names = deque(name for name in path.split("/") if name)
    if path.endswith("/") or not names:
        names.append(".")
    return names
