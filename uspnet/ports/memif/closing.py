# SPDX-License-Identifier: Apache-2.0
"""Lets go of what peers sent. The last close of a file lasts as long as its maker likes (of a TCP
socket with SO_LINGER, of a file of FUSE), and a socket is closed with all that waits in it. So
threads do that, a few at most: the others' descriptors wait meanwhile, up to `ulimit -n`.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import queue
import time

THREADS_MAX = 16
LOOK_S = 0.001

_waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
_threads: set[object] = set()


def let_go(*fds: int) -> None:
    """Close descriptors in another thread, without waiting for it."""
    for fd in fds:
        _waiting.put(fd)
    if not fds or len(_threads) >= THREADS_MAX:
        return
    token = object()
    _threads.add(token)
    try:  # not by `threading`: it waits until the thread runs, which without memory it never does
        _thread.start_new_thread(_close, (token,))
    except RuntimeError:  # no more threads: the next call has another try
        _threads.discard(token)


def wait(patience_s: float) -> None:
    """Wait until all are closed, or `patience_s` seconds have passed."""
    end = time.monotonic() + patience_s
    while (_threads or not _waiting.empty()) and time.monotonic() < end:
        time.sleep(LOOK_S)


def _close(token: object) -> None:
    """Close descriptors until none waits."""
    try:
        while True:
            fd = _waiting.get_nowait()
            with contextlib.suppress(OSError):
                os.close(fd)
    except queue.Empty:
        pass
    finally:
        _threads.discard(token)
