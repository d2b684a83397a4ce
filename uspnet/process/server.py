# SPDX-License-Identifier: Apache-2.0
"""The fork server, as the command's process sees it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import NoReturn

from uspnet import __version__
from uspnet.errors import NoMemory, NotSupported, UspnetError
from uspnet.process.protocol import Message, receive, send
from uspnet.system import child, children, privileges
from uspnet.system.launch import launch

CODE = "import sys; from uspnet.process.main import serve; serve(*map(int, sys.argv[1:]))"
GONE = "the one that forks such processes has ended"
START_S = 10.0  # also on a busy machine
END_S = 1.0
ERRNO_MAX = 0xFFF
SCARCE = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ETOOMANYREFS}


class ForkServer:
    """Starts worker processes without privileges, also when we have none left ourselves.

    Made before a job gives its privileges up, and while it opens its ports: Python takes a few
    hundredths of a second to start. Raises NotSupported.
    """

    # What to do when it has no process for the loops.
    instead = "run them in this one: --in-process"

    def __init__(self) -> None:
        self.version = __version__
        self.user = privileges.nobody()  # the user that workers run as; 0: our own
        self.python: Sequence[str] | None = None  # the interpreter that it runs in; None: our own
        self._functions: dict[str, int] = {}
        # Slots of structs: address, function. Those that start in its place share this.
        self.pointed: dict[int, tuple[int, str]] = {}
        # A process that asks for it is killed when the thread that started it ends.
        main = threading.current_thread() is threading.main_thread()
        self.parent = os.getpid() if main else 0
        try:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._fail(error)
        self._socket.settimeout(START_S)
        try:
            control = theirs.fileno()
            words = children.python(CODE, *map(str, (control, self.user, self.parent)), site=False)
            self._process = launch(words, self.parent, pass_fds=[control], piped=False)
            self.pid = self._process.pid
            self.pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            self._socket.close()
            self._fail(error)
        finally:
            theirs.close()

    @property
    def functions(self) -> dict[str, int]:
        """Return the addresses of the fast path's functions in its worker processes."""
        if not self._functions:
            self._functions = self._answer()[0]["functions"]
        return self._functions

    def dead(self, within_s: float = 0) -> bool:
        """Return whether it has ended, or does within so many seconds."""
        return child.gone(self.pidfd, within_s)

    def fork(self) -> tuple[int, socket.socket, int]:
        """Fork a worker process. Return its process id, our end of a socket, and a pidfd: it is our
        own child.
        """
        return self._make({"do": "fork"})

    def _make(self, message: Message) -> tuple[int, socket.socket, int]:
        self.functions  # noqa: B018 - its first message
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._fail(error)
        try:
            with theirs:
                self._ask({**message, "number": ours.fileno()}, theirs.fileno())
            answer, pidfd = self._answer()
            self._check_child(answer, pidfd)
        except UspnetError:
            ours.close()
            raise
        return answer["pid"], ours, pidfd

    def _check_child(self, answer: Message, pidfd: int) -> None:
        """Raise NotSupported unless the server has named a new child of ours, and NoMemory."""
        number = errno.EPROTO
        match answer:
            case {"pid": int(pid)} if pid > 0 and pidfd >= 0:
                try:
                    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                except OSError:
                    pass  # somebody else's, or no process
                else:
                    return
            case {"errno": int(given)} if 0 < given < ERRNO_MAX:
                number = given
        if pidfd >= 0:
            os.close(pidfd)
        self._fail(OSError(number, os.strerror(number)))

    def execute(self, argv: Sequence[str]) -> tuple[int, socket.socket, int]:
        """Start a program in its place: with the same user, and two arguments more, which are those
        of `succeed` in main.py. Return as `fork` does.
        """
        return self._make({"do": "exec", "argv": list(argv)})

    def kill_successor(self) -> None:
        """Kill the program started last, and what that has started: as another user's."""
        self._ask({"do": "kill successor"})

    def kill(self, pidfd: int) -> None:
        """Kill the worker process forked last: by ourselves, since this server may be stopped or
        gone, unless we may not.
        """
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            self._ask({"do": "kill"})

    def _ask(self, message: Message, fd: int = -1) -> None:
        child.send(self.pidfd, signal.SIGCONT)  # one that is stopped would hold up the job
        try:
            send(self._socket, message, fd)
        except OSError as error:
            self._fail(error)

    def _answer(self) -> tuple[Message, int]:
        try:
            answer, fd = receive(self._socket)
        except OSError as error:
            with contextlib.suppress(OSError):  # a late answer would be taken for the next one
                self._socket.shutdown(socket.SHUT_RDWR)
            child.send(self.pidfd, signal.SIGKILL)  # one that is stopped would never read that
            self._fail(error)
        except (ValueError, RecursionError):
            self._fail(OSError(errno.EPROTO, os.strerror(errno.EPROTO)))
        if isinstance(answer, bytes):
            if fd >= 0:
                os.close(fd)
            self._fail(OSError(errno.EPIPE, GONE))
        return answer, fd

    def _fail(self, error: OSError) -> NoReturn:
        why = GONE if error.errno in {errno.EPIPE, errno.ECONNRESET} else error.strerror or error
        text = f"the loops can't get a process of their own: {why}"
        if error.errno in SCARCE:
            raise NoMemory(text, "see: ulimit -n, ulimit -u") from None
        raise NotSupported(text, self.instead) from None

    def close(self) -> None:
        """End it. May be called twice."""
        if self.pidfd < 0:
            return
        self._socket.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self.pidfd)
        self.pidfd = -1
