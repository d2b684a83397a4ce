# SPDX-License-Identifier: Apache-2.0
"""Another version says whether it can go on with a command line, before anything stops."""

from __future__ import annotations

import contextlib
import errno
import json
import os
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
from uspnet.errors import NoMemory, NotSupported, UspnetError
from uspnet.process import first_words
from uspnet.process.first_words import VENV, FirstWords, paths, shown
from uspnet.process.protocol import send
from uspnet.process.successor import check_installation
from uspnet.system import children, kept
from uspnet.system.launch import launch
from uspnet.system.privileges import to_run

ANSWER_S = 180.0  # for all imports and the command line, also in an emulated machine
WORDS_BYTES = 1 << 16  # of a command line
CODE = first_words.CODE.format(module="uspnet.cli.again", function="check")


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
            raise NotSupported(text, kept.ANEW)
        self.program, self.words = python[0] if python else sys.executable, list(words)
        self._argv = [*python, "-I", "-c", CODE] if python else children.python(CODE)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._answer: FirstWords | None = None  # which it will give
        self._began = 0.0
        self._error: UspnetError | None = None
        # It may read tens of thousands of files, while ports have to be served.
        self._checking = Thread(target=self._check, daemon=True)
        try:
            if python:
                self._checking.start()
        except RuntimeError:
            text = "the other version can't be checked: there is no thread for it"
            raise NoMemory(text, "see: ulimit -u, ulimit -v") from None

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
                send(self._socket, {"words": self.words})  # which it may never read
                control = theirs.fileno()
                self._process = launch(
                    [*self._argv, str(control)],
                    os.getpid(),
                    pass_fds=[control],
                    piped=False,
                    confined=to_run(self.program),
                    cwd=None,
                )
        except OSError as error:
            self.close()
            raise self._not_started(error) from None
        self._answer = FirstWords(self.program, self._socket, ANSWER_S)

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
        return bool(self._answer and self._answer.ready())

    def result(self) -> Able:
        """Return what it has said, and end it. Raises an error that says why it can't go on."""
        assert self._answer  # noqa: S101 - it is ready
        took_s = time.monotonic() - self._began
        try:
            said = self._answer.read()
        finally:
            self.close()
        match said:
            case {"error": str(kind), "message": str(message), "hint": str(hint)}:
                raise self._refused(kind, message, hint)
            case {
                "format": int(number),
                "version": str(version),
                "files": [*files],
                "ports": [*ports],
            }:
                if number != kept.FORMAT:
                    text = f"{self.program} has uspnet {shown(version)}, which keeps other things"
                    raise NotSupported(text, kept.ANEW)
                folders = paths(files)
                for folder in folders:
                    children.check_way(folder, "would run in a job of root")
                if os.geteuid() == 0 and folders:
                    children.check_tree(Path(folders[0]), "would run in a job of root")
                return Able(shown(version), [str(name) for name in ports], took_s)
        raise self._answer.no_python()

    def _refused(self, kind: str, message: str, hint: str) -> UspnetError:
        """Return the error that the command line is to that version."""
        known = getattr(errors, kind, UspnetError)
        if not (isinstance(known, type) and issubclass(known, UspnetError)):
            known = UspnetError
        text = f"{self.program} can't go on with this job: {shown(message)}"
        return known(text, shown(hint))

    def close(self) -> None:
        """End it, and what it has started. May be called twice."""
        if self._socket:
            self._socket.close()
        if self._process and self._process.returncode is None:  # so its number is still its own
            with contextlib.suppress(ProcessLookupError):  # where nobody waits for children
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
