# SPDX-License-Identifier: Apache-2.0
"""Another version says whether it can go on with a command line, before anything stops."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from uspnet import errors
from uspnet.errors import DeviceTimeout, NoMemory, NotSupported, UspnetError
from uspnet.process.protocol import receive, send
from uspnet.process.successor import check_installation
from uspnet.process.worker import COLD
from uspnet.system import children, kept
from uspnet.system.launch import launch
from uspnet.text import printable

ANSWER_S = 60.0  # for all imports and the command line, also on a slow machine
WORDS_BYTES = 1 << 16  # of a command line
VENV = "name a virtual environment"
TEXT_MAX = 1000  # characters of what a program says about itself
# What the other version runs. It says what is wrong where there is none.
CODE = """
import sys
try:
    from uspnet.cli.again import check
except BaseException as error:
    import json, socket
    text = type(error).__name__ + ": " + str(error)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.recv(1 << 17)
    control.send(json.dumps({"missing": text[:200]}).encode())
    raise
check(int(sys.argv[1]))
"""


@dataclass(frozen=True)
class Able:
    """What a version has said that can go on: its name, the names of the ports that it would open,
    and the seconds that it took to start.
    """

    version: str
    ports: list[str]
    took_s: float


class Trial:
    """A process of another version that parses a command line and opens nothing. `python`: the
    interpreter that has the version, with its arguments; None: our own. Raises NotSupported.
    """

    def __init__(self, python: Sequence[str] | None, words: Sequence[str]) -> None:
        if len(json.dumps(words)) > WORDS_BYTES:
            text = "the job's command line is too long to be given to another version"
            raise NotSupported(text, COLD)
        self.program, self.words = python[0] if python else sys.executable, list(words)
        self._argv = [*python, "-I", "-c", CODE] if python else children.python(CODE)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._began = 0.0
        self._error: UspnetError | None = None
        # It may read tens of thousands of files, while ports have to be served.
        self._checking = Thread(target=self._check, daemon=True)
        if python:
            self._checking.start()

    def _check(self) -> None:
        try:
            check_installation(self.program)
        except UspnetError as error:
            self._error = error

    def _start(self) -> None:
        """Start the process, which only a thread may do that goes on."""
        if self._error:
            raise self._error
        self._began = time.monotonic()
        try:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                control = theirs.fileno()
                self._process = launch(
                    [*self._argv, str(control)],
                    os.getpid(),
                    pass_fds=[control],
                    piped=False,
                    confined=True,
                    cwd=None,
                )
        except OSError as error:
            self.close()
            raise self._not_started(error) from None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended
            send(self._socket, {"words": self.words})

    def _not_started(self, error: OSError) -> UspnetError:
        text = f"{self.program}: {error.strerror}"
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM}:
            return NoMemory(text, "see: ulimit -n, ulimit -u")
        return NotSupported(text, VENV)

    def fds(self) -> list[int]:
        """Return the descriptor that becomes readable when it is ready."""
        return [self._socket.fileno()] if self._socket else []

    def ready(self) -> bool:
        """Return whether it has answered, or will not. To be called again and again. Raises Refused
        when somebody else could change what runs as root, NotSupported and NoMemory.
        """
        if not self._socket and not self._checking.is_alive():
            self._start()
        if not self._socket:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0)) or time.monotonic() > self._began + ANSWER_S

    def result(self) -> Able:
        """Return what it has said, and end it. Raises an error that says why it can't go on."""
        assert self._socket  # noqa: S101 - it is ready
        took_s = time.monotonic() - self._began
        self._socket.settimeout(0)
        try:
            said, _ = receive(self._socket)
        except BlockingIOError:
            text = f"{self.program} has said nothing for {ANSWER_S:.0f} s"
            raise DeviceTimeout(text, "is it a Python interpreter?") from None
        except (OSError, ValueError, RecursionError):
            said = b""
        finally:
            self.close()
        match said:
            case {"missing": str(why)}:
                text = f"{self.program} has no uspnet that can go on: {_shown(why)}"
                raise NotSupported(text, "take a version that has: uspnet upgrade --help")
            case {"error": str(kind), "message": str(message), "hint": str(hint)}:
                raise self._refused(kind, message, hint)
            case {
                "format": int(number),
                "version": str(version),
                "files": [*files],
                "ports": [*ports],
            }:
                if number != kept.FORMAT:
                    text = f"{self.program} has uspnet {_shown(version)}, which keeps other things"
                    raise NotSupported(text, COLD)
                for folder in files:
                    children.check_way(str(folder), "would run in a job of root")
                if os.geteuid() == 0 and files:
                    children.check_tree(Path(str(files[0])), "would run in a job of root")
                return Able(_shown(version), [str(name) for name in ports], took_s)
        raise NotSupported(f"{self.program} is not Python", VENV)

    def _refused(self, kind: str, message: str, hint: str) -> UspnetError:
        """Return the error that the command line is to that version."""
        known = getattr(errors, kind, UspnetError)
        if not (isinstance(known, type) and issubclass(known, UspnetError)):
            known = UspnetError
        text = f"{self.program} can't go on with this job: {_shown(message)}"
        return known(text, _shown(hint))

    def close(self) -> None:
        """End it, and what it has started. May be called twice."""
        if self._socket:
            self._socket.close()
        if self._process and self._process.returncode is None:  # so its number is still its own
            with contextlib.suppress(ProcessLookupError):  # where nobody waits for children
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _shown(text: str) -> str:
    return printable(text[:TEXT_MAX])
