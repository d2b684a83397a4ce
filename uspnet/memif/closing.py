# SPDX-License-Identifier: Apache-2.0
"""Lets go of what peers sent. The last close of a file lasts as long as its maker likes (of a TCP
socket with SO_LINGER, of a file of FUSE), and a socket is closed with all that waits in it. So
threads do that, a few at most: the others' descriptors wait meanwhile, up to `ulimit -n`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading

THREADS_MAX = 16

_waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
_threads: list[threading.Thread] = []


def let_go(*fds: int, patience_s: float = 0.0) -> None:
    """Closes descriptors, without waiting for it longer than that."""
    for fd in fds:
        _waiting.put(fd)
    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    if not fds or len(_threads) >= THREADS_MAX:
        return
    thread = threading.Thread(target=_close, name="uspnet-close", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads: those that there are, or the next call, will do it
        return
    _threads.append(thread)
    if patience_s:
        thread.join(patience_s)


def _close() -> None:
    """Until nothing waits."""
    with contextlib.suppress(queue.Empty):
        while True:
            fd = _waiting.get_nowait()
            with contextlib.suppress(OSError):
                os.close(fd)
