# SPDX-License-Identifier: Apache-2.0
"""The kernel's file trees (/sys, /proc, /dev …) below a root that tests can move."""

from __future__ import annotations

import os


class Tree:
    """Small text files and links. Reading never raises: what does not exist is None or empty,
    because devices and processes come and go while they are read.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)

    def path(self, name: str) -> str:
        """Return the path on this machine of `name`, which has no leading slash."""
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name: str) -> str | None:
        """Return a file's contents without surrounding white space; None if it can't be read."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    def lines(self, name: str) -> list[str]:
        """Return a file's lines; an empty list if it can't be read."""
        return (self.text(name) or "").splitlines()

    def names(self, name: str) -> list[str]:
        """Return the names in a folder, sorted; an empty list if it can't be read."""
        try:
            return sorted(os.listdir(self.path(name)))
        except OSError:
            return []

    def link(self, name: str) -> str | None:
        """Return where a symbolic link points to, as written; None if there is no such link."""
        try:
            return os.readlink(self.path(name))
        except OSError:
            return None

    def target(self, name: str) -> str | None:
        """Return the last part of where a symbolic link points to, such as a driver's or a group's
        name; None if there is no such link.
        """
        text = self.link(name)
        return os.path.basename(text) if text else None

    def real(self, name: str) -> str:
        """Return the path relative to the root, with every link followed."""
        return os.path.relpath(os.path.realpath(self.path(name)), self.root)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file, folder or link."""
        return os.path.lexists(self.path(name))

    def write(self, name: str, text: str) -> None:
        """Write to a file that exists, in one system call as sysfs requires. Raises OSError."""
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


HOST = Tree()  # this machine's files: one object, so that tests move its root in one place
