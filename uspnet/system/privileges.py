# SPDX-License-Identifier: Apache-2.0
"""Privileges that a job and its children keep after everything is open.

A job gives up all capabilities but those that its ports need later (`Port.keeps`); its user stays
the same. A child that root starts gets a user id that no account and no other process has, so that
it has no access to files and other processes, nor they to it.
"""

from __future__ import annotations

import errno
import os
import pwd
import random
import stat
import sys
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from uspnet.errors import DeviceFault
from uspnet.fastpath import lib

SWITCH = 1 << 5 | 1 << 6 | 1 << 7  # CAP_KILL, CAP_SETGID, CAP_SETUID
NUMBERS = {
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
USERS = range(61184, 65520)  # the range of systemd's DynamicUser=, too


class Capability(IntEnum):
    """Capabilities that a port may need after its start, numbered as in linux/capability.h."""

    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    KILL = 5
    NET_ADMIN = 12
    NET_RAW = 13
    IPC_LOCK = 14


Capabilities = frozenset[Capability]
NONE: Capabilities = frozenset()


def drop(*keep: Capabilities) -> None:
    """Give up all other capabilities, for good. Threads that exist already keep theirs. Raises
    DeviceFault.
    """
    if error := lib.capabilities_drop(mask(_to_import().union(*keep))):
        raise DeviceFault(f"capabilities can't be given up: {os.strerror(error)}")


def to_reach(path: str | os.PathLike[str], mode: int) -> Capabilities:
    """Return the capabilities that this user needs to access a path later (`os.W_OK`, …). None for
    one that does not exist yet: nobody knows.
    """
    return (
        frozenset({Capability.DAC_OVERRIDE}) if lib.bare_access(os.fsencode(path), mode) else NONE
    )


def to_run(program: str) -> Capabilities:
    """Return the capabilities needed to execute a Python interpreter, and to import our code in it:
    as those to import more of it here.
    """
    return _to_import() | _to_read(program)


def mask(capabilities: Capabilities) -> int:
    """Return a bit for each, for C."""
    return sum(1 << capability for capability in capabilities)


def _to_import() -> Capabilities:
    """Return the capabilities needed to import more of our code: root may run it from a home folder
    that is closed to others.
    """
    return NONE.union(*map(_to_read, sys.path))


def _to_read(path: str) -> Capabilities:
    closed = lib.bare_access(os.fsencode(path), os.R_OK) == errno.EACCES
    return frozenset({Capability.DAC_READ_SEARCH}) if closed else NONE


def to_end(child_user: int) -> Capabilities:
    """Return the capabilities needed to end a child that became this user; none for 0."""
    return frozenset({Capability.KILL}) if child_user else NONE


def nobody(program: str = "/") -> int:
    """Return a user id for a child, which no account and no process has. 0 if this process isn't
    root, may not give a child another user (a container's root, perhaps), or if only root has
    access to the program that the child runs.
    """
    whole = Path(program).resolve()
    closed = any(not path.stat().st_mode & stat.S_IXOTH for path in (whole, *whole.parents))
    if os.geteuid() != 0 or closed or not _may_switch():
        return 0
    taken = {owner for entry in os.scandir("/proc") if (owner := _owner(entry)) is not None}
    for user in random.sample(USERS, len(USERS)):
        if user not in taken and not _is_account(user):
            return user
    return 0


def lacking(wanted: Sequence[str]) -> list[str]:
    """Return which of these capabilities this process does not have, by the kernel's names."""
    held = _effective()
    return [name for name in wanted if not held >> NUMBERS[name] & 1]


def _effective() -> int:
    status = Path("/proc/self/status").read_text(errors="replace")
    return int(status.partition("CapEff:")[2].split()[0], 16)


def _may_switch() -> bool:
    """Return whether this process may become another user, has others to become, and can still
    stop and end a child that is one.
    """
    effective = _effective()
    if effective & SWITCH != SWITCH:
        return False
    try:
        mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        groups = Path("/proc/self/setgroups").read_text()
    except FileNotFoundError:
        return True  # a kernel without user namespaces
    ranges = [range(int(first), int(first) + int(count)) for first, _, count in mapped]
    return groups == "allow\n" and any(USERS[0] in users and USERS[-1] in users for users in ranges)


def _owner(entry: os.DirEntry[str]) -> int | None:
    """Return the user of a process, by its entry in /proc; None if it has ended."""
    try:
        return entry.stat().st_uid
    except OSError:
        return None


def _is_account(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True
