# SPDX-License-Identifier: Apache-2.0
"""The kernel's file trees (/sys, /proc, /dev …) below a root that tests can put elsewhere."""

from __future__ import annotations

import os


class Tree:
    """Small text files and links. Reading never raises: what is not there is None or empty,
    because devices and processes come and go while they are looked at.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)

    def path(self, name: str) -> str:
        """The path on this machine of `name`, which is given without a leading slash."""
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name: str) -> str | None:
        """A file's contents without surrounding white space."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    def lines(self, name: str) -> list[str]:
        """A file's lines; none when it can't be read."""
        return (self.text(name) or "").splitlines()

    def names(self, name: str) -> list[str]:
        """What a folder holds, sorted."""
        try:
            return sorted(os.listdir(self.path(name)))
        except OSError:
            return []

    def link(self, name: str) -> str | None:
        """Where a symbolic link points to, as written."""
        try:
            return os.readlink(self.path(name))
        except OSError:
            return None

    def target(self, name: str) -> str | None:
        """The last part of where a symbolic link points to: a driver's or a group's name."""
        text = self.link(name)
        return os.path.basename(text) if text else None

    def real(self, name: str) -> str:
        """The path with every link followed, relative to the root."""
        return os.path.relpath(os.path.realpath(self.path(name)), self.root)

    def exists(self, name: str) -> bool:
        """Is there such a file, folder or link?"""
        return os.path.lexists(self.path(name))

    def write(self, name: str, text: str) -> None:
        """Writes to a file that exists, in one system call as sysfs wants it. Raises OSError."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


HOST = Tree()  # this machine's; all who read it share this object, so that tests move its root once
