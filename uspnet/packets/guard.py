# SPDX-License-Identifier: Apache-2.0
"""Bounds for code that isn't ours: no network, no programs, no warnings, and only so much time."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

from uspnet.errors import Usage

LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
SENDS = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_PACKET)  # netlink stays on this machine
AGAIN_S = 0.05  # the alarm rings until somebody listens: code that isn't ours may catch it

_state = threading.local()
_hooked: list[bool] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuses what a guarded thread is about to do. Python calls this before it is done."""
    if not getattr(_state, "guarded", False):
        return
    if event in LOOKUPS and not _is_address(arguments[0]):
        _refuse(f"{_text(arguments[0])!r} is a host name", "write its address")
    elif event in SENDS and arguments[0].family in FAMILIES:
        _refuse("it would send packets by itself", "write every address")
    elif event in PROGRAMS:
        _refuse("it would start a program", "write it with other layers")


def _refuse(message: str, hint: str) -> None:
    _state.refusal = Usage(message, hint)  # kept: code in between may catch what is raised
    raise _state.refusal


def _text(host: object) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else str(host)


def _is_address(host: object) -> bool:
    """Return whether a host is an address, or empty for this machine: neither is looked up."""
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return host in (None, "", b"")
    return True


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this thread can neither look names up, send packets nor start programs, and warnings
    are dropped. Raises Usage for what was tried, whatever became of the attempt.
    """
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_audit)
    before = getattr(_state, "guarded", False)
    _state.refusal = None
    _state.guarded = True
    try:
        with warnings.catch_warnings(), _silenced(logging.getLogger("scapy")):
            warnings.simplefilter("ignore")
            yield
    finally:
        _state.guarded = before
        if _state.refusal:
            raise _state.refusal from None


@contextlib.contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    before = (logger.handlers, logger.propagate)
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before


@contextlib.contextmanager
def at_most(seconds: float, message: str, hint: str) -> Iterator[None]:
    """Raise Usage when the context takes more seconds of processor time, or those that are left of
    a context around it. Signals reach only the main thread; in others there is no limit.
    """
    left, _ = signal.getitimer(signal.ITIMER_VIRTUAL)
    if threading.current_thread() is not threading.main_thread() or 0 < left < seconds:
        yield
        return

    def expired(_number: int, _frame: FrameType | None) -> None:
        raise Usage(message, hint)

    before = signal.signal(signal.SIGVTALRM, expired)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, left, AGAIN_S)
        signal.signal(signal.SIGVTALRM, before)
