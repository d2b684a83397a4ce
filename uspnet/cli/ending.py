# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command gracefully."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import FrameType

from uspnet.system.signals import end_signals


def ended_by_signals(stop: Callable[[int], None]) -> AbstractContextManager[None]:
    """Call `stop` with the number of each such signal that comes while inside."""
    return handled(dict.fromkeys(end_signals(), stop))


@contextlib.contextmanager
def handled(calls: Mapping[signal.Signals, Callable[[int], None]]) -> Iterator[None]:
    """While inside, have each of these signals call a function with its number."""

    def handle(number: int, _frame: FrameType | None) -> None:
        calls[signal.Signals(number)](number)

    before = {number: signal.signal(number, handle) for number in calls}
    try:
        yield
    finally:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        for number, handler in before.items():
            # The kernel discards one that waits when it is to be ignored.
            waits = number in held and handler is signal.SIG_IGN
            signal.signal(number, signal.SIG_DFL if waits else handler)


@contextlib.contextmanager
def until_interrupted() -> Iterator[list[int]]:
    """End what is inside when a signal comes, without an error. Yields where its number will be."""
    came: list[int] = []

    def interrupt(number: int) -> None:
        came.append(number)
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), ended_by_signals(interrupt):
        yield came


@contextlib.contextmanager
def signals_held() -> Iterator[Callable[[float], bool]]:
    """Hold such signals back while inside, so that none comes in the middle of a line.

    Call what this yields to wait for so many seconds: it returns True when a signal has come.
    """
    numbers = set(end_signals())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield lambda seconds: signal.sigtimedwait(numbers, seconds) is not None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
