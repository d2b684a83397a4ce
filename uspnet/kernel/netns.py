# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: where a name leads, and opening things there.

Reference: network_namespaces(7), setns(2), ip-netns(8).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from uspnet.errors import NoDevice, NotPermitted, NotSupported, Usage
from uspnet.text import printable

FOLDERS = ("/run/netns", "/run/docker/netns")  # of ip-netns(8) and Podman; of Docker
OWN = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x40000000


def split(target: str) -> tuple[str, str]:
    """Return the namespace, empty for our own, and the interface that `NETNS/IFNAME` names. Raises
    Usage.
    """
    namespace, slash, name = target.rpartition("/")
    if slash and ("/" in namespace or namespace in ("", ".", "..") or "\0" in namespace):
        raise Usage(
            f"{printable(target)!r} names no interface in a network namespace",
            f"write NETNS/{printable(name) or 'IFNAME'}; {_existing()}",
        )
    return namespace, name


def _existing() -> str:
    found: set[str] = set()
    for folder in FOLDERS:
        with suppress(OSError):
            found.update(os.listdir(folder))
    names = ", ".join(printable(name) for name in sorted(found)[:10])
    return f"namespaces are: {names}" if names else "name one: ip netns attach NAME PID"


def _open(name: str) -> int:
    """Open a namespace, by its name or by the id of a process in it. Raises NoDevice,
    NotPermitted.
    """
    paths = [f"{folder}/{name}" for folder in FOLDERS]
    if name.isascii() and name.isdigit():
        paths.append(f"/proc/{name}/ns/net")
    forbidden = None
    for path in paths:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            forbidden = error.strerror
        except OSError:  # there is none, or can be none of that name
            continue
    if forbidden:
        raise NotPermitted(f"network namespace {printable(name)}: {forbidden}", "run as root")
    raise NoDevice(f"there is no network namespace {printable(name)}", _existing())


def _enter(fd: int) -> None:
    """Have this thread be in a namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def identity(name: str) -> tuple[int, int]:
    """Return what is the same for all names of a namespace; "" is that of this thread. Raises
    NoDevice, NotPermitted.
    """
    fd = _open(name) if name else os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    return found.st_dev, found.st_ino


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Be in a network namespace meanwhile, with this thread alone; "" is our own. What is opened
    there stays there. Raises NoDevice, NotPermitted, NotSupported.
    """
    if not name:
        yield
        return
    there, here = _open(name), os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _enter(here)  # whoever may not come back does not go
            _enter(there)
        except PermissionError:
            text = f"network namespace {printable(name)}: not permitted"
            raise NotPermitted(text, "run as root, or with CAP_SYS_ADMIN") from None
        except OSError as error:
            text = f"network namespace {printable(name)}: {error.strerror}"
            raise NotSupported(text, "see: ip netns") from None
        try:
            yield
        finally:
            _enter(here)
    finally:
        os.close(there)
        os.close(here)
