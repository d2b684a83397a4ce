# SPDX-License-Identifier: Apache-2.0
"""What a program says first on the socket that it is given: who it is, if it is another version of
uspnet. Any program may be at the other end.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence

from uspnet.errors import DeviceTimeout, Malformed, NotSupported
from uspnet.process.protocol import Message, peek, receive
from uspnet.text import printable

TEXT_MAX = 1000  # characters of what a program says about itself
VENV = "name a virtual environment"
# What it runs; its arguments are the socket's number, and others. It says what is wrong where there
# is no uspnet that has `function`, and reads what was sent before: or both would be lost.
CODE = """
import sys
try:
    from {module} import {function}
except BaseException as error:
    import json, socket
    text = type(error).__name__ + ": " + str(error)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(False)
    try:
        control.recv(1 << 17)
    except OSError:
        pass
    control.send(json.dumps({{"missing": text[:200]}}).encode())
    raise
{function}(*map(int, sys.argv[1:]))
"""


class FirstWords:
    """Reads them. `patience_s`: seconds after which none come any more."""

    def __init__(self, program: str, control: socket.socket, patience_s: float) -> None:
        self.program, self.control, self.patience_s = program, control, patience_s
        self._began = time.monotonic()

    def ready(self) -> bool:
        """Return whether `read` does not wait any more."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        return bool(poll.poll(0)) or time.monotonic() > self._began + self.patience_s

    def read(self, timeout: float = 0, *, again: bool = False) -> Message:
        """Return them. `timeout`: seconds that they may still take; `again`: they will be read once
        more. Raises DeviceTimeout, and NotSupported for a program that is no uspnet.
        """
        self.control.settimeout(timeout)
        try:
            said, fd = (peek(self.control), -1) if again else receive(self.control)
        except (BlockingIOError, TimeoutError):
            text = f"{self.program} has said nothing for {self.patience_s:.0f} s"
            raise DeviceTimeout(text, "is it a Python interpreter?") from None
        except (OSError, ValueError, RecursionError):
            raise self.no_python() from None
        if fd >= 0:
            os.close(fd)  # nobody has asked for it
        if isinstance(said, bytes):
            raise self.no_python()
        if "missing" in said:
            why = shown(str(said["missing"]))
            text = f"{self.program} has no uspnet that can take over: {why}"
            raise NotSupported(text, f"install it there: {self.program} -m pip install -U uspnet")
        return said

    def no_python(self) -> NotSupported:
        """Return the error that something else was said."""
        return NotSupported(f"{self.program} is not Python", VENV)


def paths(said: Sequence[object]) -> list[str]:
    """Return the absolute paths that a program has said. Raises Malformed for anything else."""
    found = [path for path in said if isinstance(path, str) and path[:1] == "/"]
    if len(found) != len(said) or any("\0" in path for path in found):
        raise Malformed("the other version names files that are none", VENV)
    return found


def shown(text: str) -> str:
    """Return what a program has said about itself as it can be shown."""
    return printable(text[:TEXT_MAX])
