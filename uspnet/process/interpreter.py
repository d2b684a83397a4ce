# SPDX-License-Identifier: Apache-2.0
"""Which interpreter has another installation of uspnet."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from uspnet.errors import NoDevice, NotPermitted, NotSupported
from uspnet.system import children

HEAD_BYTES = 4096
# As pip writes it, also where the path is too long for the first line.
SHEBANG = re.compile(rb"#! *(/[^\n]+)\n")
LONG = re.compile(rb"#!/bin/sh\n'''exec' (\"[^\"\n]+\"|/[^\s\"]+) ")
HINT = "name an interpreter, a virtual environment's folder, or its program bin/uspnet"


def interpreter(path: str) -> str:
    """Return the interpreter that an absolute path leads to: it is one, or a virtual environment's
    folder, or a program that an interpreter runs. For root, no other user may be able to change it.
    Raises NoDevice, NotSupported, NotPermitted, Refused.
    """
    try:
        found = _found(path)
        children.check_way(found, "would run in a job of root")
    except OSError as error:
        if isinstance(error, NoDevice):
            raise
        raise NotPermitted(f"{path}: {error.strerror}", HINT) from None
    return found


def _found(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise NoDevice(f"{path} does not exist", HINT) from None
    if stat.S_ISDIR(mode):
        inside = os.path.join(path, "bin", "python")
        if not os.path.exists(inside):
            raise NoDevice(f"{path} is a folder without bin/python", HINT)
        return inside
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        raise NotSupported(f"{path} is no program", HINT)
    return _run_by(path) or path


def _run_by(path: str) -> str | None:
    """Return what interprets a script; None for a program of its own."""
    with Path(path).open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(b"#!"):
        return None
    if found := LONG.match(head):
        return os.fsdecode(found[1].strip(b'"'))
    line = os.fsdecode(found[1]).strip() if (found := SHEBANG.match(head)) else ""
    if os.path.exists(line):
        return line  # with a blank in its name, perhaps
    program = line.partition(" ")[0]
    if os.path.basename(program) == "env":
        raise NotSupported(f"{path} leaves its interpreter open: #!{line}", HINT)
    if not os.path.exists(program):
        raise NoDevice(f"{path} is run by {program or 'nothing'}, which does not exist", HINT)
    return program
