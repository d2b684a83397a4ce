# SPDX-License-Identifier: Apache-2.0
"""Forked children that keep a few of our descriptors and nothing else."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
from collections.abc import Callable, Iterable

from uspnet.fastpath import ffi, lib
from uspnet.system import streams

LIMITS = {  # the three standard descriptors are open
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_NOFILE: 3,
    resource.RLIMIT_DATA: 1 << 30,
}
if lib.built_with_asan():
    del LIMITS[resource.RLIMIT_DATA]  # its shadow memory is more: no allocation would succeed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def fork(run: Callable[[], None]) -> int:
    """Fork a child that calls `run`, which must not return. Returns its process id. Signals are
    blocked until the child has set its own handlers, so that none of the parent's runs in it.
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
    """Send a child a signal, if it still runs."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, number)


def gone(pidfd: int, seconds: float | None = None) -> bool:
    """Return whether a process has ended, within so many seconds; None: wait until it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def reaped(pidfd: int) -> int:
    """Wait for a child's end. Return its exit code, or minus the signal that has ended it; 0 where
    the program that we are in has waited for it.
    """
    ended = None
    with contextlib.suppress(ChildProcessError):
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    if not ended or ended.si_code == os.CLD_EXITED:
        return ended.si_status if ended else 0
    return -ended.si_status


def isolate(name: str, keep: Iterable[int]) -> None:
    """Detach the calling child from its parent's terminal and signals, name it, and close all
    descriptors except `keep`, which are above the standard ones. The standard ones become the null
    device.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.setsid()
    gc.disable()  # a collection would write to, and so copy, the parent's pages
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


def confine(user: int, parent_end: signal.Signals, begin: Callable[[], None] | None = None) -> None:
    """Take from the calling child, for good: other users' rights, capabilities, opening files,
    starting processes, and memory beyond what a bomb in a compressed file should get. `parent_end`:
    the signal that it gets when its parent ends; a stopped child needs SIGKILL or SIGCONT. `begin`
    starts threads: what they may do is limited, and no more of them can be started.
    """
    how = ffi.new("struct child *", {"user": user})
    if error := lib.child_confine(how) or lib.signal_at_parting(parent_end):
        raise OSError(error, os.strerror(error))
    if begin:
        begin()
    for what, most in LIMITS.items():
        resource.setrlimit(what, (most, most))
