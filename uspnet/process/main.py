# SPDX-License-Identifier: Apache-2.0
"""What runs in the fork server, and in the worker processes that it forks.

The fork server is a Python process that has nothing but the fast path: no file, no descriptor but
one end of a socket, no privileges. When asked, it forks a worker process, which the command's
process then gives memory and descriptors, and tells which loops to run; or it starts the fork
server of another version, its successor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import NamedTuple

import uspnet
from uspnet.fastpath import c, ffi, lib
from uspnet.process.protocol import KICK, PROTOCOL, Message, functions, receive, send
from uspnet.sandbox.seccomp import filter_for

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class _Child(NamedTuple):
    """A child of our parent: only that one reaps it."""

    pid: int
    pidfd: int


NONE = _Child(0, -1)


def serve(control: int, user: int, parent: int) -> None:
    """Run the fork server until the other end of `control` is closed. `user`: the user to become,
    0: none. `parent`: the process with which it and the workers end, 0: none.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if parent:
        lib.child_begin(ffi.new("struct child *", {"user": user, "parent": parent}))
    elif error := lib.child_confine(ffi.new("struct child *", {"user": user})):
        raise OSError(error, os.strerror(error))
    lib.process_name(b"uspnet-forks")
    with socket.socket(fileno=control) as ours:
        os.set_inheritable(control, False)
        send(ours, {"functions": functions()})
        _serve(ours, parent)


def succeed(control: int, parent: int) -> None:
    """Run the fork server that another one has started, as the same user. `control`, `parent`: as
    for `serve`. Versions before and after this one call it, too.
    """
    from uspnet.process.layout import layout  # noqa: PLC0415 - needs what others don't

    if error := lib.capabilities_drop(0):  # those that were needed to get here
        raise OSError(error, os.strerror(error))
    if parent:
        lib.end_with(parent)
    lib.process_name(b"uspnet-forks")
    with socket.socket(fileno=control) as ours:
        os.set_inheritable(control, False)
        greeting = {
            "protocol": PROTOCOL,
            "version": uspnet.__version__,
            "layout": layout(),
            "files": [str(uspnet.__file__), str(c.__file__)],
            "functions": functions(),
        }
        send(ours, greeting)
        _serve(ours, parent)


def _serve(ours: socket.socket, parent: int) -> None:
    worker = successor = NONE
    while True:
        message, fd = receive(ours)
        match message:
            case {"do": "fork", "number": number}:
                _forget(worker)
                worker = _fork(ours, fd, number, parent)
            case {"do": "exec", "argv": argv}:
                _forget(successor)
                successor = _exec(ours, fd, [*argv, str(fd), str(parent)], parent)
            case {"do": "kill"}:
                _kill(worker)
            case {"do": "kill successor"}:
                _kill(successor)
                _kill_group(successor)
            case _:
                os._exit(0)  # at once: nothing is to be tidied up


def _forget(child: _Child) -> None:
    if child.pidfd >= 0:
        os.close(child.pidfd)


def _kill(child: _Child) -> None:
    if child.pidfd >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)


def _kill_group(child: _Child) -> None:
    """Kill what a successor has started."""
    if child.pidfd >= 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _fork(ours: socket.socket, control: int, number: int, parent: int) -> _Child:
    """Fork a worker process, which has the other end of `control`. `number`: of that other end in
    the command's process, where no descriptor of the job has it then.
    """

    def work() -> None:
        ours.close()
        _work(_moved(control, number), parent)

    return _child(ours, control, work)


def _exec(ours: socket.socket, control: int, argv: list[str], parent: int) -> _Child:
    """Start a successor, which has the other end of `control`, in a session of its own."""

    def execute() -> None:
        os.setsid()
        if parent:
            lib.end_with(parent)  # also for a program that is not ours
        os.set_inheritable(control, True)
        try:
            os.execv(argv[0], argv)  # noqa: S606 - the command's process has checked it
        except OSError as error:
            with socket.socket(fileno=control) as theirs:
                send(theirs, {"errno": error.errno})

    return _child(ours, control, execute)


def _child(ours: socket.socket, control: int, run: Callable[[], None]) -> _Child:
    """Run a function in a child of our own parent."""
    pidfd = ffi.new("int32_t *", -1)
    pid = lib.process_fork(pidfd)
    if pid == 0:
        try:
            run()
        finally:
            os._exit(1)
    os.close(control)
    send(ours, {"pid": pid, "errno": ffi.errno}, pidfd[0])
    return _Child(int(pid), int(pidfd[0]))


def _moved(fd: int, number: int) -> int:
    """Give a descriptor another number."""
    if fd != number:
        os.dup2(fd, number, inheritable=False)
        os.close(fd)
    return number


def _work(control: int, parent: int) -> None:
    """Take what the loops need; then run them."""
    if parent:
        lib.end_with(parent)
    lib.process_name(b"uspnet-worker")
    with socket.socket(fileno=control) as ours:
        while True:
            message, fd = receive(ours)
            if not message:
                return
            if isinstance(message, bytes):
                _obey(message, fd)
            else:
                _run(ours, message)


def _obey(message: bytes, fd: int) -> None:
    order = ffi.new("struct order *")
    ffi.memmove(order, message, ffi.sizeof("struct order"))
    if error := lib.process_obey(order, fd):
        raise OSError(error, os.strerror(error))


def _run(ours: socket.socket, message: Message) -> None:
    """Start the threads, which wait for their turn, and carry out orders until the end.

    `calls` of the message: those that the sandbox allows; None: no sandbox.
    """
    post = ffi.cast("struct post *", message["post"])
    hands = ffi.cast("struct hand *", message["hands"])
    names: list[str] | None = message["calls"]
    lib.guard_install()
    lib.kick_install(KICK)
    landlock = -1 if names is None else lib.sandbox_landlock()
    error = lib.process_start(hands, message["threads"])
    refused = ffi.addressof(post, "refused")
    steps = None if names is None else filter_for(names, refused)
    send(ours, {"errno": error, "landlock": landlock})
    if not error:
        lib.process_serve(ours.fileno(), post, steps or ffi.NULL, len(steps) if steps else 0)
