# SPDX-License-Identifier: Apache-2.0
"""The fork server of another version, which the present one starts."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from uspnet import __version__
from uspnet.errors import (
    Incompatible,
    Malformed,
    NoDevice,
    NotPermitted,
    UspnetError,
)
from uspnet.process import first_words
from uspnet.process.first_words import FirstWords, paths, shown
from uspnet.process.layout import layout
from uspnet.process.protocol import PROTOCOL, Message
from uspnet.process.server import END_S, ERRNO_MAX, START_S, ForkServer
from uspnet.process.worker import COLD
from uspnet.system import child, children
from uspnet.system.kept import State
from uspnet.system.launch import launch
from uspnet.system.privileges import Capabilities, to_run

ADDRESSES = 1 << 64
CODE = first_words.CODE.format(module="uspnet.process.main", function="succeed")


def command(python: Sequence[str] | None) -> list[str]:
    """Return the program that a successor runs, with its arguments. `python`: the interpreter, with
    its arguments; None: our own, with the packages as they are in their folders now.
    """
    return [*python, "-I", "-c", CODE] if python else children.python(CODE, site=False)


class Successor(ForkServer):
    """The fork server of another version, or of the same.

    It starts while the present one goes on: `ready` tells when `greet` does not wait any more.
    `checked`: nobody else can change the program.
    """

    _launched: subprocess.Popen[bytes] | None = None  # by ourselves
    instead = "try that version on its own: its uspnet demo"

    def __init__(
        self, before: ForkServer, python: Sequence[str] | None, *, checked: bool = False
    ) -> None:
        argv = command(python)
        self.before: ForkServer | None = before
        self.program, self.user, self.parent = argv[0], before.user, before.parent
        self.pointed, self.python, self.version = before.pointed, python, ""
        self._functions: dict[str, int] = {}
        keep = to_run(self.program)
        if before.dead() or keep or (self.user and not _open_to_all(self.program)):
            self._start_as_ourselves(argv, keep, given=bool(python) and not checked)
        else:
            if python and not checked and not self.user:
                check_installation(self.program)  # the loops of a root that can be nobody else
            self.pid, self._socket, self.pidfd = before.execute(argv)
        self._words = FirstWords(self.program, self._socket, START_S)

    @classmethod
    def kept(cls, state: State) -> Successor | None:
        """Return the one that the version before has started for us; None if it has not."""
        match state.server:
            case {"program": str(program), "user": int(user), "pid": int(pid)}:
                control, pidfd = state.take("fork server"), state.take("fork server's end")
            case _:
                return None
        if control < 0 or pidfd < 0:
            return None
        self = cls.__new__(cls)
        self.before, self.program, self.user, self.parent = None, program, user, os.getpid()
        self.pid, self.pidfd = pid, pidfd
        self.pointed, self._functions, self.version, self.python = {}, {}, "", None
        self._socket = socket.socket(fileno=control)
        self._words = FirstWords(program, self._socket, START_S)
        return self

    def held(self) -> dict[str, int]:
        """Return the descriptors that `kept` needs."""
        return {"fork server": self._socket.fileno(), "fork server's end": self.pidfd}

    def facts(self) -> Message:
        """Return what else `kept` needs."""
        return {"program": self.program, "user": self.user, "pid": self.pid}

    def fileno(self) -> int:
        """Return what becomes readable when it is ready."""
        return self._socket.fileno()

    def ready(self) -> bool:
        """Return whether it has started, or will not."""
        return self._words.ready()

    def check_started(self) -> None:
        """Check that it has started, as `greet` does, which has to come."""
        self._started(self._words.read(again=True))

    def greet(self, timeout: float = 0) -> None:
        """Read what it says about itself, and check that it may take over. Raises an error that
        says why it may not. `timeout`: seconds that it may still take.
        """
        said = self._started(self._words.read(timeout))
        self._socket.settimeout(START_S)
        self._check(said)

    def _started(self, said: Message) -> Message:
        match said:
            case {"errno": int(number)} if 0 < number <= ERRNO_MAX:
                raise self._not_started(number)
        return said

    def _start_as_ourselves(self, argv: Sequence[str], keep: Capabilities, *, given: bool) -> None:
        """Start it as the command's own user, since that of the loops can't reach the program, or
        has no process any more that could start one. `keep`: what it needs to begin. Raises Refused
        when anybody else could change what would run, and NoMemory.
        """
        if given:
            check_installation(self.program)
        try:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._fail(error)
        control = theirs.fileno()
        try:
            with theirs:
                self._launched = launch(
                    [*argv, str(control), str(self.parent)],
                    self.parent,
                    pass_fds=[control],
                    piped=False,
                    confined=keep,
                )
            self.pidfd = os.pidfd_open(self._launched.pid)
        except OSError as error:
            self._socket.close()
            self._fail(error)
        self.user, self.pid = 0, self._launched.pid

    def _check(self, said: Message) -> None:
        match said:
            case {
                "protocol": int(protocol),
                "version": str(version),
                "layout": str(theirs),
                "files": [*files],
                "functions": dict(offered),
            } if offered and all(map(_is_address, offered.values())):
                self.version = shown(version)
            case _:
                raise Malformed(f"{self.program} runs no uspnet that can take over", COLD)
        ours = f"this job is of uspnet {__version__}, and {self.program} has {self.version}"
        if protocol != PROTOCOL:
            raise Incompatible(f"{ours}, which speaks another protocol", COLD)
        if theirs != layout():
            raise Incompatible(f"{ours}, whose structs in shared memory differ", COLD)
        for file in paths(files):
            children.chosen_program(file, "would run in a job of root")
        self._functions = offered

    def _not_started(self, number: int) -> UspnetError:
        text = f"{self.program}: {os.strerror(number)}"
        if number == errno.ENOENT:
            return NoDevice(text, "name an interpreter, or a virtual environment")
        if number in {errno.EACCES, errno.EPERM}:
            return NotPermitted(*self._unreadable(text))
        return Malformed(text, "name an interpreter, or a virtual environment")

    def _unreadable(self, text: str) -> tuple[str, str]:
        if not self.user:
            return text, "is it readable and executable?"
        folder = Path(self.program).parent.parent
        text = f"{text}; the loops run as user {self.user}, who must be able to read all of it"
        return text, f"let others read it: chmod -R o+rX {folder}, and its parents"

    @property
    def functions(self) -> dict[str, int]:
        """Return the addresses of the fast path's functions in its worker processes."""
        if not self._functions:
            self.greet(START_S)
        return self._functions

    def settle(self) -> None:
        """Forget the server before, which is about to end: the job's own is this one now."""
        self.before, self.instead = None, ForkServer.instead

    def let_go(self) -> None:
        """Close our own descriptors: it goes on with copies of them."""
        self._socket.close()
        os.close(self.pidfd)
        self.pidfd = -1

    def abort(self) -> None:
        """End it at once, whatever it does, and what it has started."""
        if self.pidfd < 0:
            return
        child.send(self.pidfd, signal.SIGKILL)
        try:
            os.killpg(self.pid, signal.SIGKILL)  # the number is its own until `close`
        except ProcessLookupError:
            pass  # an older version has started it
        except PermissionError:
            if self.before:
                with contextlib.suppress(UspnetError):
                    self.before.kill_successor()
        self.close()

    def close(self) -> None:
        """End it. May be called twice."""
        if self.pidfd < 0:
            return
        self._socket.close()
        child.gone(self.pidfd, END_S)
        if self._launched:
            self._launched.poll()
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        os.close(self.pidfd)
        self.pidfd = -1


def _is_address(value: object) -> bool:
    return type(value) is int and 0 < value < ADDRESSES


def check_installation(program: str) -> None:
    """Check for root that nobody else can change what an interpreter imports. Raises Refused."""
    path = Path(program)
    homes = {path.parent.parent, path.resolve().parent.parent} if os.geteuid() == 0 else set()
    for folder in (found for home in homes for found in home.glob("lib/python*")):
        children.check_way(str(folder), "would run as root")
        children.check_tree(folder, "would run as root")


def _open_to_all(program: str) -> bool:
    """Return whether every user can reach a program, as far as its folders tell: those of its path,
    and those that symbolic links lead to.
    """
    given = Path(program)
    try:
        return all(path.stat().st_mode & 1 for path in (*given.parents, *given.resolve().parents))
    except OSError:
        return False
