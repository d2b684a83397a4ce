# SPDX-License-Identifier: Apache-2.0
"""Forked children that keep a few descriptors of ours, and nothing else."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
from collections.abc import Callable, Iterable

from uspnet.fastpath import ffi, lib
from uspnet.system import streams

LIMITS = {  # the three standard descriptors are open
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_NOFILE: 3,
    resource.RLIMIT_DATA: 1 << 30,
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def fork(run: Callable[[], None]) -> int:
    """The id of a child that runs that, which must not return. No handler of ours may run in it
    before it has set its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                run()
            finally:
                os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def send(pidfd: int, number: signal.Signals) -> None:
    """Sends a child a signal, if it still runs."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, number)


def isolate(name: str, keep: Iterable[int]) -> None:
    """Out of reach of the terminal's signals, and holding nothing that others wait for. The
    descriptors to keep are beyond the standard ones.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.setsid()
    gc.disable()  # no walk over the parent's objects: their pages would be copied
    null = streams.null()
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    first = 3
    for kept in sorted(keep):
        os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
        comm.write(name)


def confine(user: int, parent_end: signal.Signals) -> None:
    """From now on: no other user's rights, no capabilities, no further file or process, and no
    more memory than a bomb in a compressed file should get. `parent_end`: the signal that it gets
    when its parent ends. Even one that is stopped by then does not stay for ever.
    """
    how = ffi.new("struct child *", {"user": user})
    if error := lib.child_confine(how) or lib.signal_at_parting(parent_end):
        raise OSError(error, os.strerror(error))
    for what, most in LIMITS.items():
        resource.setrlimit(what, (most, most))
