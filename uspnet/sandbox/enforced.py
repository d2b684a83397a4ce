# SPDX-License-Identifier: Apache-2.0
"""What the sandbox enforces on a process, as the kernel says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

FILTERED = "2"  # SECCOMP_MODE_FILTER in /proc/PID/status


@dataclass(frozen=True, kw_only=True)
class Enforced:
    """What a process can't do."""

    user: int | None
    """The user id that it alone has; null: it has its starter's."""
    capabilities: int
    """The number of capabilities that it has."""
    no_new_privs: bool
    """Whether no program that it executes gives it more."""
    landlock: int | None
    """The ABI of Landlock, by which it can open no file, use no TCP (from 4), and reach no other
    process by signals and abstract sockets (from 6); null: not enforced."""
    seccomp: int | None
    """The number of system calls that it may make; null: all."""
    missing: list[str]
    """What is not enforced."""

    def __str__(self) -> str:
        """Say in a few words what is enforced."""
        parts = ["a user of its own"] if self.user is not None else []
        parts += ["no capabilities"] if self.capabilities == 0 else []
        parts += [f"Landlock ABI {self.landlock}"] if self.landlock else []
        parts += [f"{self.seccomp} system calls"] if self.seccomp else []
        parts += [f"without {' and '.join(self.missing)}"] if self.missing else []
        return ", ".join(parts)


def observe(process: int, landlock: int, calls: int) -> Enforced:
    """Return what is enforced on a process. `landlock`: what `sandbox_landlock` returned there;
    `calls`: the length of its list.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text(errors="replace").splitlines()
    except OSError:  # mounted with hidepid=
        return Enforced(
            user=None,
            capabilities=0,
            no_new_privs=False,
            landlock=None,
            seccomp=None,
            missing=["knowledge of it: /proc hides other users' processes"],
        )
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    user, ours = int(status["Uid"][1]), os.geteuid()
    filtered = status.get("Seccomp", [""])[0] == FILTERED
    held = int(status["CapEff"][0], 16) | int(status["CapPrm"][0], 16)
    absent = {
        "a user of its own": user == ours == 0,
        "dropped capabilities": held != 0,
        "no_new_privs": status.get("NoNewPrivs") != ["1"],
        "Landlock": landlock < 0,
        "seccomp": not filtered,
    }
    return Enforced(
        user=None if user == ours else user,
        capabilities=held.bit_count(),
        no_new_privs=not absent["no_new_privs"],
        landlock=None if landlock < 0 else landlock,
        seccomp=calls if filtered else None,
        missing=[what for what, is_absent in absent.items() if is_absent],
    )
