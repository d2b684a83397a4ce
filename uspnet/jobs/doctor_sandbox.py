# SPDX-License-Identifier: Apache-2.0
"""doctor: what this kernel can enforce on a process."""

from __future__ import annotations

from collections.abc import Iterator

from uspnet.jobs.doctor_nic import Row
from uspnet.sandbox.enforced import Enforced

NETWORK_ABI, SCOPE_ABI = 4, 6  # of Landlock: TCP; signals and abstract sockets


def sandbox_rows(enforced: Enforced) -> Iterator[Row]:
    """Return a row for each part of the sandbox: check, state, what was found, command."""
    yield _privileges(enforced)
    yield _landlock(enforced.landlock)
    yield _seccomp(enforced)


def _privileges(enforced: Enforced) -> Row:
    lacks = [what for what in enforced.missing if not what.startswith(("seccomp", "Landlock"))]
    if lacks:
        fix = "run as root, outside of containers"
        return "privileges", "note", f"not enforced: {', '.join(lacks)}", fix
    user = "the user stays the same" if enforced.user is None else "the user changes, too"
    return "privileges", "ok", f"can be given up; {user}", ""


def _landlock(abi: int | None) -> Row:
    if abi is None:
        fix = "boot Linux 5.13 or newer with landlock in lsm="
        return "Landlock", "note", "not available", fix
    parts = ["files"]
    parts += ["TCP"] if abi >= NETWORK_ABI else []
    parts += ["signals", "abstract sockets"] if abi >= SCOPE_ABI else []
    return "Landlock", "ok", f"ABI {abi}: can close {', '.join(parts)}", ""


def _seccomp(enforced: Enforced) -> Row:
    if enforced.seccomp is not None:
        return "seccomp", "ok", f"can restrict a process to {enforced.seccomp} system calls", ""
    fix = "boot a kernel with CONFIG_SECCOMP_FILTER"
    return "seccomp", "note", "not available, or it does not end a process", fix
