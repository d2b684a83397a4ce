# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command gracefully."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from uspnet.system.signals import end_signals


@contextlib.contextmanager
def ended_by_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Calls `stop` with the number of each such signal that comes while inside."""

    def handle(number: int, _frame: FrameType | None) -> None:
        stop(number)

    before = {number: signal.signal(number, handle) for number in end_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """A signal ends what is inside, and is no error."""

    def interrupt(_number: int) -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), ended_by_signals(interrupt):
        yield
