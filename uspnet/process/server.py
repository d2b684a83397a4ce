# SPDX-License-Identifier: Apache-2.0
"""The fork server, as the command's process sees it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from typing import NoReturn

from uspnet.errors import NotSupported
from uspnet.process.protocol import Message, receive, send
from uspnet.system import children, privileges

CODE = "import sys; from uspnet.process.main import serve; serve(*map(int, sys.argv[1:]))"
START_S = 10.0  # also on a busy machine
END_S = 1.0


class ForkServer:
    """Starts worker processes without privileges, also when we have none left ourselves.

    Made before a job gives its privileges up, and while it opens its ports: Python takes a few
    hundredths of a second to start. Raises NotSupported.
    """

    def __init__(self) -> None:
        self.user = privileges.nobody()  # the user that workers run as; 0: our own
        self._functions: dict[str, int] = {}
        # A process that asks for it is killed when the thread that started it ends.
        main = threading.current_thread() is threading.main_thread()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(START_S)
        words = map(str, (theirs.fileno(), self.user, os.getpid() if main else 0))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                children.python(CODE, *words),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=children.environment(),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self._fail(str(error.strerror))
        finally:
            theirs.close()
        self._socket = ours

    @property
    def functions(self) -> dict[str, int]:
        """Return the addresses of the fast path's functions in its worker processes."""
        if not self._functions:
            self._functions = self._answer()[0]["functions"]
        return self._functions

    def fork(self, control: socket.socket) -> tuple[int, int]:
        """Fork a worker process with this end of a socket. Return its process id and a pidfd: it is
        our own child.
        """
        self.functions  # noqa: B018 - its first message
        self._ask({"do": "fork"}, control.fileno())
        answer, pidfd = self._answer()
        if pidfd < 0:
            self._fail(os.strerror(answer["errno"]))
        return answer["pid"], pidfd

    def kill(self) -> None:
        """Kill the worker process forked last, which may be another user's."""
        self._ask({"do": "kill"})

    def _ask(self, message: Message, fd: int = -1) -> None:
        try:
            send(self._socket, message, fd)
        except OSError as error:
            self._fail(str(error.strerror))

    def _answer(self) -> tuple[Message, int]:
        try:
            answer, fd = receive(self._socket)
        except OSError as error:
            self._fail(str(error.strerror))
        if isinstance(answer, bytes):
            self._fail("it has ended")
        return answer, fd

    def _fail(self, why: str) -> NoReturn:
        text = f"the loops can't get a process of their own: {why}"
        raise NotSupported(text, "run them in this one: --in-process") from None

    def close(self) -> None:
        """End it."""
        self._socket.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
